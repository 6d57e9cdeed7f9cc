"""`edge bench chaos`: rows of the failure table at random, for as long as one likes, while a detector sends."""

import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge.bench.chaos.bookkeeping import Book
from edge.bench.chaos.faults import NotThere
from edge.bench.chaos.frames import pictures
from edge.bench.chaos.judging import Judged
from edge.bench.chaos.rig import Rig
from edge.bench.chaos.settings import Options
from edge.bench.chaos.striking import Struck, possible, strike
from edge.bench.chaos.table import ROWS, Row
from edge.demo.children import ChildError

PART_OF_CAPACITY = 0.7
WARM_UP_S = 4.0
CAPACITY_S = 8.0
CALM_S = 1.0
"""From a recovery until memory is looked at."""

PAUSE_S = (0.5, 3.0)
SETTLED_S = 90.0
WARM_PART = 0.1
"""Of the looks at memory, at the beginning, that are not counted: caches fill."""


@dataclass
class Measured:
    """What came of it."""

    origin: str = ""  # of the frames
    capacity_hz: float = 0.0
    rate_hz: float = 0.0
    seconds: float = 0.0
    struck: list[Struck] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # rows that this machine cannot try, and why
    judged: Judged = field(default_factory=Judged)
    by_row: dict[str, Judged] = field(default_factory=dict)
    beyond: Mapping[str, int] = field(default_factory=dict)  # lost though the table says nothing of it
    series: int = 0
    unsettled: int = 0  # series that had to be judged before they had settled
    verdicts: dict[str, int] = field(default_factory=dict)
    memory: list[dict[str, int]] = field(default_factory=list)  # bytes by what holds them, each after a recovery
    repeats: int = 0  # results that the subscriber kept back
    told_lost: int = 0  # results that the subscriber says it lost
    agent_points: int = 0
    agent_failures: list[str] = field(default_factory=list)  # answers of the agent that should not have been
    stop_s: float = 0.0
    broken: str = ""  # why the run ended before its time

    @property
    def manual_steps(self) -> int:
        """What somebody would have had to do by hand."""
        return sum(one.recovery_s is None for one in self.struck) + bool(self.broken)

    @property
    def growth(self) -> float | None:
        """Memory late over early: medians of the last and the first fifth; None for too few looks."""
        early, late = self.early_and_late
        if not early:
            return None
        totals = [statistics.median(sum(look.values()) for look in looks) for looks in (late, early)]
        return totals[0] / totals[1]

    @property
    def early_and_late(self) -> tuple[list[dict[str, int]], list[dict[str, int]]]:
        """The first and the last fifth of the looks at memory that count."""
        found = self.memory[int(len(self.memory) * WARM_PART) :]
        fifth = len(found) // 5
        return (found[:fifth], found[-fifth:]) if fifth else ([], [])


def measure(
    folder: Path, options: Options, minutes: float, seed: int, data: Path | None, hear: Callable[[Measured, str], None]
) -> Measured:
    """Strike for so long, and judge; `hear` is told what has been measured so far, and what happens.

    Raises:
        ChildError, SocketError: the system did not even start.
    """
    shown = pictures(data)
    measured, dice = Measured(shown.origin), random.Random(seed)
    with Rig(folder, shown, options) as rig:
        book = Book(rig)
        book.start()
        hear(measured, "measuring the capacity")
        measured.capacity_hz = capacity_hz(rig)
        measured.rate_hz = rig.detector.rate_hz = PART_OF_CAPACITY * measured.capacity_hz
        measured.skipped = {row.name: why for row in ROWS if (why := possible(rig, row))}
        began = time.monotonic()
        try:
            for row in _drawn(dice, measured.skipped):
                if time.monotonic() - began >= 60 * minutes:
                    break
                hear(measured, row.name)
                _one(rig, row, dice, measured)
                measured.seconds = time.monotonic() - began
                measured.judged, measured.by_row = book.total, book.by_row
        except ChildError as error:
            measured.broken = str(error)
        hear(measured, "judging what is left")
        rig.detector.hold()
        book.close(SETTLED_S)
        measured.stop_s = rig.stop()
        measured.judged, measured.by_row, measured.series = book.total, book.by_row, book.series
        measured.beyond = dict(book.beyond)
        measured.unsettled, measured.verdicts = book.unsettled, dict(book.verdicts)
        measured.repeats, measured.told_lost = rig.listener.repeats, rig.listener.lost
        if rig.agent is not None:
            measured.agent_points, measured.agent_failures = rig.agent.points, rig.agent.failures
    return measured


def capacity_hz(rig: Rig) -> float:
    """Images a second that get a result on every route when the detector never waits."""
    rig.detector.rate_hz = None
    rig.detector.sending.set()
    time.sleep(WARM_UP_S)
    before, began = rig.listener.results, time.monotonic()
    time.sleep(CAPACITY_S)
    done, took = rig.listener.results - before, time.monotonic() - began
    rig.detector.rate_hz = max(1.0, PART_OF_CAPACITY * done / took / len(rig.routes))
    rig.detector.end_series()
    return done / took / len(rig.routes)


def _one(rig: Rig, row: Row, dice: random.Random, measured: Measured) -> None:
    try:
        found = strike(rig, row, dice)
    except NotThere as error:
        found = Struck(row.name, time.monotonic(), 0.0, None, 0, str(error))
    measured.struck.append(found)
    if found.recovery_s is None:
        rig.detector.under("")
        rig.restart()
    time.sleep(CALM_S)
    measured.memory.append(rig.memory_by_role())
    time.sleep(dice.uniform(*PAUSE_S))


def _drawn(dice: random.Random, skipped: dict[str, str]) -> Iterator[Row]:
    """Rows at random, each as often as the others: all are drawn before any is drawn again."""
    rows = [row for row in ROWS if row.name not in skipped]
    while True:
        yield from dice.sample(rows, len(rows))
