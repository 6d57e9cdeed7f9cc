"""Simulated frames to learn from: spots of every kind, and everything that is none."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Float
from edge.physics.diffraction import MAX_UINT16_COUNT
from edge.physics.ring_frames import SUBSTANCES, RingKind, ring_frame
from edge.physics.serial import serial_frame
from edge.physics.spot_shapes import Shape, add_spot, photons_for
from edge.physics.spots import FLAG, Kind, SpotFrame, Spots, log_uniform, random_spots

SCENE_PX = 512
SPOT, UNSURE = 1, 2
LEAST_RATIO = 1.5
"""Signal-to-noise ratio below which nobody can say whether there is a spot: neither answer is wrong."""

AROUND_PX = 7
HIDDEN = 0.4
"""Share of bad pixels around a spot's centre that makes it doubtful."""

USUAL = Kind(sigma_px=(0.6, 3.0), long=(1.0, 1.6), overlapping=0.1)
SPARSE = Kind(sigma_px=(0.6, 3.0), per_megapixel=(0.05, 60.0))
SHARP = Kind(
    background=(3.0, 150.0),
    signal_to_noise=(5.0, 400.0),
    sigma_px=(0.5, 2.2),
    per_megapixel=(1.0, 150.0),
    rings=0.1,
    thresholded=0.4,
)
"""As from a single crystal at high energy."""

CUT = replace(SHARP, background=(0.5, 10.0), per_megapixel=(5.0, 400.0), rings=0.0, integrating=0.0, thresholded=0.0)
CUT_COUNTS = 60.0, 300.0
"""Measured frames are often kept above a number of counts only; what was below is filled with noise then."""

LEAST_PIXELS = 3
"""Above the cut, of a spot that is surely one."""

POWDER = RingKind(background=(5.0, 500.0), height=(50.0, 30000.0), width_px=(0.8, 4.0))
GRAIN_PX = 0.4, 1.3
RINGED = 0.01
"""Share of pixels that are twice as bright as the median."""


@dataclass(frozen=True)
class PeakSet:
    """Scenes to learn from; arrays [n, ...]."""

    images: NDArray[np.uint16]  # [n, SCENE_PX, SCENE_PX]
    places: NDArray[np.float32]  # [n, most, 2] row and column
    states: NDArray[np.uint8]  # [n, most] SPOT, UNSURE, or 0 where there is none


def peak_set(count: int, rng: np.random.Generator, progress: Callable[[int], None] = lambda done: None) -> PeakSet:
    """`count` scenes; `progress` hears how many are done."""
    images = np.empty((count, SCENE_PX, SCENE_PX), dtype=np.uint16)
    listed: list[NDArray[np.float64]] = []
    for index in range(count):
        progress(index)
        frame = scene(rng)
        images[index] = frame.image
        listed.append(labelled(frame))
    progress(count)
    padded = np.zeros((count, max(1, *map(len, listed)), 3), dtype=np.float32)
    for index, each in enumerate(listed):
        padded[index, : len(each)] = each
    return PeakSet(images, padded[..., :2], padded[..., 2].astype(np.uint8))


def scene(rng: np.random.Generator) -> SpotFrame:
    """A frame of SCENE_PX x SCENE_PX with spots, or with none."""
    shape = (SCENE_PX, SCENE_PX)
    match int(rng.choice(7, p=(0.14, 0.26, 0.12, 0.17, 0.14, 0.08, 0.09))):
        case 0:
            return random_spots(shape, USUAL, rng)
        case 1:
            return random_spots(shape, alike(rng), rng)
        case 2:
            return random_spots(shape, SPARSE, rng)
        case 3:
            return cut_frame(rng) if rng.random() < 0.6 else random_spots(shape, SHARP, rng)
        case 4:
            return ring_frame(shape, SUBSTANCES[int(rng.integers(len(SUBSTANCES)))], rng)
        case 5:
            frame = ring_frame(shape, "powder", rng, POWDER)
            if _ringed(frame) and rng.random() < 0.8:
                stray_grains(frame, rng)
            return frame
        case _:
            return serial_frame(shape, bool(rng.random() < 0.7), rng)


