"""How sure a figure is, from the spread of what it was made of.

Percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). What is drawn anew are
whole frames: pixels and peaks of one frame are not independent of each other.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Float

DRAWS = 2000
SHARE = 0.95

Statistic: TypeAlias = Callable[[NDArray[np.intp]], float]
"""Indices of frames, with repeats -> the figure of just those."""


def bootstrap(statistic: Statistic, frames: int, seed: int = 0, draws: int = DRAWS) -> tuple[float, float]:
    """Where the `statistic` of `frames` frames lies with 95 % confidence, (low, high).

    Draws on which the statistic is not finite are left out; (nan, nan) where that are all. Raises ValueError for less
    than two frames: of one frame there is no spread.
    """
    if frames < 2:
        raise ValueError(f"{frames} frame(s) tell no spread, give two or more")
    rng = np.random.default_rng(seed)
    found = np.array([statistic(rng.integers(0, frames, frames)) for _ in range(draws)], dtype=np.float64)
    found = found[np.isfinite(found)]
    if not len(found):
        return float("nan"), float("nan")
    low, high = np.quantile(found, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)


def mean_interval(values: Float, seed: int = 0) -> tuple[float, float]:
    """The interval of the mean of `values` [frames]. Raises ValueError for less than two."""
    values = np.asarray(values, dtype=np.float64)
    return bootstrap(lambda drawn: float(values[drawn].mean()), len(values), seed)


def ratio_interval(above: Float, below: Float, seed: int = 0) -> tuple[float, float]:
    """The interval of sum(`above`) / sum(`below`), both [frames], frames drawn together.

    Raises ValueError for less than two frames or unequal lengths.
    """
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    if above.shape != below.shape:
        raise ValueError(f"a ratio of {above.shape} to {below.shape} values: they must belong to the same frames")
    return bootstrap(lambda drawn: float(above[drawn].sum() / below[drawn].sum()), len(above), seed)
