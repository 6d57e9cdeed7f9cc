"""Positions of a second stream, of files and of headers, through the serving loop with real sockets.

Every result has the right position, or none and a counted reason.
"""

import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import h5py
import msgspec
import numpy as np
import pytest

from edge.positions.settings import Positions
from streams.codecs import panda_encoder
from streams.codecs.results import SeriesEnded
from streams.messages import Part
from streams.simulation.simulator import Faults, Simulation
from streams.sockets import Socket, context, publish
from streams.subscriber import Subscriber
from tests.system.loopbench import LONG, SECOND, SLOT_NBYTES, LoopBench, Taken, series
from tests.system.serving import station, wait_until

DATASETS = {"x": "/INENC1.VAL.Value", "y": "/INENC2.VAL.Value"}
EACH = 3
IMAGES = 12
STREAM: dict[str, Any] = {
    "from": "stream",
    "axes": DATASETS,
    "samples_per_frame": EACH,
    "factor": {"y": -0.5},
    "offset": {"y": 7.0},
    "units": {"x": "um", "y": "um"},
    "wait_s": 60.0,
}


@pytest.fixture(autouse=True)
def quick_handshake(monkeypatch):
    monkeypatch.setattr("streams.subscriber.HELLO_INTERVAL_MS", 20)


def settings(**changes: Any) -> Positions:
    return msgspec.convert(STREAM | changes, Positions)


def encoder(arming: int, sample: int) -> dict[str, float]:
    """What the encoders read at one sample of one arming."""
    return {"x": 1000.0 * arming + sample, "y": 4.0 * sample - arming}


def position(arming: int, image_id: int) -> dict[str, float]:
    """Where the image was taken, if its samples are those of this arming."""
    own = [encoder(arming, sample) for sample in range(EACH * image_id, EACH * (image_id + 1))]
    x, y = (float(np.mean([each[axis] for each in own])) for axis in ("x", "y"))
    return {"x": x, "y": -0.5 * y + 7.0}


class Line(LoopBench):
    """The bench of the serving loop, and a position box."""

    box: Socket
    arming = 0
    number = 0
    sent = 0
    first = 0

    def heard(self) -> int:
        return sum(self.totals.position_messages.values())

    def tell(self, parts: Sequence[Part]) -> None:
        """Send one message of the box, and wait until it was read."""
        assert self.box.send(parts)
        self.sent += 1
        self.until(lambda: self.heard() >= self.sent, "a message of the box")

    def meet(self) -> None:
        """A PUB socket drops what it sends before it has a subscriber: try until something arrives."""
        self.until(lambda: self.box.send(panda_encoder.stop(0)) and self.heard(), "the box's first message")
        self.box.send([b"the last one"])
        self.until(lambda: self.totals.position_messages["det-0", "malformed"], "the last of them")
        self.totals.position_messages.clear()

    def arms(self, first: int = 0) -> None:
        """Sample 0 is the first one of image `first`."""
        self.arming += 1
        self.number, self.first = 0, first
        self.tell(panda_encoder.start("2026-01-02T03:04:05Z"))

    def samples(self, *images: int, lost: bool = False) -> None:
        """One message with the samples of neighbouring images."""
        if not lost:
            numbers = range(EACH * images[0], EACH * (images[-1] + 1))
            read = [encoder(self.arming, number) for number in numbers]
            values = {DATASETS[axis]: np.array([each[axis] for each in read]) for axis in DATASETS}
            self.tell(panda_encoder.data(self.number, EACH * (images[0] - self.first), values))
        self.number += 1

    def disarms(self) -> None:
        self.tell(panda_encoder.stop(self.number))

    def ready_for(self, taken: Taken, box_first: bool = False) -> None:
        """Detector and box are armed, and the loop has seen it."""
        if box_first:
            self.arms()
        series_id = taken.acquisition.series_id
        self.send(message for message in start_of(taken))
        self.until(lambda: any(each.series_id == series_id for each in self.started), "the start of the series")
        if not box_first:
            self.arms()
        self.until(lambda: not self.joining.asks("det-0"), "a quiet moment")

    def positions(self, number: int = 1) -> dict[int, dict[str, float] | None]:
        """What the results of a series say."""
        found = self.results.get(("sum", "det-0", number), {})
        return {image_id: result.position for (_, image_id), result in found.items()}


