"""Expected counts to learn denoising from, and frames drawn from them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Complex
from edge.physics.diffraction import MAX_UINT16_COUNT, mean_counts
from edge.physics.objects import random_object, smooth_texture
from edge.physics.spots import Kind, blemish, random_spots, without

CROP_PX = 96
FLUX_RANGE = 0.03, 1.5
"""Exposures relative to what a picture was made for."""

PATCHES_PER_OBJECT = 8
SPOTS = without(Kind(background=(0.02, 30.0)))


@dataclass(frozen=True)
class Batch:
    """Arrays [n, 96, 96]."""

    images: NDArray[np.uint16]  # 65535 where nothing is known
    expected: NDArray[np.float32]  # counts a pixel, known everywhere


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


def draw(expected: NDArray[np.float32], rng: np.random.Generator) -> Batch:
    """One frame of each of `expected` [n, 96, 96] at a random flux, half of them with blemishes."""
    low, high = np.log(FLUX_RANGE)
    wanted = expected * np.exp(rng.uniform(low, high, (len(expected), 1, 1))).astype(np.float32)
    images = np.empty(expected.shape, dtype=np.uint16)
    for image, mean in zip(images, wanted, strict=True):
        image[:] = np.minimum(rng.poisson(mean), MAX_UINT16_COUNT)
        if rng.random() < 0.5:
            blemish(image, rng)
    return Batch(images, wanted)


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
