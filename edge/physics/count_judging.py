"""How well estimated counts agree with counts of the same expectation that are independent of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Bool, Float

FLOOR = 1e-3
"""Least prediction in counts: the deviance of a count from a prediction of nothing has no end. It lies below what the
darkest pixels have, or it would take the place of every prediction there."""

GROUPS = 10


@dataclass(frozen=True)
class Scores:
    """Arrays [frames], each a mean over pixels."""

    square: NDArray[np.float64]  # error, counts squared
    deviance: NDArray[np.float64]  # Poisson's


def scores(predicted: Float, wanted: Float, floor: float = FLOOR, good: Bool | None = None) -> Scores:
    """Compares `predicted` with `wanted`, both [frames, height, width] or [frames, pixels], in counts, where `good`,
    of the same shape, is true: everywhere without it."""
    pixels = tuple(range(1, np.ndim(wanted)))
    where = np.ones(np.shape(wanted), dtype=bool) if good is None else good
    deviance = poisson_deviance(np.maximum(predicted, floor), wanted)
    square = (predicted - wanted) ** 2
    return Scores(np.mean(square, axis=pixels, where=where), np.mean(deviance, axis=pixels, where=where))


def poisson_deviance(predicted: Float, wanted: Float) -> Float:
    """2 (mu - y + y log(y / mu)) of each pixel; zero where both are equal."""
    return 2 * (predicted - wanted + wanted * np.log(np.where(wanted > 0, wanted, 1.0) / predicted))


def count_groups(predicted: Float) -> NDArray[np.intp]:
    """To which of `GROUPS` groups each pixel belongs, dim to bright: each holds as many `predicted` counts.

    By the prediction, for an estimator is right where what it calls n counts has n counts on average, whatever n.
    Groups by the counts that it is compared with would hold pixels chosen for their noise: there even the best looks
    too low where they are many, and too high where they are few.
    """
    flat = np.ravel(predicted).astype(np.float64)
    order = np.argsort(flat, kind="stable")
    share = np.cumsum(flat[order])
    found = np.empty(len(flat), dtype=np.intp)
    found[order] = np.minimum(GROUPS * share / share[-1], GROUPS - 1e-9).astype(np.intp)
    return found.reshape(np.shape(predicted))


def pixel_groups(predicted: Float) -> NDArray[np.intp]:
    """The same with equally many pixels in each."""
    flat = np.ravel(predicted)
    found = np.empty(len(flat), dtype=np.intp)
    found[np.argsort(flat, kind="stable")] = GROUPS * np.arange(len(flat)) // len(flat)
    return found.reshape(np.shape(predicted))


def group_sums(values: Float, groups: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sums [frames, GROUPS] of `values` over the `groups`, both [frames, height, width]."""
    pairs = zip(values, groups, strict=True)
    return np.array([np.bincount(one.ravel(), value.ravel(), GROUPS) for value, one in pairs], dtype=np.float64)


def pulls(predicted: Float, variance: Float, wanted: Float, noise: Float) -> Float:
    """Errors in units of their own deviation; `noise` is the expected variance of `wanted` itself, counts squared."""
    return (wanted - predicted) / np.sqrt(variance + noise)
