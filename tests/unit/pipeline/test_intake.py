import time
from datetime import UTC, datetime

import numpy as np
import pytest

from edge.models.card import Span, Validity
from edge.models.spec import ModelSpec
from edge.pipeline.arena import Arena
from edge.pipeline.dispatch import RouteRunner, ServedModel
from edge.pipeline.inlet import Inlet, Received
from edge.pipeline.intake import Intake
from edge.pipeline.outputs import OutputBlocks, outputs_nbytes
from edge.pipeline.placing import Placement
from edge.pipeline.totals import Totals
from streams.codecs import ANNOUNCED, DECODERS
from streams.ledger.book import SeriesBook
from streams.ledger.lifecycle import State
from streams.messages import Acquisition, Compression
from streams.routing import Route
from streams.simulation.simulator import Faults, Simulation
from tests.unit.pipeline.doubles import SPEC, HeapMemory

SECOND = 10**9
NOTHING_STATED = Validity()


class NoSocket:
    """Messages are handed over by the tests."""


class Bench:
    """One source with a few slots, and the messages of a simulated detector."""

    def __init__(
        self, protocol: str, spec: ModelSpec = SPEC, slots: int = 64, routes=None, valid: Validity = NOTHING_STATED
    ) -> None:
        self.protocol = protocol
        self.totals = Totals()
        outputs = HeapMemory("outputs", 2 * outputs_nbytes(spec, (16, 16), spec.max_batch))
        model = ServedModel(spec, "1", "00", (2, 4), valid)
        rules = routes or [Route("r", "sum")]
        self.runners = [RouteRunner(rule, model, OutputBlocks(outputs, spec, 2), 1) for rule in rules]
        self.arena = Arena(HeapMemory("frames", slots * 24), "det")
        decoder = DECODERS[protocol]("det")
        inlet = Inlet("det", NoSocket(), self.totals)
        self.intake = Intake(inlet, decoder, SeriesBook(), Placement(self.arena), self.runners, self.totals)
        self.opened = []
        self.failures = []

    def feed(self, messages) -> None:
        for message in messages:
            self.intake.take(Received(list(message), time.time_ns(), False), self.opened.append, self.fail)
            self.intake.place(self.fail)

    def fail(self, record, runner, reason, detail):
        record.accounts[runner.route.name].fail(reason)
        self.failures.append((reason, detail))

    def images(self, route: int = 0) -> dict[int, np.ndarray]:
        """What lies in the slots, by image id; the slots are freed."""
        read = {}
        for frame in self.runners[route].queue.clear():
            raw = frame.lane.buffer(frame.slot)
            read[frame.image_id] = raw.view(f"<u{frame.itemsize}").reshape(frame.shape).copy()
            frame.lane.release(frame.slot)
            frame.record.accounts[self.runners[route].route.name].publish(1)
        return read


def image(image_id: int) -> np.ndarray:
    return (np.arange(12, dtype=np.uint16) * 5000 + image_id).reshape(3, 4)


def series(
    protocol: str, images: int = 5, faults: Faults | None = None, uid: str = "uid-1", **changes
) -> list[list[bytes]]:
    facts = {"shape": (3, 4), "dtype": "uint16", "compression": Compression.BSLZ4} | changes
    acquisition = Acquisition(1, uid, datetime.now(UTC).isoformat(), images, **facts)
    positions = np.arange(2.0 * images).reshape(images, 2)
    simulation = Simulation(protocol, acquisition, image, positions, faults=faults or Faults())
    return [[bytes(part) for part in message.parts] for message in simulation.messages()]


pytestmark = pytest.mark.parametrize("protocol", sorted(ANNOUNCED))


