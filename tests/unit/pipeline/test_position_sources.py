"""The stream of a position box, from messages to verdicts; its socket is a list."""

import numpy as np

from edge.pipeline.batching import Pending
from edge.pipeline.position_sources import StreamPositions
from edge.pipeline.record import SeriesRecord
from edge.pipeline.totals import Totals
from streams.codecs import panda_encoder
from streams.ledger.series import Series
from streams.messages import SeriesStart
from streams.positions.armings import ArmingBook
from streams.positions.headers import AWAITED, AxisOf, Known, Missing, Verdict, Why
from streams.positions.samples import PositionJoiner


class Messages:
    """What a socket would have received."""

    def __init__(self) -> None:
        self.zmq = None
        self.waiting: list = []

    def receive(self, timeout_ms: int = 0):
        return [memoryview(part) for part in self.waiting.pop(0)] if self.waiting else None


class Bench:
    def __init__(self) -> None:
        self.totals, self.socket = Totals(), Messages()
        book = ArmingBook(lambda: PositionJoiner([AxisOf("x", ("/X",))]))
        self.stream = StreamPositions("det", self.socket, book, self.totals)
        self.records: dict[int, SeriesRecord] = {}

    def opens(self, number: int, recovered: bool = False) -> None:
        start = SeriesStart("det", str(number), number, 4, ("image",))
        series = Series(start, announced=True, now_ns=0)
        self.records[number] = SeriesRecord(series, ["r"], recovered=recovered)
        self.stream.opened(self.records[number])

    def tell(self, *messages) -> None:
        self.socket.waiting += messages
        self.stream.receive()
        assert not self.socket.waiting

    def at(self, number: int, image_id: int) -> Verdict:
        frame = Pending(self.records[number], None, 0, image_id, "image", (1, 1), 2, None, 0, 0)
        return self.stream.position(frame)


def samples(number: int, first: int, *values: float) -> list:
    return panda_encoder.data(number, first, {"/X": np.array(values)})


def test_messages_become_positions_and_are_counted():
    bench = Bench()
    bench.opens(1)
    bench.tell(panda_encoder.start("now"))
    assert bench.stream.asks
    bench.stream.quiet()
    assert not bench.stream.asks
    bench.tell(samples(0, 0, 5.0, 6.0), [b"{"], samples(1, 2, 7.0), panda_encoder.stop(2))
    found = [bench.at(1, image_id) for image_id in range(4)]
    assert found == [Known({"x": 5.0}), Known({"x": 6.0}), Known({"x": 7.0}), Missing(Why.STOPPED)]
    assert bench.totals.position_messages == {("det", "read"): 4, ("det", "malformed"): 1}


def test_samples_that_are_nobodys_are_counted_and_told_once_a_series(caplog):
    bench = Bench()
    bench.tell(samples(0, 0, 1.0), samples(1, 1, 1.0))
    assert bench.totals.position_messages == {("det", "unclaimed"): 2}
    assert caplog.text.count("start was missed") == 1
    bench.opens(1)
    bench.tell(samples(2, 2, 1.0))
    assert caplog.text.count("start was missed") == 2


def test_a_recovered_series_takes_nothing_of_what_the_box_sends_now():
    bench = Bench()
    bench.opens(1, recovered=True)
    bench.tell(panda_encoder.start("now"))
    assert not bench.stream.asks
    bench.stream.quiet()
    bench.tell(samples(0, 0, 1.0))
    assert bench.at(1, 0) == Missing(Why.RECOVERED)
    bench.opens(2)
    bench.stream.quiet()
    bench.tell(samples(1, 1, 1.0))
    assert bench.at(2, 0) == Missing(Why.NOT_ARMED)
    bench.stream.forget("1")
    assert bench.at(1, 0) == Missing(Why.UNANNOUNCED)


def test_nothing_is_left_of_a_series_that_is_over():
    bench = Bench()
    bench.opens(1)
    bench.tell(panda_encoder.start("now"))
    bench.stream.quiet()
    assert bench.at(1, 0) == AWAITED
    bench.stream.forget("1")
    assert bench.at(1, 0) == Missing(Why.UNANNOUNCED)
