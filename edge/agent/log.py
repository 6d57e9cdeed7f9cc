"""What an agent has been told and has asked for: observations by id, and suggestions that are still out."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.agent.messages import Observation, Suggestion
from edge.agent.space import Space

MOST_OBSERVATIONS = 8192
"""The surrogate's memory grows with their square: 0.5 GiB at this many."""
LARGEST = 1e100
"""Of values and variances: their squares are finite, too."""


class Log:
    """Observations in the order of their first coming, pending suggestions in the order of their going out."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._observations: dict[str, Observation] = {}
        self._positions: dict[str, NDArray[np.float64]] = {}
        self._settled_by: set[str] = set()
        self._pending: dict[str, Suggestion] = {}
        self._newest = ""  # suggestion

    @property
    def observations(self) -> tuple[Observation, ...]:
        return tuple(self._observations.values())

    @property
    def pending(self) -> tuple[Suggestion, ...]:
        return tuple(self._pending.values())

    def ingest(self, observations: Sequence[Observation]) -> bool:
        """Take them all or none; whether anything changed. Raises ValueError naming the one that cannot be taken."""
        positions = {seen.id: self._checked(seen) for seen in observations}
        if len(self._observations.keys() | positions.keys()) > MOST_OBSERVATIONS:
            raise ValueError(f"more than {MOST_OBSERVATIONS} observations: begin a new agent")
        changed = False
        for seen in observations:
            changed |= self._observations.get(seen.id) != seen
            self._observations[seen.id] = seen
            self._positions[seen.id] = positions[seen.id]
            if seen.suggestion_id is not None:
                self._settled_by.add(seen.suggestion_id)
                changed |= self._pending.pop(seen.suggestion_id, None) is not None
        return changed

    def put_out(self, suggestion: Suggestion) -> None:
        """`suggestion` is pending from now on."""
        self._pending[suggestion.id] = suggestion
        self._newest = suggestion.id

    def abandon(self, suggestion_ids: Sequence[str]) -> None:
        for name in suggestion_ids:
            self._pending.pop(name, None)

    def knows(self, suggestion_id: str) -> bool:
        """Whether the id is pending or an observation has named it, perhaps one of an earlier agent."""
        return suggestion_id in self._pending or suggestion_id in self._settled_by

    def positions(self) -> NDArray[np.float64]:
        """Of the observations, [n, axes]."""
        return np.array([self._positions[name] for name in self._observations]).reshape(-1, len(self._space.axes))

    def pending_positions(self) -> NDArray[np.float64]:
        """[pending, axes]."""
        found = [[out.position[name] for name in self._space.names] for out in self._pending.values()]
        return np.array(found, dtype=np.float64).reshape(-1, len(self._space.axes))

    def values(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values and variances of the observations, each [n]."""
        pairs = np.array([(seen.value, seen.variance) for seen in self._observations.values()], dtype=np.float64)
        return tuple(pairs.reshape(-1, 2).T)  # type: ignore[return-value]

    def place(self) -> NDArray[np.float64] | None:
        """Where the actuators will be when all that is out is measured, [axes]; None before the first point."""
        # Older ones that are still out may have been lost: the actuators are not there.
        if self._newest in self._pending:
            return self._space.array(self._pending[self._newest].position)
        if self._observations:
            return self._positions[next(reversed(self._observations))]
        return None

    def _checked(self, seen: Observation) -> NDArray[np.float64]:
        where = f"observation {seen.id!r}"
        if not (math.isfinite(seen.value) and abs(seen.value) <= LARGEST):
            raise ValueError(f"{where}: value {seen.value} is no finite number within {LARGEST:g}")
        if not 0 <= seen.variance <= LARGEST:
            raise ValueError(f"{where}: variance {seen.variance} is not between 0 and {LARGEST:g}")
        try:
            return self._space.array(seen.position)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{where}: {error}") from error
