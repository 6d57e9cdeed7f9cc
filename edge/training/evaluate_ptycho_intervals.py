"""How sure the figures of a measured block are: neighbouring frames see the same piece of the object.

So what the bootstrap draws anew are strips of neighbouring frames (`strips`), not frames. Neighbouring strips still
overlap by a part of a probe: intervals may be a little too narrow even so.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Float
from edge.physics.bootstrap import Statistic, bootstrap
from edge.training.evaluate_ptycho_case import Block
from edge.training.judged import Bar, Judged

STRIPS, LEAST_STRIPS = 12, 4


def strips(positions: Float) -> NDArray[np.intp]:
    """Which strip each frame at `positions` [n, 2] (row, col) is in, [n]: strips along the columns, alike in number.

    Raises ValueError for too few frames.
    """
    count = min(STRIPS, len(positions) // 2)
    if count < LEAST_STRIPS:
        raise ValueError(f"{len(positions)} test frames are too few to judge by: {2 * LEAST_STRIPS} or more are needed")
    found = np.empty(len(positions), dtype=np.intp)
    found[np.argsort(positions[:, 0], kind="stable")] = np.arange(len(positions)) * count // len(positions)
    return found


def strip_interval(statistic: Statistic, block: Block, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of a figure of the frames of `block`, strips drawn anew. ValueError for too few frames."""
    strip = strips(block.positions)
    members = [np.flatnonzero(strip == name) for name in np.unique(strip)]

    def of_strips(drawn: NDArray[np.intp]) -> float:
        return statistic(np.concatenate([members[at] for at in drawn]))

    return bootstrap(of_strips, len(members), seed)


def mean_row(name: str, values: Float | Sequence[float], block: Block, unit: str, what: str, *bars: Bar) -> Judged:
    """The mean of `values` over the frames of `block`, with its interval."""
    found = np.asarray(values, dtype=np.float64)
    interval = strip_interval(lambda drawn: float(found[drawn].mean()), block)
    return Judged(name, float(found.mean()), unit, interval, what, bars)


def ratio_row(name: str, above: Float, below: Float, block: Block, what: str, *bars: Bar) -> Judged:
    """Sum of `above` over sum of `below`, both of the frames of `block`, with its interval."""

    def ratio(drawn: NDArray[np.intp]) -> float:
        return float(above[drawn].sum() / below[drawn].sum())

    interval = strip_interval(ratio, block)
    return Judged(name, ratio(np.arange(len(above))), "1", interval, what, bars)