def test_images_and_positions_arrive_in_their_slots(protocol):
    bench = Bench(protocol)
    bench.feed(series(protocol))
    assert len(bench.opened) == 1
    waiting = bench.runners[0].queue.take(1)[0]
    assert waiting.position == {"row": 0.0, "col": 1.0}
    bench.runners[0].queue.put(waiting)
    read = bench.images()
    assert sorted(read) == [0, 1, 2, 3, 4]
    for image_id, pixels in read.items():
        np.testing.assert_array_equal(pixels, image(image_id))
    assert bench.arena.drained
    record = bench.intake.pop_finished()[0]
    assert record.ended("r").verdict == "complete"
    assert bench.intake.records == {}


def test_a_full_arena_blocks_the_source_and_loses_nothing(protocol):
    bench = Bench(protocol, slots=3)
    messages = series(protocol)
    read = {}
    while messages or bench.intake.blocked:
        if bench.intake.blocked:
            read |= bench.images()
            bench.intake.place(bench.fail)
        else:
            bench.feed([messages.pop(0)])
    read |= bench.images()
    assert sorted(read) == [0, 1, 2, 3, 4]
    assert bench.intake.pop_finished()[0].ended("r").verdict == "complete"


def test_a_change_of_shape_drains_then_carves(protocol):
    bench = Bench(protocol)
    bench.feed(series(protocol, images=2))
    second = Simulation(
        protocol,
        Acquisition(2, "uid-2", "2026-01-02T00:00:00Z", 2, (2, 2), "uint32"),
        lambda image_id: np.full((2, 2), image_id, np.uint32),
    )
    bench.feed([[bytes(part) for part in message.parts] for message in second.messages()])
    assert bench.intake.blocked
    assert sorted(bench.images()) == [0, 1]
    bench.intake.place(bench.fail)
    assert not bench.intake.blocked
    np.testing.assert_array_equal(bench.images()[1], np.full((2, 2), 1))
    assert [record.ended("r").verdict for record in bench.intake.pop_finished()] == ["complete", "complete"]


def test_lost_and_repeated_frames_are_told(protocol):
    bench = Bench(protocol)
    bench.feed(series(protocol, faults=Faults(lost=frozenset({1, 2}), repeated=frozenset({3}))))
    bench.intake.advance(10**18, 2 * SECOND, 300 * SECOND)
    bench.intake.advance(3 * 10**18, 2 * SECOND, 300 * SECOND)
    assert sorted(bench.images()) == [0, 3, 4]
    ended = bench.intake.pop_finished()[0].ended("r")
    assert ended.verdict == "incomplete"
    assert (ended.arrivals["missing"], ended.arrivals["duplicate"]) == (2, 1)
    assert list(ended.missing.values()) == [[(1, 3)]]


def test_a_broken_image_fails_with_its_reason(protocol):
    bench = Bench(protocol)
    bench.feed(series(protocol, faults=Faults(corrupted=frozenset({2}))))
    assert sorted(bench.images()) == [0, 1, 3, 4]
    lost_on_the_wire = sum(bench.totals.malformed.values())
    assert lost_on_the_wire + len(bench.failures) == 1
    assert bench.arena.drained


@pytest.mark.parametrize("garbage", [[b""], [b"\0" * 100], [b"{}", b"x"], [b"\xd9\xd9\xf7\xa1"], [b'{"htype":1}'] * 9])
def test_garbage_between_frames_is_counted_and_harms_nothing(protocol, garbage, caplog):
    bench = Bench(protocol)
    messages = series(protocol)
    for at in range(len(messages), 0, -1):
        messages.insert(at, garbage)
    bench.feed(messages)
    assert sum(bench.totals.malformed.values()) == 7
    assert len([record for record in caplog.records if "message dropped" in record.message]) <= 2
    assert sorted(bench.images()) == [0, 1, 2, 3, 4]
    assert bench.intake.pop_finished()[0].ended("r").verdict == "complete"


