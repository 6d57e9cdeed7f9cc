"""Results that wait for their positions: how long, how many, in which order they leave."""

import numpy as np
import pytest

from edge.pipeline.batching import Pending
from edge.pipeline.dispatch import RouteRunner, ServedModel
from edge.pipeline.finished import Finished
from edge.pipeline.finished import finished as cut
from edge.pipeline.joining import Joining, Joins
from edge.pipeline.outputs import OutputBlocks
from edge.pipeline.position_sources import FilePositions, HeaderPositions
from edge.pipeline.record import SeriesRecord
from edge.positions.files import PositionFileError
from streams.codecs.results import SMALL_BYTES, ArraySpec
from streams.ledger.series import Series
from streams.messages import SeriesStart
from streams.positions.headers import AWAITED, AxisOf, Known, Missing, Verdict, Why
from streams.positions.table import PositionTable
from streams.routing import Route
from tests.unit.pipeline.doubles import SPEC, HeapMemory

RUNNER = RouteRunner(
    Route("r", "sum"), ServedModel(SPEC, "1", "00", (2,)), OutputBlocks(HeapMemory("o", 1 << 16), SPEC, 1), 1
)
NBYTES = 80
"""Of the arrays of one result."""


class Slowly:
    """Positions that a test makes known: image `i` is at x = i."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}  # by series: images below this id
        self.forgotten: list[str] = []

    def opened(self, record: SeriesRecord) -> None:
        self.known[record.series.uid] = 0

    def position(self, frame: Pending) -> Verdict:
        known = frame.image_id < self.known[frame.record.series.uid]
        return Known({"x": float(frame.image_id)}) if known else AWAITED

    def forget(self, uid: str) -> None:
        self.forgotten.append(uid)


def record(number: int = 1, source: str = "det") -> SeriesRecord:
    start = SeriesStart(source, f"uid-{number}", number, 10, ("image",))
    return SeriesRecord(Series(start, announced=True, now_ns=0), ["r"])


def finished(
    of: SeriesRecord, image_id: int, position: dict[str, float] | None = None, nbytes: int = NBYTES
) -> Finished:
    batch = np.full((4, nbytes // 8), image_id, np.float64)
    frame = Pending(of, None, 0, image_id, "image", (1, 1), 2, position, 0, 0)  # no lane: it has left its slot
    return cut(RUNNER, [frame] * len(batch), {"total": batch})[1]


def bench(wait_ns: int = 100, hold_nbytes: int = 1 << 20) -> tuple[Joining, Slowly]:
    slowly = Slowly()
    return Joining({"det": Joins(slowly, wait_ns, hold_nbytes, {"x": "um"})}), slowly


def left(leaving) -> list[tuple[int, Verdict]]:
    return [(one.frame.image_id, verdict) for one, verdict in leaving]


def x(image_id: int) -> tuple[int, Verdict]:
    return image_id, Known({"x": float(image_id)})


def test_results_leave_when_their_positions_are_known():
    joining, slowly = bench()
    series = record()
    joining.opened(series)
    assert series.position_units == {"x": "um"}
    assert series.positions["r"].asked_for
    for image_id in (3, 0, 2, 1):
        assert not left(joining.offer([finished(series, image_id)], 0))
    assert (len(joining), joining.held()) == (4, {"det": 4})
    assert not left(joining.decided(50))
    slowly.known["uid-1"] = 3
    assert left(joining.decided(50)) == [x(0), x(1), x(2)]
    assert left(joining.offer([finished(series, 2)], 60)) == [x(2)]
    slowly.known["uid-1"] = 4
    assert left(joining.decided(60)) == [x(3)]
    assert not joining
    joining.forget(series)
    assert slowly.forgotten == ["uid-1"]


def test_nobody_waits_longer_than_told():
    joining, slowly = bench(wait_ns=100)
    series = record()
    joining.opened(series)
    for image_id, now_ns in ((5, 10), (1, 50)):
        joining.offer([finished(series, image_id)], now_ns)
    assert not left(joining.decided(109))
    assert left(joining.decided(110)) == [(5, Missing(Why.LATE))]
    slowly.known["uid-1"] = 9
    assert left(joining.decided(149)) == [x(1)]
    assert not left(joining.decided(1000))


def test_an_open_series_does_not_delay_another_one():
    joining, slowly = bench()
    first, second = record(1), record(2)
    for series in (first, second):
        joining.opened(series)
        joining.offer([finished(series, 0)], 0)
    slowly.known["uid-2"] = 1
    assert left(joining.decided(1)) == [x(0)]
    assert len(joining) == 1


def test_the_oldest_leave_when_memory_is_full():
    joining, slowly = bench(hold_nbytes=2 * NBYTES)
    series = record()
    joining.opened(series)
    assert not left(joining.offer([finished(series, 7)], 0))
    assert not left(joining.offer([finished(series, 1)], 0))
    assert left(joining.offer([finished(series, 2)], 0)) == [(7, Missing(Why.OVERFLOW))]
    slowly.known["uid-1"] = 2
    assert left(joining.decided(1)) == [x(1)]
    assert not left(joining.offer([finished(series, 3)], 1))
    assert len(joining) == 2


def test_a_result_larger_than_the_memory_leaves_at_once():
    joining, _ = bench(hold_nbytes=NBYTES - 1)
    series = record()
    joining.opened(series)
    assert left(joining.offer([finished(series, 7)], 0)) == [(7, Missing(Why.OVERFLOW))]
    assert not joining


def test_a_held_result_keeps_no_batch_alive():
    joining, slowly = bench()
    series = record()
    joining.opened(series)
    given = finished(series, 1, nbytes=2 * SMALL_BYTES)
    assert isinstance(given.contents[0], memoryview)
    joining.offer([given], 0)
    slowly.known["uid-1"] = 2
    (one, _), *_ = joining.decided(0)
    assert one.contents == (bytes(given.contents[0]),)
    assert one.specs == given.specs == (ArraySpec("total", "float64", (SMALL_BYTES // 4,), "1"),)
    assert one.nbytes == 2 * SMALL_BYTES


def test_results_of_one_request_are_offered_together():
    joining, slowly = bench()
    series = record()
    joining.opened(series)
    slowly.known["uid-1"] = 2
    assert left(joining.offer([finished(series, at) for at in (0, 3, 1)], 0)) == [x(0), x(1)]
    assert len(joining) == 1


def test_at_the_end_all_of_them_leave():
    joining, _ = bench()
    series = record()
    joining.opened(series)
    for image_id in (1, 0):
        joining.offer([finished(series, image_id)], 0)
    assert left(joining.give_up()) == [(1, Missing(Why.SHUTDOWN)), (0, Missing(Why.SHUTDOWN))]
    assert not joining
    assert not left(joining.decided(10**9))


def test_a_source_without_settings_takes_what_its_headers_say():
    joining, _ = bench()
    series = record(source="other")
    joining.opened(series)
    assert not series.positions["r"].asked_for
    assert left(joining.offer([finished(series, 1, {"y": 2.0})], 0)) == [(1, Known({"y": 2.0}))]
    assert left(joining.offer([finished(series, 2)], 0)) == [(2, Missing(Why.ABSENT))]
    joining.forget(series)


def test_headers_never_wait():
    joining = Joining({"det": Joins(HeaderPositions(), 100, 100)})
    series = record()
    joining.opened(series)
    assert left(joining.offer([finished(series, 2)], 0)) == [(2, Missing(Why.ABSENT))]


@pytest.fixture
def table():
    return PositionTable([AxisOf("x", ("x",))], {"x": np.arange(3.0)})


def test_a_file_is_read_once_a_series_by_its_name(table):
    asked = []

    def read(path):
        asked.append(str(path))
        return table

    files = FilePositions("/data/{source}/{series_id:04d}_{series_uid}.npy", read)
    series = SeriesRecord(Series(SeriesStart("d", "a/../b", 7, 3, ()), announced=True, now_ns=0), ["r"])
    for _ in range(2):
        files.opened(series)
    files._reader.shutdown(wait=True)
    assert asked == ["/data/d/0007_a_.._b.npy"]
    assert [files.position(finished(series, at).frame) for at in (2, 3)] == [Known({"x": 2.0}), Missing(Why.BEYOND)]
    files.forget(series.series.uid)
    assert files.position(finished(series, 0).frame) == AWAITED


def test_a_file_that_cannot_be_read_is_told_once(caplog):
    def read(path):
        raise PositionFileError(f"{path}: nothing there")

    files = FilePositions("p.npy", read)
    series = record()
    files.opened(series)
    files._reader.shutdown(wait=True)
    for image_id in range(3):
        assert files.position(finished(series, image_id).frame) == Missing(Why.NO_FILE)
    assert caplog.text.count("nothing there") == 1


def test_what_is_wrong_with_us_is_not_hidden():
    def read(path):
        raise ZeroDivisionError

    files = FilePositions("p.npy", read)
    series = record()
    files.opened(series)
    files._reader.shutdown(wait=True)
    with pytest.raises(ZeroDivisionError):
        files.position(finished(series, 0).frame)