def start_of(taken: Taken) -> list[Any]:
    first = next(at for at, message in enumerate(taken.messages) if message.image_id is not None)
    return taken.messages[:first]


def rest_of(taken: Taken) -> list[Any]:
    return taken.messages[len(start_of(taken)) :]


@contextmanager
def line(protocol: str = "stream-v2", positions: dict[str, Any] | None = None, **options: Any) -> Iterator[Line]:
    with context() as ctx:
        box = publish(ctx)
        address = box.bind("tcp://127.0.0.1:*")
        bench = Line(ctx, protocol, positions=settings(address=address, **(positions or {})), **options)
        bench.box = box
        try:
            with Subscriber(ctx, bench.handshake) as bench.subscriber:
                bench.ready()
                bench.meet()
                yield bench
        finally:
            bench.close()


def balanced(bench: LoopBench, number: int = 1) -> SeriesEnded:
    """The series is over, and the account of its positions is that of its results."""
    ended = bench.end_of(number=number)
    found = bench.results[("sum", "det-0", number)].values()
    assert ended.positions["joined"] == sum(result.position is not None for result in found)
    assert ended.positions["joined"] + sum(ended.positions["missing"].values()) == ended.account["published"]
    return ended


def all_joined(bench: Line, number: int, arming: int, images: int = IMAGES) -> None:
    ended = balanced(bench, number)
    assert bench.positions(number) == {image_id: position(arming, image_id) for image_id in range(images)}
    assert ended.positions == {"joined": images, "missing": {}}
    assert ended.verdict == "complete"


# Out of step


@pytest.mark.parametrize("protocol", ["stream-v2", "simplon-v1"])
@pytest.mark.parametrize("box_first", [True, False])
def test_positions_before_the_images(protocol, box_first):
    with line(protocol) as bench:
        for number in (1, 2):
            taken = series(protocol, IMAGES, number)
            bench.ready_for(taken, box_first)
            bench.samples(*range(5))
            bench.samples(*range(5, IMAGES))
            bench.disarms()
            bench.send(rest_of(taken))
            all_joined(bench, number, number)
        assert bench.started[0].position_units == {"x": "um", "y": "um"}
        assert not bench.totals.positions_missing
        bench.nothing_is_left()


def test_results_wait_for_positions_that_come_late_and_leave_their_slots_to_others():
    with line(memory_nbytes=4 * SLOT_NBYTES) as bench:
        taken = series("stream-v2", IMAGES)
        bench.ready_for(taken)
        bench.send(rest_of(taken))
        bench.until(lambda: len(bench.joining) == IMAGES, "all results wait")
        assert bench.intakes[0].arena.drained
        account = bench.intakes[0].records[taken.acquisition.series_uid].accounts["sum"]
        assert (account.in_flight, account.published, account.balanced) == (IMAGES, 0, True)
        bench.until(lambda: bench.totals.held["det-0"] == IMAGES, "the gauge of results that wait")
        bench.samples(0, 1, 2)
        bench.until(lambda: len(bench.positions()) == 3, "the first results")
        assert ("sum", "det-0", 1) not in bench.ended
        bench.samples(*range(3, IMAGES))
        all_joined(bench, 1, 1)
        bench.nothing_is_left()


def test_images_that_come_in_any_order_get_their_own_positions():
    with line() as bench:
        taken = series("stream-v2", IMAGES)
        bench.ready_for(taken)
        images = list(reversed(taken.images))
        for at in range(0, IMAGES, 4):
            bench.samples(*range(at, at + 4))
            bench.send(images[at : at + 4])
        bench.send(rest_of(taken)[IMAGES:])
        all_joined(bench, 1, 1)
        bench.nothing_is_left()


# Missing


def test_samples_that_are_lost_cost_the_positions_of_their_images_only():
    with line() as bench:
        taken = series("stream-v2", IMAGES)
        bench.ready_for(taken)
        bench.send(rest_of(taken))
        bench.samples(0, 1, 2)
        bench.samples(3, 4, lost=True)
        bench.samples(5, 6, 7, 8, 9)
        bench.samples(10, 11, lost=True)
        bench.disarms()
        ended = balanced(bench)
        lost = (3, 4, 10, 11)
        wanted = {at: None if at in lost else position(1, at) for at in range(IMAGES)}
        assert bench.positions() == wanted
        assert ended.positions == {"joined": 8, "missing": {"gap": 4}}
        assert bench.totals.positions_missing == {("det-0", "gap"): 4}
        assert ended.verdict == "complete"
        bench.nothing_is_left()


