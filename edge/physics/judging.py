"""How good a reconstruction is, in numbers that leave out what nobody can know.

A far field does not tell the phase's constant, so one constant a patch (or one an image) is taken out: the circular
mean of the difference. Only pixels are judged on which the probe puts at least a quarter of its peak intensity.
Every error comes with that of the best constant guess, which needs no measurement at all.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Bool, Complex, Float
from edge.physics.subpixel import sample_patch


@dataclass(frozen=True)
class Errors:
    """Mean absolute and root mean square errors over the judged pixels; `constant`: those of a constant guess."""

    phase_mae_rad: float
    phase_mae_constant_rad: float
    amplitude_mae: float
    amplitude_mae_constant: float
    phase_rmse_rad: float
    phase_rmse_constant_rad: float
    amplitude_rmse: float
    amplitude_rmse_constant: float


@dataclass(frozen=True)
class StitchedErrors:
    """Errors of a whole image after moving the reference by `shift_px` (row, col) to where it fits best."""

    errors: Errors
    shift_px: tuple[float, float]


def errors(amplitude: Float, phase: Float, truth: Complex, mask: Bool) -> Errors:
    """Compares a reconstruction (phase in rad) with the complex `truth` where `mask` is set; all of one shape.

    Raises ValueError when the mask is empty.
    """
    if not mask.any():
        raise ValueError("the mask leaves nothing to judge")
    wanted = truth[mask]
    modulus = np.abs(wanted)
    off, guess = _spread(phase[mask] - np.angle(wanted)), _spread(np.angle(wanted))
    absorbed, flat = amplitude[mask] - modulus, modulus - np.median(modulus)
    return Errors(
        *(_mean_size(values) for values in (off, guess, absorbed, flat)),
        *(_root_mean_square(values) for values in (off, guess, absorbed, flat)),
    )


class PatchJudge:
    """Judges single patches as they come: `reference` [rows, cols] complex, `mask` [h, w] of the judged pixels.

    `offset_px` lies between a frame's position and its patch's first pixel.
    """

    def __init__(self, reference: Complex, mask: Bool, offset_px: float = 0.0) -> None:
        self._reference = reference
        self._mask = mask
        self._offset_px = offset_px

    def truth(self, position: Float) -> NDArray[np.complex64]:
        """The reference [h, w] under a frame at `position` (row, col) pixels. Raises ValueError outside."""
        height, width = self._mask.shape
        return sample_patch(self._reference, np.asarray(position) + self._offset_px, (height, width))

    def __call__(self, amplitude: Float, phase: Float, position: Float) -> Errors:
        """Errors of the patch [h, w] of a frame at `position`. Raises ValueError outside the reference."""
        return errors(amplitude, phase, self.truth(position), self._mask)


def mean_errors(judged: Iterable[Errors]) -> Errors:
    """The mean of each error. Raises ValueError when there is none."""
    rows = [astuple(one) for one in judged]
    if not rows:
        raise ValueError("nothing was judged")
    return Errors(*(float(value) for value in np.mean(rows, axis=0)))


def stitched_errors(
    amplitude: Float, phase: Float, weight: Float, reference: Complex, least_weight: float = 0.25
) -> StitchedErrors:
    """Judges what a stitcher's `image()` returned against a `reference` of the same canvas, `aligned` with it.

    Pixels of at least `least_weight` count, where the brightest pixel of one patch weighs 1.
    """
    mask = (weight >= least_weight) & np.isfinite(phase)
    moved, inside, shift = aligned(np.where(mask, np.exp(1j * np.where(mask, phase, 0)), 0), reference, mask)
    return StitchedErrors(errors(amplitude, phase, moved, inside), (float(shift[0]), float(shift[1])))


def aligned(image: Complex, reference: Complex, mask: Bool) -> tuple[Complex, Bool, NDArray[np.float64]]:
    """The `reference` moved to where it fits the `image` best, both [rows, cols], where `mask` holds; see `best_shift`.

    Probe and object may move together by fractions of a pixel between two reconstructions without any frame changing.
    Returns the moved reference, the mask without a border that the move may have brought in, and the shift (row, col).
    """
    border = 8
    inside = mask.copy()
    inside[:border], inside[-border:], inside[:, :border], inside[:, -border:] = False, False, False, False
    shift = best_shift(np.where(inside, image, 0), reference, inside)
    inner = (reference.shape[0] - 2 * border, reference.shape[1] - 2 * border)
    moved = np.ones(reference.shape, dtype=np.complex64)
    moved[border:-border, border:-border] = sample_patch(reference, border - shift, inner)
    return moved, inside, shift


def best_shift(image: Complex, reference: Complex, mask: Bool, reach_px: int = 3) -> NDArray[np.float64]:
    """By how many pixels (row, col) the reference must move to fit `image` where `mask` is set, at most `reach_px`.

    The magnitude of the correlation of the two complex images, peak by a parabola in each direction.
    """
    centred = np.where(mask, image - image[mask].mean(), 0)
    wanted = reference - reference[mask].mean()
    steps = np.arange(-reach_px - 1, reach_px + 2)
    score = np.array([[_agreement(centred, wanted, mask, (row, col)) for col in steps] for row in steps])
    row, col = np.unravel_index(np.argmax(score[1:-1, 1:-1]), (len(steps) - 2, len(steps) - 2))
    row, col = row + 1, col + 1
    return np.array(
        [steps[row] + _vertex(score[row - 1 : row + 2, col]), steps[col] + _vertex(score[row, col - 1 : col + 2])]
    )


def _agreement(image: Complex, reference: Complex, mask: Bool, shift: tuple[int, int]) -> float:
    moved = np.roll(reference, shift, axis=(0, 1))[mask]
    return float(np.abs(np.vdot(image[mask], moved)) / np.sqrt(np.sum(np.abs(moved) ** 2) + 1e-12))


def _vertex(three: Float) -> float:
    bend = three[0] - 2 * three[1] + three[2]
    return 0.0 if bend >= 0 else float(np.clip((three[0] - three[2]) / (2 * bend), -0.5, 0.5))


def _spread(phases: Float) -> Float:
    """Differences of phases, on the circle, from their circular mean."""
    turned = np.exp(1j * phases)
    return np.angle(turned * np.exp(-1j * np.angle(turned.mean())))


def _mean_size(values: Float) -> float:
    return float(np.mean(np.abs(values)))


def _root_mean_square(values: Float) -> float:
    return float(np.sqrt(np.mean(values**2)))
