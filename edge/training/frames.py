"""Simulated training data: random objects under the real probe, counted by Poisson statistics."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.models.ptycho import CROP_PX, FRAME_PX, OFFSET_PX, PATCH_PX
from edge.physics.arrays import Complex
from edge.physics.diffraction import counted, mean_counts
from edge.physics.objects import random_object
from edge.physics.probe import probe_intensity

PATCHES_PER_OBJECT = 16
OBJECT_PX = 288
FLUX_RANGE = 0.5, 2.0
"""Exposures relative to the probe's own flux."""


@dataclass(frozen=True)
class TrainingSet:
    """`crops` uint16 [n, 96, 96] counts, `targets` float16 [n, 2, 80, 80] amplitude and phase in rad."""

    crops: NDArray[np.uint16]
    targets: NDArray[np.float16]


def patch_weight(modes: Complex) -> NDArray[np.float32]:
    """The probe's intensity [80, 80] over an output patch, its mean 1."""
    weight = probe_intensity(modes)[OFFSET_PX : OFFSET_PX + PATCH_PX, OFFSET_PX : OFFSET_PX + PATCH_PX]
    return weight / weight.mean(dtype=np.float64).astype(np.float32)


def simulated_set(
    modes: Complex, count: int, rng: np.random.Generator, progress: Callable[[int], None] = lambda done: None
) -> TrainingSet:
    """`count` pairs; `progress` hears how many are done."""
    crops = np.empty((count, CROP_PX, CROP_PX), dtype=np.uint16)
    targets = np.empty((count, 2, PATCH_PX, PATCH_PX), dtype=np.float16)
    weight = patch_weight(modes)
    scene = np.ones((OBJECT_PX, OBJECT_PX), dtype=np.complex64)
    edge = (FRAME_PX - CROP_PX) // 2
    for index in range(count):
        if index % PATCHES_PER_OBJECT == 0:
            scene = random_object((OBJECT_PX, OBJECT_PX), rng)
            progress(index)
        row, col = rng.integers(0, OBJECT_PX - FRAME_PX, 2)
        patch = scene[row : row + FRAME_PX, col : col + FRAME_PX]
        exposure = np.exp(rng.uniform(*np.log(FLUX_RANGE)))
        crops[index] = counted(exposure * mean_counts(modes, patch)[edge:-edge, edge:-edge], rng)
        targets[index] = target(patch, weight)
    progress(count)
    return TrainingSet(crops, targets)


def target(patch: Complex, weight: NDArray[np.float32]) -> NDArray[np.float16]:
    """What the network should say [2, 80, 80]: the middle of the patch, its probe-weighted mean phase zero."""
    middle = patch[OFFSET_PX : OFFSET_PX + PATCH_PX, OFFSET_PX : OFFSET_PX + PATCH_PX]
    # The objects' phases span less than 2 pi, so taking out their mean direction first leaves no wrap.
    centred = middle * np.exp(-1j * np.angle(np.sum(middle * weight)))
    phase = np.angle(centred)
    phase -= np.sum(phase * weight) / np.sum(weight)
    return np.stack([np.abs(middle), phase]).astype(np.float16)