def test_one_sample_of_a_frame_is_lost():
    with line() as bench:
        taken = series("stream-v2", 2)
        bench.ready_for(taken)
        values = {DATASETS[axis]: np.array([encoder(1, n)[axis] for n in range(6)]) for axis in DATASETS}
        bench.tell(panda_encoder.data(0, 0, {name: all_of[:2] for name, all_of in values.items()}))
        bench.tell(panda_encoder.data(1, 3, {name: all_of[3:] for name, all_of in values.items()}))
        bench.send(rest_of(taken))
        balanced(bench)
        assert bench.positions() == {0: None, 1: position(1, 1)}


def test_a_box_armed_anew_in_the_middle_and_the_series_after_it():
    with line() as bench:
        taken = series("stream-v2", IMAGES)
        bench.ready_for(taken)
        bench.samples(0, 1, 2, 3)
        bench.send(rest_of(taken)[:5])
        bench.taken_in(6)
        bench.arms(5)
        bench.samples(5, 6)
        bench.send(rest_of(taken)[5:])
        ended = balanced(bench)
        assert bench.positions() == {at: position(1, at) if at < 4 else None for at in range(IMAGES)}
        assert ended.positions == {"joined": 4, "missing": {"restarted": 8}}
        after = series("stream-v2", IMAGES, 2)
        bench.ready_for(after)
        bench.samples(*range(IMAGES))
        bench.send(rest_of(after))
        all_joined(bench, 2, 3)
        bench.nothing_is_left()


def test_a_box_that_stops_early():
    with line() as bench:
        taken = series("stream-v2", IMAGES)
        bench.ready_for(taken)
        bench.samples(*range(7))
        bench.disarms()
        bench.send(rest_of(taken))
        ended = balanced(bench)
        assert ended.positions == {"joined": 7, "missing": {"stopped": 5}}
        assert bench.positions() == {at: position(1, at) if at < 7 else None for at in range(IMAGES)}


@pytest.mark.parametrize("when", ["never", "before the series", "after the first image"])
def test_a_box_that_is_not_armed_for_the_series(when):
    with line() as bench:
        taken = series("stream-v2", IMAGES)
        if when == "before the series":
            bench.arms()
            bench.samples(*range(IMAGES))
        bench.send(start_of(taken))
        bench.send(rest_of(taken)[:1])
        bench.taken_in(2)
        if when == "after the first image":
            bench.arms()
            bench.samples(*range(IMAGES))
        bench.send(rest_of(taken)[1:])
        ended = balanced(bench)
        assert set(bench.positions().values()) == {None}
        assert set(ended.positions["missing"]) <= {"not_armed", "late_start"}
        assert ("late_start" in ended.positions["missing"]) == (when == "after the first image")
        bench.nothing_is_left()


