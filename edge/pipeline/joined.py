"""How many results of a series left with a position, and why the others have none.

    joined + missing = published

for each series on each route, wherever positions were asked for in the configuration or came by themselves.
"""

from collections import Counter
from typing import Any

from streams.positions.headers import Known, Verdict


class PositionAccount:
    """One series on one route."""

    def __init__(self) -> None:
        self.joined = 0
        self.missing: Counter[str] = Counter()  # by `streams.positions.headers.Why`
        self.asked_for = False  # in the configuration

    def enter(self, verdict: Verdict) -> dict[str, float] | None:
        """A result leaves with this verdict; its position."""
        if isinstance(verdict, Known):
            self.joined += 1
            return verdict.position
        self.missing[reason_of(verdict)] += 1
        return None

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for the wire; empty where nobody asked for positions and none came."""
        if not self.asked_for and not self.joined:
            return {}
        return {"joined": self.joined, "missing": dict(self.missing)}


def reason_of(verdict: Verdict) -> str:
    """The reason why there is no position; empty where there is one."""
    return str(getattr(verdict, "reason", ""))
