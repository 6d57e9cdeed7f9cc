"""What an agent has been told and has asked for: observations by id, and suggestions that are still out."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.agent.messages import Observation, Suggestion
from edge.agent.space import Space

MOST_OBSERVATIONS = 8192
"""That a surrogate can hold: its memory grows with their square, 0.5 GiB at this many."""
FARTHEST = 1.0
"""Ranges of an axis that an observation may lie outside of it: what is further is no overshoot but a mistake."""
LARGEST = 1e100
"""Of values and variances: their squares are finite, too."""


class Log:
    """Observations in the order of their first coming, pending suggestions in the order of their going out."""

    def __init__(self, space: Space, most: int = MOST_OBSERVATIONS) -> None:
        """`most` observations are taken."""
        self._space = space
        self._most = most
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

    @property
    def room(self) -> int:
        """How many more suggestions can be observed."""
        return self._most - len(self._observations) - len(self._pending)

    def ingest(self, observations: Sequence[Observation]) -> bool:
        """Take them all or none; whether anything changed. Raises ValueError naming the one that cannot be taken."""
        positions = {seen.id: self._checked(seen) for seen in observations}
        new = [name for name in positions if name not in self._observations]
        if len(new) > (room := self._most - len(self._observations)):
            raise ValueError(f"observation {new[room]!r}: {self._most} are known, and more cannot be taken")
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
            return self.pending_positions()[-1]
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
            return self._space.array(seen.position, FARTHEST)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{where}: {error}") from error
