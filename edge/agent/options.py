"""How an agent goes about it, and what follows from that before anything is measured."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.agent.acquisition import ACQUISITIONS
from edge.agent.log import MOST_OBSERVATIONS
from edge.agent.path import from_low_end, sobol_tour
from edge.agent.planning import MOST_PLANNED, affordable, path_through
from edge.agent.space import Space


@dataclass(frozen=True)
class Options:
    """How a `GaussianProcessAgent` goes about it.

    With `points` or `beam_time_s` the agent knows the end and plans up to it; with neither it takes the next point by
    `acquisition`, so that it may be stopped at any time. What comes after the end is taken so, too.
    """

    exposure_s: float = 0.1  # of one point
    points: int | None = None  # that will be measured in all, at most MOST_OBSERVATIONS
    beam_time_s: float | None = None  # exposures, overheads and travel together
    start_points: int = 16  # before length scales are learned
    acquisition: str = "sigma_rate"
    candidates: int = 2500  # at most, on a lattice
    references: int = 300  # candidates over which variance is integrated, at most
    training: Literal["inline", "deferred"] = "inline"  # deferred: somebody else calls `training_due`, see `service`

    def __post_init__(self) -> None:
        if self.acquisition not in ACQUISITIONS:
            raise ValueError(f"acquisition {self.acquisition!r} is none of {', '.join(ACQUISITIONS)}")
        for name in ("exposure_s", "points", "beam_time_s", "start_points", "candidates", "references"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e6:
                raise ValueError(f"{name} = {value} must be above 0 and below a million")
        if self.points is not None and self.points > MOST_OBSERVATIONS:
            raise ValueError(
                f"points = {self.points} are more than the {MOST_OBSERVATIONS} that an agent can hold: give each part "
                "of the space an agent of its own, or measure a path (PathAgent)"
            )


def start_path(space: Space, options: Options, seed: int) -> NDArray[np.float64]:
    """Where the end is known, a tour through all that is affordable, of which only the first part will be walked: an
    overview first would cost its travel twice."""
    if options.points is None and options.beam_time_s is None:
        return sobol_tour(space, options.start_points, seed)
    n = min(options.points or MOST_PLANNED, MOST_PLANNED)
    if options.beam_time_s is None:
        points = space.sobol(n, seed)
        return from_low_end(space, points[path_through(space, points, None)])
    each = options.exposure_s + space.overhead_s
    points = space.sobol(min(n, int(options.beam_time_s / each)), seed)
    return from_low_end(space, points[affordable(space, points, None, options.beam_time_s, each)])


def per_axis_of(most: int, space: Space) -> int:
    return max(2, int(most ** (1 / len(space.axes)) + 1e-9))


def sublattice(axes: int, per_axis: int, most: int) -> NDArray[np.intp]:
    """Every so manieth candidate on each axis."""
    step = max(1, int(np.ceil(per_axis / max(1, int(most ** (1 / axes) + 1e-9)))))
    picked = np.arange(((per_axis - 1) % step) // 2, per_axis, step)
    return np.ravel_multi_index(np.meshgrid(*[picked] * axes, indexing="ij"), (per_axis,) * axes).ravel()
