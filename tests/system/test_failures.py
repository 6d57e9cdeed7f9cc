"""Every row of the failure table, on one running system: `edge up` with all that it runs, and a detector."""

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge.bench.chaos.bookkeeping import Book
from edge.bench.chaos.faults import NotThere
from edge.bench.chaos.frames import pictures
from edge.bench.chaos.judging import Judged
from edge.bench.chaos.rig import Rig
from edge.bench.chaos.settings import Options
from edge.bench.chaos.striking import Struck, possible, strike
from edge.bench.chaos.table import ROWS, Row
from tests.data import FOLDER

RATE_HZ = 60.0
CALM_S = 0.3
SETTLED_S = 60.0


@dataclass
class Done:
    """What came of all rows."""

    struck: dict[str, Struck] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    judged: Mapping[str, Judged] = field(default_factory=dict)
    total: Judged = field(default_factory=Judged)
    slow_subscriber: tuple[int, int] = (0, 0)  # results that were due of the series that were over, and that it had
    lost_by_it: int = 0
    agent_points: int = 0
    agent_failures: list[str] = field(default_factory=list)
    stop_s: float = 0.0
    left: list[str] = field(default_factory=list)  # what is in `/dev/shm` after the end


@pytest.fixture(scope="module")
def done(triton: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """All rows, one after the other."""
    found, dice = Done(), random.Random(5)
    options = Options(routes={"check": "identity"})
    with Rig(tmp_path_factory.mktemp("failures"), pictures(FOLDER, 24), options) as rig:
        book = Book(rig)
        book.start()
        rig.detector.rate_hz = RATE_HZ
        rig.detector.sending.set()
        for row in ROWS:
            if why := possible(rig, row):
                found.skipped[row.name] = why
                continue
            struck = found.struck[row.name] = _struck(rig, row, dice)
            if row.name == "subscriber slow":
                found.slow_subscriber, found.lost_by_it = _slow(rig, row), rig.second.lost
            if struck.recovery_s is None:
                rig.detector.under("")
                rig.restart()
            time.sleep(CALM_S)
        rig.detector.hold()
        book.close(SETTLED_S)
        found.judged, found.total = book.by_row, book.total
        assert rig.agent is not None
        found.agent_points, found.agent_failures = rig.agent.points, rig.agent.failures
        found.stop_s = rig.stop()
        found.left = [path.name for path in rig.seen(Path("/dev/shm")).iterdir()] if rig.mounts else []
    yield found


def _struck(rig: Rig, row: Row, dice: random.Random) -> Struck:
    try:
        return strike(rig, row, dice)
    except NotThere as error:
        return Struck(row.name, 0.0, 0.0, None, 0, str(error))


def _slow(rig: Rig, row: Row) -> tuple[int, int]:
    """Results due in the series of the row that are over, and those of them that the second subscriber was given."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        series = [one for one in rig.detector.series.values() if one.row == row.name]
        if all(one.ended_s is not None and (one.uid, "check") in rig.second.results for one in series):
            break
        time.sleep(0.1)
    return sum(one.images for one in series), sum(rig.second.results.get((one.uid, "check"), 0) for one in series)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
def test_row(done: Done, row: Row) -> None:
    if why := done.skipped.get(row.name):
        pytest.skip(why)
    struck, judged = done.struck[row.name], done.judged[row.name]
    assert struck.recovery_s is not None, f"did not recover by itself: {struck.reason}"
    assert (judged.unaccounted, judged.duplicates, judged.wrong) == (0, 0, 0), judged.examples
    assert judged.frames > 0
    assert judged.undelivered == 0
    assert set(judged.lost) <= row.losses
    assert judged.results == judged.frames - judged.lost.total()


def test_what_is_said_to_be_lost_is_lost(done: Done) -> None:
    if "disk full" in done.skipped:
        pytest.skip(done.skipped["disk full"])
    assert done.judged["disk full"].lost["unlogged"] > 0


def test_between_the_failures_everything_is_kept(done: Done) -> None:
    calm = done.judged[""]
    assert calm.results == calm.frames > 0


def test_a_slow_subscriber_catches_up(done: Done) -> None:
    due, had = done.slow_subscriber
    assert had == due > 0
    assert done.lost_by_it == 0


def test_the_agent_forgets_nothing(done: Done) -> None:
    assert done.agent_failures == []
    assert done.agent_points > 20


def test_nothing_is_left_behind(done: Done) -> None:
    assert done.left == []