def test_images_without_a_start_take_no_positions():
    with line(patience=replace(LONG, grace_ns=SECOND // 10)) as bench:  # the end waits: nobody said how many come
        bench.arms()
        taken = series("stream-v2", IMAGES)
        bench.send(rest_of(taken))
        assert balanced(bench).positions == {"joined": 0, "missing": {"unannounced": IMAGES}}


def test_results_wait_no_longer_than_they_are_told_to():
    with line(positions={"wait_s": 0.05}) as bench:
        taken = series("stream-v2", IMAGES)
        bench.ready_for(taken)
        bench.samples(0, 1)
        bench.send(rest_of(taken))
        ended = balanced(bench)
        assert ended.positions == {"joined": 2, "missing": {"late": IMAGES - 2}}
        bench.nothing_is_left()


def test_a_stop_publishes_what_waits():
    with line(patience=replace(LONG, drain_ns=SECOND // 10)) as bench:
        taken = series("stream-v2", IMAGES)
        bench.ready_for(taken)
        bench.send(rest_of(taken))
        bench.samples(0, 1, 2)
        bench.until(lambda: len(bench.joining) == IMAGES - 3, "results that wait")
        bench.stop()
        ended = balanced(bench)
        assert ended.positions == {"joined": 3, "missing": {"shutdown": IMAGES - 3}}
        assert bench.values() == taken.values


def test_positions_that_come_during_a_stop_are_joined():
    with line() as bench:
        taken = series("stream-v2", IMAGES)
        bench.ready_for(taken)
        bench.send(rest_of(taken))
        bench.until(lambda: len(bench.joining) == IMAGES, "results that wait")
        bench.events.stop()
        bench.samples(*range(IMAGES))
        all_joined(bench, 1, 1)
        bench.until(lambda: not bench.running, "the return of the loop")


def test_a_detector_that_is_read_late_gets_no_wrong_positions():
    """The server is away while the box is armed for two more series: what it says then is nobody's."""
    with line(memory_nbytes=4 * SLOT_NBYTES) as bench:
        bench.answering = False
        first = series("stream-v2", IMAGES, 1)
        bench.ready_for(first)
        bench.samples(*range(IMAGES))
        bench.disarms()
        bench.send(rest_of(first))
        bench.blocked()
        for number in (2, 3):
            bench.arms()
            bench.send(series("stream-v2", IMAGES, number).messages)
            bench.samples(*range(IMAGES))
            bench.disarms()
        bench.answering = True
        all_joined(bench, 1, 1)
        for number in (2, 3):
            assert set(balanced(bench, number).positions["missing"]) == {"not_armed"}
        last = series("stream-v2", IMAGES, 4)
        bench.ready_for(last)
        bench.samples(*range(IMAGES))
        bench.send(rest_of(last))
        all_joined(bench, 4, 4)
        bench.nothing_is_left()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_lost_every_position_is_right_or_accounted_for(seed):
    rng = np.random.default_rng(seed)
    images = 40
    with line(patience=replace(LONG, grace_ns=0)) as bench:
        for number in range(1, 4):
            lost = frozenset(rng.choice(images, 5, replace=False).tolist())
            taken = series("stream-v2", images, number, Faults(lost=lost))
            bench.ready_for(taken, bool(rng.integers(2)))
            arming, known, last = bench.arming, set(), images
            queue = rest_of(taken)[:-1]
            first = 0
            while first < images:
                length = min(int(rng.integers(1, 9)), images - first)
                if known and last == images and rng.random() < 0.1:
                    bench.arms(first)
                    last = first
                gone = bool(rng.random() < 0.2)
                bench.samples(*range(first, first + length), lost=gone)
                if not gone and first < last:
                    known.update(range(first, first + length))
                for _ in range(int(rng.integers(0, 12))):
                    bench.send([queue.pop(0)] if queue else [])
                first += length
            bench.disarms()
            bench.send([*queue, rest_of(taken)[-1]])
            balanced(bench, number)
            came = set(range(images)) - lost
            wanted = {at: position(arming, at) if at in known else None for at in came}
            assert bench.positions(number) == wanted
        bench.nothing_is_left()


# Malformed


def test_messages_that_no_box_sends_are_counted_and_cost_their_samples_only():
    with line() as bench:
        taken = series("stream-v2", IMAGES)
        bench.ready_for(taken)
        bench.tell([b"{"])
        bench.tell([b"a", b"b"])
        bench.tell([b"[" * 10_000])
        bench.samples(*range(IMAGES))
        bench.send(rest_of(taken))
        all_joined(bench, 1, 1)
        assert bench.totals.position_messages["det-0", "malformed"] == 3


# Files and headers


@contextmanager
def bench_with(positions: dict[str, Any], protocol: str = "stream-v2") -> Iterator[LoopBench]:
    with context() as ctx:
        bench = LoopBench(ctx, protocol, positions=msgspec.convert(positions, Positions))
        try:
            with Subscriber(ctx, bench.handshake) as bench.subscriber:
                bench.ready()
                yield bench
        finally:
            bench.close()


def test_positions_of_a_file_of_each_series(tmp_path):
    with h5py.File(tmp_path / "scan_000001.h5", "w") as file:
        file["ids"] = np.arange(IMAGES)[::-1]
        file["stage"] = np.stack([np.arange(IMAGES)[::-1] * 2.0, np.full(IMAGES, np.nan)], 1)
        file["y"] = np.arange(IMAGES)[::-1] + 0.5
    file = str(tmp_path / "scan_{series_id:06d}.h5")
    axes = {"x": "stage:0", "y": "/y"}
    with bench_with({"from": "file", "file": file, "axes": axes, "ids": "ids"}) as bench:
        for number in (1, 2):
            bench.send(series("stream-v2", IMAGES, number).messages)
        assert balanced(bench, 1).positions == {"joined": IMAGES, "missing": {}}
        found = bench.results["sum", "det-0", 1]
        assert all(result.position == {"x": 2.0 * at, "y": at + 0.5} for (_, at), result in found.items())
        assert balanced(bench, 2).positions == {"joined": 0, "missing": {"no_file": IMAGES}}
        bench.nothing_is_left()


@pytest.mark.parametrize("protocol", ["stream-v2", "simplon-v1"])
def test_positions_picked_from_headers(protocol):
    axes = {"fast": ["position", "col"]}
    with bench_with({"axes": axes, "factor": {"fast": 2.0}}, protocol) as bench:
        taken = series(protocol, 3)
        simulation = Simulation(
            protocol,
            taken.acquisition,
            lambda _: np.zeros(taken.acquisition.shape, np.uint16),
            np.arange(6.0).reshape(3, 2),
        )
        bench.send(simulation.messages())
        assert balanced(bench).positions == {"joined": 3, "missing": {}}
        found = bench.results["sum", "det-0", 1]
        assert [found[key].position for key in sorted(found)] == [{"fast": 2.0}, {"fast": 6.0}, {"fast": 10.0}]


def test_headers_without_the_positions_that_were_asked_for():
    with bench_with({"from": "header"}) as bench:
        bench.send(series("stream-v2", 3).messages)
        assert balanced(bench).positions == {"joined": 0, "missing": {"absent": 3}}
        assert bench.totals.positions_missing == {("det-0", "absent"): 3}


def test_nothing_is_said_of_positions_that_nobody_asked_for():
    with context() as ctx:
        bench = LoopBench(ctx, "stream-v2")
        try:
            with Subscriber(ctx, bench.handshake) as bench.subscriber:
                bench.ready()
                bench.send(series("stream-v2", 3).messages)
                assert bench.end_of().positions == {}
                assert not bench.totals.positions_missing
        finally:
            bench.close()


# The real process


SETTINGS = """
[source.positions]
from = "stream"
address = "{address}"
samples_per_frame = 3
wait_s = 60.0

[source.positions.axes]
x = "/INENC1.VAL.Value"
y = "/INENC2.VAL.Value"
"""


@pytest.mark.usefixtures("triton")
def test_edge_serve_joins_the_positions_of_a_box(tmp_path):
    with context() as ctx:
        box = publish(ctx)
        settings = SETTINGS.format(address=box.bind("tcp://127.0.0.1:*"))
        with station(tmp_path, settings=settings) as at:

            def metrics() -> str:
                return urllib.request.urlopen(at.addresses["metrics"], timeout=5).read().decode()

            def heard() -> bool:
                return box.send(panda_encoder.start("now")) and 'outcome="read",source="det"' in metrics()

            wait_until(heard, "a first message of the box")
            simulation = at.simulation(IMAGES)
            messages = list(simulation.messages())
            at.detector.send(messages[0].parts)
            started, _ = next(iter(at.results))
            assert started.series_id == simulation.acquisition.series_id
            values = {name: np.arange(EACH * IMAGES, dtype=float) for name in DATASETS.values()}
            box.send([b"the loop has turned once more when it has read this"])
            wait_until(lambda: 'outcome="malformed",source="det"' in metrics(), "another look of the loop")
            for parts in list(panda_encoder.arming("now", values, 7))[1:]:
                box.send(parts)
            for message in messages[1:]:
                at.detector.send(message.parts, 1000)
            results, _, ended = at.collect()
            wanted = {at: {"x": 3.0 * at + 1, "y": 3.0 * at + 1} for at in range(IMAGES)}
            assert {image_id: result.position for image_id, result in results.items()} == wanted
            assert ended.positions == {"joined": IMAGES, "missing": {}}
