"""What an agent hands out and takes in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Suggestion:
    """A position worth measuring, and what the agent knew when it said so."""

    id: str
    position: Mapping[str, float]  # axis name: value, in the axis's units
    sigma: float  # standard deviation of the surrogate there, units of the values; NaN where none was asked
    surrogate_version: int  # 0: no surrogate was asked
    observations: int  # how many the agent had
    pending: int  # suggestions that were out and not yet observed, without this one
    acquisition: str  # "start" for a point of the start, "path" for one of a given path


@dataclass(frozen=True)
class Observation:
    """A measured value. `position` is where the actuators were (their readback), not where they were sent."""

    id: str
    position: Mapping[str, float]
    value: float
    variance: float  # of the value, from its counting statistics or the like; 0 or more
    suggestion_id: str | None = None  # which suggestion this settles


class CannotSuggest(RuntimeError):
    """An agent cannot suggest although something is left to measure; the text says why, and what to do."""


class Agent(Protocol):
    """Decides where to measure. Not thread-safe: see `service`."""

    def suggest(self, n: int = 1) -> list[Suggestion]:
        """Up to `n` positions, in the order of measuring; fewer or none when nothing is left.

        A suggestion is pending until it is observed or abandoned. Raises CannotSuggest where a bound is reached.
        """
        ...

    def ingest(self, observations: Sequence[Observation]) -> None:
        """Take in what was measured, asked for or not. Idempotent by id; the same id with other content replaces.

        A position may lie outside the space, for actuators do not always stop where they were sent. Raises ValueError,
        and takes none of them, where one is not finite, names other axes, is outside by more than an axis's range, or
        is one too many.
        """
        ...

    def abandon(self, suggestion_ids: Sequence[str]) -> None:
        """These will not be measured. Ids that are not pending are ignored."""
        ...

    @property
    def observations(self) -> tuple[Observation, ...]:
        """All that were ingested, in the order of their first coming."""
        ...
