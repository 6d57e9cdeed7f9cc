"""What denoising is learned from: simulated frames whose truth is known, and measured ones that are thinned."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.models.spec import SENTINELS
from edge.physics.arrays import Complex
from edge.physics.diffraction import MAX_UINT16_COUNT, mean_counts
from edge.physics.objects import random_object, smooth_texture
from edge.physics.spots import Kind, blemish, random_spots, without

CROP_PX = 96
FLUX_RANGE = 0.03, 1.5
"""Exposures relative to what a picture was made for."""

THINNED_RANGE = 0.04, 0.3
"""Shares of the photons of a measured frame that the network sees."""

BLEMISHED = 0.2
"""Share of the frames that get gaps, dead and hot pixels."""

PATCHES_PER_OBJECT = 8
SPOTS = without(Kind(background=(0.02, 30.0)))
FLAG = 65535


@dataclass(frozen=True)
class Batch:
    """Arrays [n, 96, 96]."""

    images: NDArray[np.uint16]  # FLAG where nothing is known
    wanted: NDArray[np.float32]  # counts a pixel: the truth, or independent counts of it at the same exposure
    noise: NDArray[np.float32]  # estimated variance of `wanted` itself, counts squared; 0 for the truth
    judged: NDArray[np.float32]  # 1, or 0 where `wanted` is not known


def pictures(
    modes: Complex, count: int, rng: np.random.Generator, progress: Callable[[int], None] = lambda done: None
) -> NDArray[np.float32]:
    """`count` images [n, 96, 96] of expected counts: far fields of random objects under the probe `modes`, Bragg
    spots, and smooth scatter that falls off over several orders."""
    found = np.empty((count, CROP_PX, CROP_PX), dtype=np.float32)
    scene = np.ones((1, 1), dtype=np.complex64)
    for index in range(count):
        if index % 50 == 0:
            progress(index)
        if index % 3 == 0:
            if index % (3 * PATCHES_PER_OBJECT) == 0:
                scene = random_object((288, 288), rng)
            found[index] = _far_field(modes, scene, rng)
        elif index % 3 == 1:
            found[index] = random_spots((CROP_PX, CROP_PX), SPOTS, rng).expected
        else:
            found[index] = _scatter(rng)
    progress(count)
    return found


def drawn(expected: NDArray[np.float32], count: int, rng: np.random.Generator) -> Batch:
    """`count` frames of random ones of `expected` [n, 96, 96], turned, at a random flux, some with blemishes."""
    low, high = np.log(FLUX_RANGE)
    flux = np.exp(rng.uniform(low, high, (count, 1, 1))).astype(np.float32)
    chosen = [_turned(expected[int(one)], rng) for one in rng.integers(0, len(expected), count)]
    wanted = np.stack(chosen) * flux
    images = np.minimum(rng.poisson(wanted), MAX_UINT16_COUNT).astype(np.uint16)
    _blemished(images, rng)
    return Batch(images, wanted, np.zeros_like(wanted), np.ones_like(wanted))


def thinned(frames: NDArray[np.uint16], count: int, rng: np.random.Generator, whole: bool = False) -> Batch:
    """Photons of `count` random crops of measured `frames` [n, height, width], dealt out to two frames by chance; or of
    the `whole` frames.

    Both are independent Poisson counts of the same expectation (thinning of a Poisson process): the second, at the
    exposure of the first, is what the first shall predict (Lehtinen et al., Noise2Noise, ICML 2018). None is turned:
    where an instrument's light falls is worth knowing.
    """
    low, high = np.log(THINNED_RANGE)
    share = np.exp(rng.uniform(low, high, (count, 1, 1)))
    chosen = [frames[int(one)] for one in rng.integers(0, len(frames), count)]
    counts = np.stack(chosen if whole else [_crop(frame, rng) for frame in chosen])
    judged = counts < SENTINELS[2]
    counts = np.where(judged, counts, 0).astype(np.int64)
    part = rng.binomial(counts, share)
    scale = share / (1 - share)
    images = np.where(judged, part, FLAG).astype(np.uint16)
    _blemished(images, rng)
    rest = (counts - part) * scale
    return Batch(images, rest.astype(np.float32), (rest * scale).astype(np.float32), judged.astype(np.float32))


def joined(*batches: Batch) -> Batch:
    """All of them as one."""
    names = "images", "wanted", "noise", "judged"
    return Batch(*(np.concatenate([getattr(batch, name) for batch in batches]) for name in names))


def _blemished(images: NDArray[np.uint16], rng: np.random.Generator) -> None:
    for image in images:
        if rng.random() < BLEMISHED:
            blemish(image, rng)


def _turned(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    turned = np.rot90(image, int(rng.integers(4)))
    return turned.T if rng.random() < 0.5 else turned


def _crop(frame: NDArray[np.uint16], rng: np.random.Generator) -> NDArray[np.uint16]:
    row, col = (int(rng.integers(0, length - CROP_PX + 1)) for length in frame.shape)
    return frame[row : row + CROP_PX, col : col + CROP_PX]


def _far_field(modes: Complex, scene: Complex, rng: np.random.Generator) -> NDArray[np.float64]:
    height, width = modes.shape[-2:]
    row, col = (int(rng.integers(0, 1 + have - want)) for have, want in zip(scene.shape, (height, width), strict=True))
    counts = mean_counts(modes, scene[row : row + height, col : col + width])
    row, col = rng.integers(0, height - CROP_PX + 1), rng.integers(0, width - CROP_PX + 1)
    return counts[row : row + CROP_PX, col : col + CROP_PX]


def _scatter(rng: np.random.Generator) -> NDArray[np.float64]:
    """Small-angle like: a peak that falls off as a power, speckled or streaked."""
    beam = rng.uniform(-0.5, 1.5, 2) * CROP_PX
    row, col = np.ogrid[:CROP_PX, :CROP_PX]
    radius = np.hypot(row - beam[0], col - beam[1])
    level, size, power = np.exp(rng.uniform(np.log(0.1), np.log(1000))), np.exp(rng.uniform(0, 4)), rng.uniform(0, 4)
    rough = np.exp(rng.uniform(0, 0.7) * smooth_texture((CROP_PX, CROP_PX), np.exp(rng.uniform(0, 3)), rng))
    return level * rough / (1 + (radius / size) ** 2) ** (power / 2) + np.exp(rng.uniform(-5, 0))
