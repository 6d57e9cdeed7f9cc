# pyright: reportMissingImports=false
"""Simulated training data for `ptycho`: random objects under the real probe, counted by Poisson statistics."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from edge.models.ptycho import Geometry
from edge.physics.arrays import Complex, Float
from edge.physics.coarser import decimated
from edge.physics.diffraction import counted
from edge.physics.objects import random_object
from edge.physics.probe import probe_intensity

PATCHES_PER_OBJECT = 16
FLUX_RANGE = 0.5, 2.0
"""Exposures relative to the probe's own flux; fewer counts come from thinning."""


@dataclass(frozen=True)
class TrainingSet:
    """`crops` uint16 [n, crop, crop] counts, `targets` float16 [n, 2, patch, patch] amplitude and phase in rad."""

    crops: NDArray[np.uint16]
    targets: NDArray[np.float16]


def simulated_set(
    modes: Complex,
    geometry: Geometry,
    count: int,
    rng: np.random.Generator,
    progress: Callable[[float], None] = lambda done: None,
) -> TrainingSet:
    """`count` pairs; `progress` hears how many are done.

    `modes` [modes, size, size] may be those of larger frames than the model takes: the frames are cropped, and the
    object is shown in its larger pixels. Raises ValueError unless their size is a multiple of the model's.
    """
    size = modes.shape[-1]
    step, rest = divmod(size, geometry.frame_px)
    if rest or not step:
        raise ValueError(f"a probe of {size} px does not suit frames of {geometry.frame_px} px")
    crops = np.empty((count, geometry.crop_px, geometry.crop_px), dtype=np.uint16)
    targets = np.empty((count, 2, geometry.patch_px, geometry.patch_px), dtype=np.float16)
    weight = patch_weight(modes, geometry)
    lit = torch.from_numpy(modes.astype(np.complex64))
    scene_px = size * 9 // 4
    for start in range(0, count, PATCHES_PER_OBJECT):
        chosen = slice(start, min(start + PATCHES_PER_OBJECT, count))
        scene = random_object((scene_px, scene_px), rng)
        corners = rng.integers(0, scene_px - size, (chosen.stop - start, 2))
        patches = np.stack([scene[row : row + size, col : col + size] for row, col in corners])
        low, high = np.log(FLUX_RANGE)
        exposures = np.exp(rng.uniform(low, high, (len(patches), 1, 1)))
        crops[chosen] = counted(exposures * _mean_counts(lit, patches, geometry.crop_px), rng)
        targets[chosen] = [target(patch, weight, geometry) for patch in patches]
        progress(chosen.stop)
    return TrainingSet(crops, targets)


def patch_weight(modes: Complex, geometry: Geometry) -> NDArray[np.float32]:
    """The probe's intensity [patch, patch] over the output, its mean 1."""
    inner = slice(geometry.offset_px, geometry.offset_px + geometry.patch_px)
    weight = _coarser(probe_intensity(modes), modes.shape[-1] // geometry.frame_px).real[inner, inner]
    return (weight / weight.mean(dtype=np.float64)).astype(np.float32)


def target(patch: Complex, weight: Float, geometry: Geometry) -> NDArray[np.float16]:
    """What the network should say [2, patch, patch] of a full `patch`: its middle, the weighted mean phase zero."""
    inner = slice(geometry.offset_px, geometry.offset_px + geometry.patch_px)
    middle = _coarser(patch, patch.shape[-1] // geometry.frame_px)[inner, inner]
    # The objects' phases span less than 2 pi, so taking out their mean direction first leaves no wrap.
    centred = middle * np.exp(-1j * np.angle(np.sum(middle * weight)))
    phase = np.angle(centred)
    phase -= np.sum(phase * weight) / np.sum(weight)
    return np.stack([np.abs(middle), phase]).astype(np.float16)


def _mean_counts(modes: torch.Tensor, patches: Complex, crop_px: int) -> NDArray[np.float32]:
    """Expected counts [n, crop, crop] in the middle of the frames of `patches` [n, size, size]."""
    field = torch.fft.fft2(torch.from_numpy(patches)[:, None] * modes, norm="ortho")
    power = torch.fft.fftshift((field.real.square() + field.imag.square()).sum(dim=1), dim=(1, 2))
    start = (modes.shape[-1] - crop_px) // 2
    return power[:, start : start + crop_px, start : start + crop_px].numpy()


def _coarser(image: Complex | Float, factor: int) -> NDArray[np.complex64]:
    return decimated(image, factor) if factor > 1 else image.astype(np.complex64)
