"""Results on their way out: what a batch becomes on the wire, in the accounts, and in the memory for late comers."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.models.card import Span, Validity
from edge.pipeline.batching import Pending
from edge.pipeline.cascades import Cascades
from edge.pipeline.control import Control
from edge.pipeline.dispatch import RouteRunner, ServedModel
from edge.pipeline.joining import Joining
from edge.pipeline.outputs import OutputBlocks
from edge.pipeline.publishing import TOGETHER, Publisher
from edge.pipeline.record import SeriesRecord
from edge.pipeline.sinks import OVERHEAD_BYTES, ReplayBuffer, ResultSink
from edge.pipeline.slots import Lane
from edge.pipeline.totals import Totals
from edge.pipeline.untrained import Range
from streams.codecs import results
from streams.ledger.series import Series
from streams.messages import SeriesStart
from streams.routing import Route
from tests.unit.pipeline.doubles import SPEC, HeapMemory


class Wire:
    """A publishing socket that remembers what was sent."""

    def __init__(self) -> None:
        self.sent: list[list[bytes]] = []

    def send(self, parts, timeout_ms=0, *, copy=True) -> bool:
        self.sent.append([bytes(part) for part in parts])
        return True


class Bench:
    """A publisher of route `r` without a socket."""

    def __init__(self) -> None:
        blocks = OutputBlocks(HeapMemory("outputs", 1 << 16), SPEC, 1)
        self.runner = RouteRunner(Route("r", "sum"), ServedModel(SPEC, "3", "ab", (2,)), blocks, 1)
        self.wire, self.totals, self.kept = Wire(), Totals(), []
        keep = lambda notice, parts: self.kept.append((notice, parts))  # noqa: E731
        self.sink = ResultSink(self.wire, Wire(), "", "o", ["r"], 1 << 20, keep)  # type: ignore[arg-type]
        cascades = Cascades([self.runner], self.totals)
        self.publisher = Publisher(self.sink, Joining(), Control([]), self.totals, cascades)

    def infer(self, records, **outputs: np.ndarray) -> None:
        """One request: image `i` is of `records[i]`, with its row of each output."""
        lane = Lane(HeapMemory("frames", 2), 0, 2, 1)
        frames = [Pending(of, lane, 0, at, "image", (1, 1), 2, {"x": at / 2}, 7, 0) for at, of in enumerate(records)]
        for of in records:
            of.accounts["r"].accept()
        self.publisher.inferred_all(self.runner, frames, outputs)

    def read(self) -> list[tuple[results.Result, dict[str, np.ndarray]]]:
        return [results.decode(parts) for parts in self.wire.sent]  # type: ignore[misc]


def record(number: int = 1) -> SeriesRecord:
    start = SeriesStart("det", f"uid-{number}", number, 10, ("image",))
    return SeriesRecord(Series(start, announced=True, now_ns=0), ["r"])


def rows(frames: int, floats: int = 4) -> dict[str, np.ndarray]:
    first = np.arange(frames * floats, dtype=np.float32).reshape(frames, floats)
    return {"total": np.arange(frames, dtype=np.int32)[:, None], "first": first}


@pytest.mark.parametrize("floats", [4, 5000])
def test_each_frame_of_a_batch_is_one_message_with_its_own_rows(floats):
    bench, series, outputs = Bench(), record(), rows(3, floats)
    bench.infer([series] * 3, **outputs)
    assert [parts[0] for parts in bench.wire.sent] == [b"r\0"] * 3
    for at, (result, arrays) in enumerate(bench.read()):
        assert (result.seq, result.origin, result.image_id, result.channel) == (at, "o", at, "image")
        assert (result.source, result.series_uid, result.series_id, result.route) == ("det", "uid-1", 1, "r")
        assert (result.model, result.model_version, result.model_sha256) == ("sum", "3", "ab")
        assert (result.received_ns, result.position, result.recovered) == (7, {"x": at / 2}, False)
        assert result.published_ns > 0
        assert [(spec.name, spec.shape) for spec in result.specs] == [("total", (1,)), ("first", (floats,))]
        assert arrays.keys() == outputs.keys()
        assert all(np.array_equal(array, outputs[name][at]) for name, array in arrays.items())
    assert [notice.seq for notice, _ in bench.kept] == [0, 1, 2]
    assert [[bytes(part) for part in parts] for _, parts in bench.kept] == bench.wire.sent


@given(st.lists(st.integers(0, 2), min_size=1, max_size=TOGETHER + 9))
def test_every_frame_is_entered_into_the_account_of_its_own_series(numbers):
    bench, series = Bench(), [record(number) for number in range(3)]
    bench.infer([series[number] for number in numbers], **rows(len(numbers)))
    assert [(result.seq, result.image_id) for result, _ in bench.read()] == [(at, at) for at in range(len(numbers))]
    assert [result.series_id for result, _ in bench.read()] == numbers
    for number, each in enumerate(series):
        account, positions = each.accounts["r"], each.positions["r"]
        assert account.published == account.received == positions.joined == numbers.count(number)
        assert account.balanced and bool(account.latency.summary_ms()) is (number in numbers)
    assert bench.totals.outcomes == {("r", "published", ""): len(numbers)}
    assert sum(bench.totals.latency["r"].counts) == len(numbers)


def test_what_is_dropped_is_told_once_a_series_but_not_at_a_stop(caplog):
    bench, series = Bench(), record()
    reasons = ("overload", "overload", "upstream", "shutdown")
    with caplog.at_level(logging.WARNING):
        for reason in reasons:
            series.accounts["r"].accept()
            bench.publisher.drop(series, bench.runner, reason)
    assert [text.count("overload") + 2 * text.count("upstream") for text in caplog.messages] == [1, 2]
    assert series.accounts["r"].dropped == {"overload": 2, "upstream": 1, "shutdown": 1}
    assert series.accounts["r"].balanced
    assert bench.totals.outcomes["r", "dropped", "overload"] == 2


@given(st.lists(st.integers(0, 300), max_size=40), st.integers(1, 3000))
def test_late_comers_get_the_latest_of_what_fits(sizes, limit):
    buffer = ReplayBuffer(limit)
    for seq, size in enumerate(sizes):
        buffer.keep(seq, [b"r\0", bytes(size)])
    kept = buffer.between(0, len(sizes))
    assert [seq for seq, _ in kept] == list(range(len(sizes) - len(kept), len(sizes)))
    assert [len(parts[1]) for _, parts in kept] == sizes[len(sizes) - len(kept) :]
    used = [OVERHEAD_BYTES + 2 + size for size in sizes]
    assert len(kept) == min(len(sizes), 1) or sum(used[len(sizes) - len(kept) :]) <= limit
    assert len(kept) == len(sizes) or sum(used[len(sizes) - len(kept) - 1 :]) > limit
    assert buffer.between(len(sizes), len(sizes) + 5) == []


def test_results_outside_of_their_models_range_say_why_and_are_counted(caplog):
    bench, series, reason = Bench(), record(), "energy 12 keV, trained at 8.8 keV"
    series.ranges["r"] = Range(Validity(energy_ev=Span(8800, 8800)))
    series.ranges["r"].opened({"photon_energy": 8800.0}, {})
    bench.infer([series], **rows(1))
    series.ranges["r"].opened({"photon_energy": 12_000.0}, {})
    assert series.started("r").untrained == (reason,)
    with caplog.at_level(logging.WARNING):
        bench.infer([series] * 2, **rows(2))
        bench.infer([series], **rows(1))
    assert [result.untrained for result, _ in bench.read()] == [(), (reason,), (reason,), (reason,)]
    assert bench.totals.untrained == {"r": 3}
    assert [one.message for one in caplog.records] == [
        f"series 1 of det on r: outside of what sum 3 was trained for: {reason}; its results are labelled untrained"
    ]
    assert series.ended("r").untrained == (reason,)
