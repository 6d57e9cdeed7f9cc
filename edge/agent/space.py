"""The region that may be measured: axes with limits and speeds, and how long a move takes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MOST_AXES = 8
MOST_POSITIONS = 1_000_000
ROUNDING = 1e-9
"""Of an axis's range: how far rounding may take a position beyond a limit."""


@dataclass(frozen=True)
class Axis:
    """One actuator. Raises ValueError for limits or a speed that make no sense."""

    name: str
    low: float  # units of the axis, e.g. mm
    high: float
    speed: float = 1.0  # units/s

    def __post_init__(self) -> None:
        if not (math.isfinite(self.high - self.low) and self.low < self.high):  # of both limits, and of what is between
            raise ValueError(f"axis {self.name!r}: limits {self.low}..{self.high} must be finite and rise")
        if not (math.isfinite(self.speed) and self.speed > 0):
            raise ValueError(f"axis {self.name!r}: speed {self.speed} must be a positive number of units/s")


@dataclass(frozen=True)
class Space:
    """A box of axes that move at the same time.

    Positions are float64 [n, axes] in the axes' units and order; in unit coordinates the box is 0..1 on every axis.
    """

    axes: tuple[Axis, ...]
    overhead_s: float = 0.0  # of each point, besides exposure and travel: settling, arming, reading out

    def __post_init__(self) -> None:
        names = [axis.name for axis in self.axes]
        if not 0 < len(names) <= MOST_AXES or len(set(names)) != len(names):
            raise ValueError(f"a space has 1 to {MOST_AXES} axes of different names, not {names}")
        if not (math.isfinite(self.overhead_s) and self.overhead_s >= 0):
            raise ValueError(f"overhead {self.overhead_s} must be a number of seconds, 0 or more")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(axis.name for axis in self.axes)

    @property
    def low(self) -> NDArray[np.float64]:
        return np.array([axis.low for axis in self.axes], dtype=np.float64)

    @property
    def high(self) -> NDArray[np.float64]:
        return np.array([axis.high for axis in self.axes], dtype=np.float64)

    def array(self, position: Mapping[str, float], beyond: float = ROUNDING) -> NDArray[np.float64]:
        """`position` as [axes].

        Args:
            beyond: how far outside the limits it may be, in ranges of the axis.

        Raises:
            ValueError: it names other axes, is not finite, or is further outside.
        """
        if set(position) != set(self.names):
            raise ValueError(f"position names axes {sorted(position)}, the space has {sorted(self.names)}")
        found = np.array([float(position[name]) for name in self.names])
        for axis, value in zip(self.axes, found, strict=True):
            if not math.isfinite(value):
                raise ValueError(f"{axis.name} = {value} is no finite number")
            slack = beyond * (axis.high - axis.low)
            if not axis.low - slack <= value <= axis.high + slack:
                far = "far " if beyond > ROUNDING else ""
                raise ValueError(
                    f"{axis.name} = {value:.9g} is {far}outside {axis.low:g}..{axis.high:g}: it may be in other units "
                    "than the space, or of another motor"
                )
        return found

    def mapping(self, position: ArrayLike) -> dict[str, float]:
        """[axes] as a dictionary of plain floats."""
        return dict(zip(self.names, np.asarray(position, dtype=np.float64).tolist(), strict=True))

    def to_unit(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Positions [..., axes] in unit coordinates."""
        return (np.asarray(positions, dtype=np.float64) - self.low) / (self.high - self.low)

    def from_unit(self, unit: ArrayLike) -> NDArray[np.float64]:
        """Unit coordinates [..., axes] as positions."""
        return self.low + np.asarray(unit, dtype=np.float64) * (self.high - self.low)

    def travel_s(self, start: ArrayLike, end: ArrayLike) -> NDArray[np.float64]:
        """Seconds from `start` to `end`, [..., axes] broadcast over all but the axes: the slowest axis decides."""
        speed = np.array([axis.speed for axis in self.axes])
        return np.max(np.abs(np.asarray(end, dtype=np.float64) - np.asarray(start, dtype=np.float64)) / speed, axis=-1)

    def candidates(self, per_axis: int) -> NDArray[np.float64]:
        """A lattice with its edges, [per_axis ** axes, axes]; the last axis runs fastest."""
        if per_axis < 2 or per_axis ** len(self.axes) > MOST_POSITIONS:
            raise ValueError(f"{per_axis} candidates an axis: 2 or more, and at most {MOST_POSITIONS} in all")
        steps = [np.linspace(axis.low, axis.high, per_axis) for axis in self.axes]
        return np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, len(self.axes))

    def sobol(self, n: int, seed: int) -> NDArray[np.float64]:
        """`n` scrambled Sobol points [n, axes]: even without a period (Owen, J. Complexity 14, 466, 1998)."""
        from scipy.stats import qmc  # takes longer to import than all the rest

        if not 0 <= n <= MOST_POSITIONS:
            raise ValueError(f"{n} Sobol points: 0 to {MOST_POSITIONS} are possible")
        # Powers of two keep the balance of the sequence; its first points are even, too.
        sequence = qmc.Sobol(len(self.axes), scramble=True, rng=seed)
        return self.from_unit(sequence.random_base2(max(n - 1, 1).bit_length())[:n])
