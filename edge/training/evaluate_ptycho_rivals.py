"""Images of a block of frames that compete with each other: the model's patches joined, and rPIE's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Complex, Float
from edge.physics.deviance import frame_deviance, framed
from edge.physics.diffraction import lit_patch
from edge.physics.rpie import Settings, reconstruct
from edge.physics.stitching import Stitcher
from edge.physics.subpixel import sample_patch
from edge.training.evaluate_ptycho_case import Block, Case
from edge.training.evaluate_ptycho_served import Answers

ITERATIONS = 5
FIXED_PROBE = 10_000
"""As the first iteration that improves the probe: none does."""

REFINE_SWEEPS = 30
EVEN, ODD = slice(0, None, 2), slice(1, None, 2)


@dataclass(frozen=True)
class Image:
    """An image in the coordinates of the reference, and the modes it goes with."""

    values: NDArray[np.complex64]  # [rows, cols]; somewhere constant where no frame shone
    modes: NDArray[np.complex64]


@dataclass(frozen=True, eq=False)
class Rival:
    """rPIE as it is set against the model."""

    settings: Settings
    modes: NDArray[np.complex64]  # it starts with
    probe: str  # where those are from, in words

    @property
    def refines(self) -> bool:
        """Whether it improves its probe."""
        return self.settings.probe_from < self.settings.iterations

    def __str__(self) -> str:
        does = "refined" if self.refines else "kept"
        one = self.settings
        return f"{one.iterations} iterations, step {one.step:g}, alpha {one.alpha:g}, {self.probe}, {does}"


def rpie(case: Case, block: Block, rival: Rival, seed: int = 0) -> Image:
    """The image of a block, from nothing but a flat start and the rival's probe."""
    start, rng = np.ones(case.reference.shape, np.complex64), np.random.default_rng(seed)
    *_, last = reconstruct(block.counts, block.positions, rival.modes, start, rival.settings, rng)
    return Image(last.image, last.modes)


def stitched(case: Case, answers: Answers, positions: Float) -> tuple[Image, NDArray[np.float32]]:
    """The model's patches joined, and the weight of each pixel [rows, cols], 1 where one patch is brightest.

    Also pixels that only a rim of a patch covers have what it says; those without any the mean of the others.
    """
    amplitude, phase, weight = stitcher(case, answers, positions).image(least_weight=1e-3)
    seen = np.isfinite(phase)
    values = np.where(seen, amplitude * np.exp(1j * np.where(seen, phase, 0)), 0)
    mean = np.sum(values * weight)
    fill = np.sum(np.abs(values) * weight) / weight.sum() * mean / abs(mean)
    return Image(np.where(seen, values, fill).astype(np.complex64), case.modes), weight


def stitcher(case: Case, answers: Answers, positions: Float, sweeps: int = REFINE_SWEEPS) -> Stitcher:
    """Holds the patches [n] of frames at `positions`, their constants solved in `sweeps` sweeps."""
    rows, cols = case.reference.shape
    made = Stitcher((rows, cols), case.patch_px, case.weight, refinable=True)
    for amplitude, phase, position in zip(answers.amplitude, answers.phase, positions, strict=True):
        made.add(amplitude, phase, position + case.offset_px)
    made.refine(sweeps)
    return made


def some(answers: Answers, chosen: slice) -> Answers:
    """Those of some of the frames."""
    deviance = None if answers.deviance is None else answers.deviance[chosen]
    return Answers(answers.amplitude[chosen], answers.phase[chosen], deviance)


def image_deviance(block: Block, image: Image) -> NDArray[np.float64]:
    """Deviance a pixel [n] of each frame from what the image under it would give."""
    modes, values = image.modes.astype(np.complex128), image.values.astype(np.complex128)
    frames = zip(block.frames, block.positions, block.measured, strict=True)
    return np.array([frame_deviance(one, *lit_patch(modes, values, at), good) for one, at, good in frames])


def patch_deviance(case: Case, block: Block, patches: Complex, within_px: int | None = None) -> NDArray[np.float64]:
    """Deviance a pixel [n] of each frame from its own patch [n, patch, patch].

    `within_px`: only of the central pixels, so many in both directions; None: of all that were measured.
    """
    modes, weight = case.modes.astype(np.complex128), case.weight
    border = 0 if within_px is None else (case.frame_px - within_px) // 2
    inner = np.pad(np.ones((case.frame_px - 2 * border,) * 2, dtype=bool), border)
    return np.array(
        [
            frame_deviance(frame, modes, framed(patch, weight, case.frame_px, case.offset_px), good & inner)
            for frame, patch, good in zip(block.frames, patches, block.measured, strict=True)
        ]
    )


def cut(case: Case, image: Image, positions: Float) -> Answers:
    """The patches [n] of an image under frames at `positions`, as a model would answer them."""
    size = (case.patch_px, case.patch_px)
    patches = np.stack([sample_patch(image.values, at + case.offset_px, size) for at in positions])
    return Answers(np.abs(patches), np.angle(patches), None)


def held_out(block: Block, halves: Sequence[Image]) -> NDArray[np.float64]:
    """Deviance a pixel [n] of each frame from the image of the other half; `halves`: of even, of odd frames."""
    found = np.empty(len(block.frames))
    found[ODD] = image_deviance(block.part(ODD), halves[0])
    found[EVEN] = image_deviance(block.part(EVEN), halves[1])
    return found
