"""How badly a reconstruction explains a frame: the masked Poisson deviance, which needs no truth.

The expected counts are `s * sum_k |FFT(P_k O)|**2`, of the probe's modes P_k and the object's patch O. One factor `s` a
frame is fitted, since a single frame does not tell the beam's current from the object's transparency; the likeliest is
the ratio of the two sums over the measured pixels. The deviance of counts y from expected counts m is

    2 (m - y + y log(y / m)),  with y log y = 0 where y = 0

(McCullagh & Nelder, Generalized Linear Models, 2nd ed. 1989, chapter 2.3), twice the log of the likelihood ratio to a
perfect fit; its mean over a frame's measured pixels is "deviance a pixel". `noise_deviance` says what is left of it
when the expectation is the truth: about 1 where pixels count many photons, less where they count few.
"""

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Bool, Complex, Float
from edge.physics.diffraction import mean_counts

FLOOR_COUNTS = 0.01
"""Least expectation of a pixel: a photon where none is expected at all would cost without limit."""


def poisson_deviance(counts: Float, expected: Float) -> NDArray[np.float64]:
    """Deviance of each pixel's `counts` from what is `expected`, of one shape; float64, never negative."""
    found = np.asarray(counts, dtype=np.float64)
    mean = np.maximum(np.asarray(expected, dtype=np.float64), FLOOR_COUNTS)
    return 2 * (mean - found + found * np.log(np.where(found > 0, found, mean) / mean))


def scaled_expectation(counts: Float, expected: Float, measured: Bool) -> NDArray[np.float64]:
    """`expected` times the likeliest factor: afterwards both sums over the `measured` pixels are equal.

    Raises ValueError when nothing is expected in any of them.
    """
    total = float(np.sum(expected[measured], dtype=np.float64))
    if not total > 0:
        raise ValueError("no counts are expected in any measured pixel")
    return np.asarray(expected, np.float64) * (float(np.sum(counts[measured], dtype=np.float64)) / total)


def frame_deviance(counts: Float, modes: Complex, patch: Complex, measured: Bool | None = None) -> float:
    """Mean deviance over the `measured` pixels of a frame [height, width], the beam in its centre.

    `modes` [modes, height, width] light the object's `patch` [height, width]. `measured` [height, width] is False
    where the detector gave a flag instead of counts; None: all are counts. Raises ValueError when no pixel is
    measured, or nothing is expected in those that are.
    """
    good = np.ones(counts.shape, dtype=bool) if measured is None else measured
    if not good.any():
        raise ValueError("the frame has no measured pixel")
    expected = scaled_expectation(counts, mean_counts(modes, patch), good)
    return float(np.mean(poisson_deviance(counts[good], expected[good])))


def noise_deviance(expected: Float, rng: np.random.Generator, draws: int = 8) -> float:
    """Mean deviance of counts that were drawn from their own expectation: what no reconstruction gets below."""
    return float(np.mean([np.mean(poisson_deviance(rng.poisson(expected), expected)) for _ in range(draws)]))


def framed(patch: Complex, weight: Float, frame_px: int, offset_px: int) -> NDArray[np.complex128]:
    """A patch [h, w] as the middle of a full one [frame_px, frame_px], from pixel `offset_px` in both directions.

    Outside, where the model says nothing, stands the mean of the patch weighted by the probe's intensity `weight`
    [h, w], at amplitude as it is over the lit pixels: the least surprising guess, of the patch's own phase.
    """
    mean = np.sum(patch * weight)
    amplitude = np.sum(np.abs(patch) * weight) / np.sum(weight)
    fill = amplitude * mean / abs(mean) if abs(mean) > 0 else amplitude
    whole = np.full((frame_px, frame_px), fill, dtype=np.complex128)
    whole[offset_px : offset_px + patch.shape[0], offset_px : offset_px + patch.shape[1]] = patch
    return whole
