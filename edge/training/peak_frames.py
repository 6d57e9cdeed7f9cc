"""Simulated spots as labels for every pixel."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.physics.spots import Kind, SpotFrame, random_spots

CROP_PX = 96
NOTHING, SPOT, UNSURE = 0, 1, 2
SURE_RATIO, LEAST_RATIO = 4.0, 2.0
"""Signal-to-noise ratios from which a spot must be found, and below which there is none to be found."""

ON_SPOT_PX, NEAR_SPOT_PX = 1.0, 2.5
HIDDEN = 0.4
"""Share of bad pixels around a spot's centre that makes it doubtful."""


@dataclass(frozen=True)
class PeakSet:
    """Crops to learn from; arrays [n, ...]."""

    images: NDArray[np.uint16]  # [n, 96, 96]
    labels: NDArray[np.uint8]  # [n, 96, 96] NOTHING, SPOT or UNSURE
    offsets: NDArray[np.float16]  # [n, 2, 96, 96] from a pixel to the spot on it, rows and columns


def peak_set(
    count: int, kind: Kind, rng: np.random.Generator, progress: Callable[[int], None] = lambda done: None
) -> PeakSet:
    """`count` crops; `progress` hears how many are done."""
    images = np.empty((count, CROP_PX, CROP_PX), dtype=np.uint16)
    labels = np.empty((count, CROP_PX, CROP_PX), dtype=np.uint8)
    offsets = np.empty((count, 2, CROP_PX, CROP_PX), dtype=np.float16)
    for index in range(count):
        if index % 50 == 0:
            progress(index)
        frame = random_spots((CROP_PX, CROP_PX), kind, rng)
        images[index] = frame.image
        labels[index], offsets[index] = labelled(frame)
    progress(count)
    return PeakSet(images, labels, offsets)


def labelled(frame: SpotFrame) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Labels [height, width] and offsets [2, height, width] of one frame."""
    shape = frame.image.shape
    labels = np.zeros(shape, dtype=np.uint8)
    offsets = np.zeros((2, *shape), dtype=np.float16)
    spots, bad = frame.spots, frame.image == 65535
    for row, col, ratio in sorted(
        zip(spots.row, spots.col, spots.signal_to_noise, strict=True), key=lambda spot: spot[2]
    ):
        if ratio < LEAST_RATIO:
            continue
        rows, cols = (slice(max(round(float(one)) - 3, 0), round(float(one)) + 4) for one in (row, col))
        down = row - np.arange(rows.start, min(rows.stop, shape[0]))[:, None]
        right = col - np.arange(cols.start, min(cols.stop, shape[1]))[None, :]
        away = np.hypot(down, right)
        sure = ratio >= SURE_RATIO and bad[rows, cols].mean() < HIDDEN
        here = labels[rows, cols]
        here[(away <= NEAR_SPOT_PX) & (here != SPOT)] = UNSURE
        here[away <= ON_SPOT_PX] = SPOT if sure else UNSURE
        on = away <= ON_SPOT_PX
        for offset, part in zip(offsets, (down + 0 * right, right + 0 * down), strict=True):
            offset[rows, cols][on] = part[on]
    labels[bad] = np.where(labels[bad] == SPOT, UNSURE, labels[bad])
    return labels, offsets