def _ringed(frame: SpotFrame) -> bool:
    """Whether strong rings are in the picture: without them, nobody could know grains from spots."""
    return bool(np.mean(frame.expected > 2 * np.median(frame.expected)) > RINGED)


def alike(rng: np.random.Generator) -> Kind:
    """Frames whose spots are about equally strong: what is much fainter is none."""
    weakest = log_uniform((2.5, 5.0) if rng.random() < 0.35 else (2.5, 120.0), rng)
    ratios = weakest, weakest * log_uniform((1.01, 4.0), rng)
    return replace(USUAL, signal_to_noise=ratios, per_megapixel=(50.0, 1200.0), integrating=0.1, thresholded=0.0)


def cut_frame(rng: np.random.Generator) -> SpotFrame:
    """Sharp spots above a cut, and Poisson counts in all other pixels."""
    frame = random_spots((SCENE_PX, SCENE_PX), CUT, rng)
    image, spots, cut = frame.image, frame.spots, log_uniform(CUT_COUNTS, rng)
    below = image <= cut
    level = cut * log_uniform((0.03, 0.7), rng)
    image[below] = np.minimum(rng.poisson(level, int(below.sum())), cut).astype(np.uint16)
    where = np.stack([spots.row, spots.col], axis=1)
    left = (AROUND_PX**2 * cover(~below & (image != FLAG), where)).round()
    seen = left > 0
    ratio = np.where(left >= LEAST_PIXELS, spots.signal_to_noise, 0.0)
    kept = Spots(spots.row[seen], spots.col[seen], spots.photons[seen], ratio[seen])
    return SpotFrame(image, frame.expected, kept, frame.beam)


def stray_grains(frame: SpotFrame, rng: np.random.Generator) -> None:
    """Adds what a few large grains leave beside a powder's rings: compact, ragged, and not what one looks for."""
    image = frame.image
    background = float(np.median(frame.expected))
    extra = np.zeros(image.shape)
    for place in rng.uniform(0, 1, (rng.poisson(log_uniform((5.0, 1500.0), rng) * image.size / 1e6), 2)):
        ratio = log_uniform((3.0, 60.0), rng)
        for part in rng.dirichlet(np.ones(int(rng.integers(1, 4)))):
            row, col = place * image.shape + rng.normal(0, 1.2, 2)
            sigma = log_uniform(GRAIN_PX, rng)
            shape = Shape(sigma, 0.0, log_uniform((1.0, 1.6), rng), rng.uniform(0, np.pi))
            add_spot(extra, (row, col), part * photons_for(ratio, background, sigma), shape)
    known = image != FLAG
    counts = np.minimum(image + rng.poisson(np.maximum(extra, 0)), MAX_UINT16_COUNT)
    image[known] = counts[known].astype(np.uint16)


def labelled(frame: SpotFrame) -> NDArray[np.float64]:
    """Row, column and state (SPOT or UNSURE) of the spots of one frame [n, 3]."""
    spots = frame.spots
    where = np.stack([spots.row, spots.col], axis=1)
    hidden = cover(frame.image == FLAG, where) >= HIDDEN
    state = np.where(hidden | (spots.signal_to_noise < LEAST_RATIO), UNSURE, SPOT)
    return np.concatenate([where, state[:, None]], axis=1)


def cover(bad: NDArray[np.bool_], where: Float) -> NDArray[np.float64]:
    """Share of `bad` pixels in the square of `AROUND_PX` around each place [n]; beyond the border there is none."""
    padded = np.pad(bad, AROUND_PX // 2).astype(np.float64)
    corners = np.rint(where).astype(int)
    return np.array([padded[row : row + AROUND_PX, col : col + AROUND_PX].mean() for row, col in corners])