def test_a_frame_the_model_cannot_take_says_what_it_takes(protocol):
    spec = ModelSpec("sum", (3, 9), SPEC.outputs, 4)
    bench = Bench(protocol, spec)
    bench.feed(series(protocol))
    assert {reason for reason, _ in bench.failures} == {"wrong_shape"}
    assert "3 x 9" in bench.failures[0][1]
    assert bench.intake.pop_finished()[0].ended("r").account["failed"] == {"wrong_shape": 5}


def test_a_pixel_size_that_is_not_served_names_the_setting(protocol):
    bench = Bench(protocol)
    simulation = Simulation(
        protocol,
        Acquisition(1, "u", "2026-01-02T00:00:00Z", 1, (3, 4), "uint8"),
        lambda _: np.zeros((3, 4), np.uint8),
    )
    bench.feed([[bytes(part) for part in message.parts] for message in simulation.messages()])
    assert bench.failures[0][0] == "wrong_dtype"
    assert "pixel_bits" in bench.failures[0][1]


def test_a_frame_too_large_for_the_memory_fails_alone(protocol):
    bench = Bench(protocol, slots=0)
    bench.arena = bench.intake.arena = Arena(HeapMemory("frames", 8), "det")
    bench.feed(series(protocol, images=2))
    assert [reason for reason, _ in bench.failures] == ["too_large", "too_large"]
    assert not bench.intake.blocked


def test_an_unwanted_frame_takes_no_slot(protocol):
    bench = Bench(protocol, routes=[Route("r", "sum", channels=("another",))])
    bench.feed(series(protocol))
    assert bench.arena.lanes == {}
    ended = bench.intake.pop_finished()[0].ended("r")
    assert (ended.account["unwanted"], ended.verdict) == (5, "complete")


def test_a_route_of_other_sources_has_nothing_to_do_with_the_series(protocol):
    bench = Bench(protocol, routes=[Route("r", "sum"), Route("s", "sum", sources=("another",))])
    bench.feed(series(protocol))
    bench.images()
    (record,) = bench.intake.pop_finished()
    assert list(record.accounts) == ["r"]


def test_two_routes_share_one_slot(protocol):
    bench = Bench(protocol, routes=[Route("r", "sum"), Route("s", "sum")])
    bench.feed(series(protocol))
    assert sorted(bench.images(0)) == [0, 1, 2, 3, 4]
    assert not bench.arena.drained
    assert sorted(bench.images(1)) == [0, 1, 2, 3, 4]
    assert bench.arena.drained


def test_a_stop_closes_every_series(protocol):
    bench = Bench(protocol, slots=2)
    for message in series(protocol):
        bench.intake.take(Received(list(message), time.time_ns(), False), bench.opened.append, bench.fail)
        if bench.intake.blocked:
            bench.intake.place(bench.fail)
    bench.images()
    for record, runner in bench.intake.shut_down():
        record.accounts[runner.route.name].drop("shutdown")
    record = bench.intake.pop_finished()[0]
    assert record.series.state is State.CLOSED
    assert record.ended("r").verdict == "incomplete"
    assert record.accounts["r"].balanced


def test_a_series_is_held_against_the_range_of_its_routes_model(protocol):
    """The header tells the energy at once; of the images the first tells how many counts they have."""
    valid = Validity(counts_per_frame=Span(1, 100), energy_ev=Span(8000, 8000), frame_shape=(4, 4))
    bench, messages = Bench(protocol, valid=valid), series(protocol, 3, energy_ev=12_000.0)
    begin = len(messages) - 4  # three images and the end
    bench.feed(messages[:begin])
    (record,) = bench.opened[-1:]
    told = record.ranges["r"].reasons
    assert told == ("frames of 3 x 4, trained on 4 x 4", "energy 12 keV, trained at 8 keV")
    bench.feed(messages[begin : begin + 1])
    counts = float(image(0).sum())
    assert record.ranges["r"].reasons == (*told, f"{counts:.3g} counts a frame, trained at 1 to 100")
    assert record.ended("r").untrained == (), "no result was labelled yet"
