"""The places of the workers: which process is in each, and what it said of itself last. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from edge.pipeline.readiness import Facts

SILENT_NS = 300_000_000
"""A worker that said nothing for so long is held up: what it has is still to come. It says how it is ten times a
second; a grace period that is not longer than this does not wait for it."""


MOST_FAILED = 3
"""Processes that end one after the other while they go through a capture: what is in it is given up then."""


@dataclass
class Place:
    """One of the workers. Its processes are numbered as they come: `life` counts them.

    Attributes:
        up: a process is there and said hello.
        records: what its last process took in is on disk, and the next one goes through it again.
        fresh: it has not said yet how it is.
    """

    worker: int
    life: int = 0
    up: bool = False
    records: bool = False
    fresh: bool = True
    lost_ns: int = 0
    heard_ns: int = 0
    facts: Facts | None = None
    blocked: tuple[str, ...] = field(default=())
    failed: int = 0  # processes in a row that ended before they had gone through the capture

    @property
    def restarts(self) -> int:
        """Processes after the first."""
        return max(0, self.life - 1)

    def begin(self, records: bool, now_ns: int) -> None:
        """A process is there."""
        self.life += 1
        self.up, self.fresh, self.records = True, True, records
        self.heard_ns, self.facts, self.blocked = now_ns, None, ()

    def say(self, facts: Facts, blocked: Iterable[str], now_ns: int) -> None:
        """It said how it is."""
        self.facts, self.blocked, self.heard_ns, self.fresh = facts, tuple(blocked), now_ns, False

    def end(self, now_ns: int) -> None:
        """The process is gone."""
        recovering = self.fresh or self.facts is None or any(one.recovering for one in self.facts.sources.values())
        self.failed = self.failed + 1 if recovering else 0
        self.up, self.lost_ns, self.facts = False, now_ns, None

    def recovering(self, source: str) -> bool:
        """Whether it goes through what an earlier process of this place took in, and may be waited for."""
        if self.failed >= MOST_FAILED:
            return False
        if not self.up or self.facts is None:
            return self.up and self.fresh and self.records
        found = self.facts.sources.get(source)
        return found is not None and found.recovering

    def awaited(self, patience_ns: int, now_ns: int) -> bool:
        """Whether somebody will come and go through what the process that is gone took in."""
        waited = self.life > 0 and self.records and self.failed < MOST_FAILED
        return not self.up and waited and now_ns - self.lost_ns < patience_ns

    def holds(self, source: str, patience_ns: int, now_ns: int) -> bool:
        """Whether images may be with it that it has not told of: the detector's silence means nothing then."""
        if not self.up:
            return self.awaited(patience_ns, now_ns)
        return source in self.blocked or self.recovering(source) or now_ns - self.heard_ns > SILENT_NS
