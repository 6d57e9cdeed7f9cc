"""How well a map was measured: one reconstructor and one truth for all strategies. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.agent.messages import Observation
from edge.agent.reconstruct import reconstruct
from edge.agent.space import Space
from edge.experiment.series import SeriesRecord
from edge.physics.bragg import BraggSample

GRID = 50
"""Points of the truth along each axis."""


@dataclass(frozen=True)
class MapScan:
    """What one strategy measured, and what it took."""

    strategy: str
    observations: tuple[Observation, ...]
    path: NDArray[np.float64]  # [points, 2] positions read back (x, y) in mm, in the order they were measured
    times_s: NDArray[np.float64]  # [points] from the first move until each was measured
    exit_status: str
    series: tuple[SeriesRecord, ...]  # the accounts of all series that the detector was armed for
    suggest_ms: Mapping[str, float]
    rejected: int  # measurements that were repeated

    @property
    def beam_time_s(self) -> float:
        """From the first move until the last point was measured."""
        return float(self.times_s[-1]) if len(self.times_s) else 0.0

    @property
    def travel_mm(self) -> float:
        """Way of the slower axis: both move at once."""
        return float(np.abs(np.diff(self.path, axis=0)).max(axis=1).sum()) if len(self.path) > 1 else 0.0


@dataclass(frozen=True)
class Truth:
    """What a perfect measurement everywhere would give."""

    positions: NDArray[np.float64]  # [GRID * GRID, 2] (x, y) in mm
    values: NDArray[np.float64]  # [GRID, GRID], rows along y; Bragg photons per monitor count
    extent: tuple[float, float, float, float]  # x from, to; y from, to, in mm


@dataclass(frozen=True)
class Judged:
    """A scan and the map that it gives."""

    scan: MapScan
    map: NDArray[np.float64]  # [GRID, GRID]
    sigma: NDArray[np.float64]  # [GRID, GRID]
    nrmse: float


def truth_of(sample: BraggSample, space: Space, monitor_per_s: float) -> Truth:
    """Expected Bragg photons per monitor count on a grid over `space`, whose axes are x and y."""
    (x_low, y_low), (x_high, y_high) = space.low, space.high
    x, y = np.meshgrid(np.linspace(x_low, x_high, GRID), np.linspace(y_low, y_high, GRID))
    positions = np.column_stack([x.ravel(), y.ravel()])
    return Truth(positions, sample.total(x, y) / monitor_per_s, (x_low, x_high, y_low, y_high))


def judge(scan: MapScan, space: Space, truth: Truth) -> Judged:
    """Reconstruct the map from the scan's observations and compare it with the truth.

    The error is the root mean square over the grid divided by the truth's range (NRMSE).
    """
    mean, sigma = reconstruct(space, scan.observations, truth.positions)
    shape = truth.values.shape
    error = mean.reshape(shape) - truth.values
    nrmse = float(np.sqrt(np.mean(error**2)) / np.ptp(truth.values))
    return Judged(scan, mean.reshape(shape), sigma.reshape(shape), nrmse)


def path_seconds(space: Space, positions: NDArray[np.float64], seconds_a_point: float) -> float:
    """Beam time of a path [n, axes]: `seconds_a_point` at each, and the travel between."""
    return seconds_a_point * len(positions) + float(np.sum(space.travel_s(positions[:-1], positions[1:])))


def largest_within(seconds: float, paths: Sequence[tuple[float, NDArray[np.float64]]]) -> NDArray[np.float64]:
    """Of `paths` with their beam times, the one with the most points that takes at most `seconds`."""
    fitting = [path for took, path in paths if took <= seconds]
    return max(fitting, key=len) if fitting else min(paths, key=lambda one: one[0])[1]
