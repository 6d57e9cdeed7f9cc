"""From messages to lanes: selections, conditioning and assembly through the whole near end of a source."""

import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.conditioning.geom import parse
from edge.conditioning.orientation import oriented
from edge.conditioning.selection import WHOLE, Selection
from edge.conditioning.settings import Conditioning
from edge.models.spec import ModelSpec
from edge.pipeline.arena import Arena
from edge.pipeline.dispatch import RouteRunner, ServedModel
from edge.pipeline.inlet import Inlet, Received
from edge.pipeline.intake import Intake
from edge.pipeline.outputs import OutputBlocks, outputs_nbytes
from edge.pipeline.placing import Placement, Waiting
from edge.pipeline.plans import Plan
from edge.pipeline.preparing import Preparing, Shot
from edge.pipeline.totals import Totals
from streams.codecs import DECODERS, ENCODERS
from streams.ledger.book import SeriesBook
from streams.messages import Acquisition, Compression, Frame
from streams.routing import Route
from tests.unit.pipeline.doubles import SPEC, HeapMemory
from tests.unit.pipeline.test_preparing import TWO

SHAPE = (4, 6)
QUARTER = Selection((1, 2, 2, 4), 2)
CORNER = Selection((0, 0, 2, 3))


@dataclass
class Bench:
    """A source, its memory, and routes that each take a selection."""

    selections: tuple[Selection, ...] = (WHOLE,)
    conditioning: Conditioning | None = None
    memory: int = 4096
    spec: ModelSpec = SPEC
    channels: tuple[tuple[str, ...], ...] = ()  # of each route
    failures: list[tuple[str, str, str]] = field(default_factory=list)  # route, reason, detail

    def __post_init__(self) -> None:
        totals = Totals()
        outputs = HeapMemory("outputs", 2 * outputs_nbytes(self.spec, SHAPE, self.spec.max_batch))
        self.runners = [
            RouteRunner(
                Route(f"r{at}", "sum", (), self.channels[at] if self.channels else ()),
                ServedModel(self.spec, "1", "00", (1, 2, 4)),
                OutputBlocks(outputs, self.spec, 2),
                1,
                selection,
            )
            for at, selection in enumerate(self.selections)
        ]
        self.arena = Arena(HeapMemory("frames", self.memory), "det")
        self.placement = Placement(self.arena, preparing=Preparing(self.conditioning))
        inlet = Inlet("det", None, totals)
        self.intake = Intake(inlet, DECODERS["stream-v2"]("det"), SeriesBook(), self.placement, self.runners, totals)

    def feed(self, *messages) -> None:
        for parts in messages:
            parts = [bytes(part) for part in parts]
            self.intake.take(Received(parts, time.time_ns(), False), lambda _: None, self.fail)
            self.place()

    def place(self) -> None:
        self.intake.place(self.fail)

    def fail(self, record, runner, reason, detail):
        record.accounts[runner.route.name].fail(reason)
        self.failures.append((runner.route.name, reason, detail))

    def images(self, route: int = 0, most: int = 1000) -> dict[int, np.ndarray]:
        """What lies in a route's slots, by image id; its hold on them ends."""
        read = {}
        queue = self.runners[route].queue
        while len(queue) and len(read) < most:
            (frame,) = queue.take(1)
            raw = frame.lane.buffer(frame.slot)
            assert raw.size == frame.lane.pitch == frame.shape[0] * frame.shape[1] * frame.itemsize
            read[frame.image_id] = raw.view(f"<u{frame.itemsize}").reshape(frame.shape).copy()
            frame.lane.release(frame.slot)
            frame.record.accounts[f"r{route}"].publish(1)
        return read


class Detector:
    def __init__(self, channels=("image",), shape=SHAPE, dtype="uint16", images=100, series_id=1, detail="basic"):
        acquisition = Acquisition(
            series_id, f"uid-{series_id}", "2026-01-02T00:00:00Z", images, shape, dtype, channels, header_detail=detail
        )
        self.channels, self.shape, self.dtype = channels, shape, dtype
        self._encoder = ENCODERS["stream-v2"](acquisition)
        self.start = self._encoder.start()
        self.end = self._encoder.end()

    def image(self, image_id: int, channel: str = "image") -> np.ndarray:
        rng = np.random.default_rng((image_id, self.channels.index(channel)))
        return rng.integers(0, 200, self.shape).astype(self.dtype)

    def message(self, image_id: int):
        return self._encoder.image(image_id, {name: self.image(image_id, name) for name in self.channels})


def selected(image: np.ndarray, selection: Selection) -> np.ndarray:
    """What a selection takes of an image without flags."""
    if selection.region is not None:
        row, column, height, width = selection.region
        image = image[row : row + height, column : column + width]
    step = selection.binning
    height, width = image.shape[0] // step, image.shape[1] // step
    parts = image[: height * step, : width * step].reshape(height, step, width, step)
    return parts.sum((1, 3)).astype(image.dtype)


def test_a_whole_frame_is_decompressed_into_its_slot_without_another_copy():
    bench, detector = Bench((WHOLE, WHOLE)), Detector()
    bench.feed(*detector.start, detector.message(0))
    assert list(bench.arena.lanes) == [("image", WHOLE)]
    np.testing.assert_array_equal(bench.images(0)[0], detector.image(0))
    np.testing.assert_array_equal(bench.images(1)[0], detector.image(0))
    assert bench.placement.copied == 0
    filling = bench.placement._decompression._own
    assert filling._whole.size == filling._decoded.size == 0
    assert bench.arena.drained


def test_routes_with_selections_have_lanes_of_their_own():
    selections = (WHOLE, QUARTER, CORNER, QUARTER)
    bench, detector = Bench(selections), Detector()
    bench.feed(*detector.start, *(detector.message(at) for at in range(3)))
    assert set(bench.arena.lanes) == {("image", WHOLE), ("image", QUARTER), ("image", CORNER)}
    assert bench.placement.copied == 6  # one copy for each selection, however many routes share it
    for route, selection in enumerate(selections):
        for image_id, pixels in bench.images(route).items():
            np.testing.assert_array_equal(pixels, selected(detector.image(image_id), selection))
    assert bench.arena.drained


def test_a_selection_alone_takes_no_slot_for_the_whole():
    bench, detector = Bench((CORNER,)), Detector()
    bench.feed(*detector.start, detector.message(0))
    assert list(bench.arena.lanes) == [("image", CORNER)]
    np.testing.assert_array_equal(bench.images()[0], detector.image(0)[:2, :3])


def test_a_frame_is_placed_in_all_lanes_or_in_none():
    pitch = 4 * 6 * 2 + 2 * 3 * 2
    bench, detector = Bench((WHOLE, CORNER), memory=2 * pitch + 64), Detector()
    bench.feed(*detector.start, *(detector.message(at) for at in range(3)))
    assert [lane.count for lane in bench.arena.lanes.values()] == [2, 2]
    assert bench.intake.blocked
    assert sorted(bench.images(0)) == [0, 1]
    bench.place()
    assert bench.intake.blocked  # the other lane is still full
    assert len(bench.runners[0].queue) == 0
    assert sorted(bench.images(1)) == [0, 1]
    bench.place()
    assert not bench.intake.blocked
    assert (sorted(bench.images(0)), sorted(bench.images(1))) == ([2], [2])
    assert bench.arena.drained


def test_a_change_of_shape_drains_then_carves_every_lane_anew():
    bench, detector = Bench((WHOLE, CORNER)), Detector()
    bench.feed(*detector.start, detector.message(0), *detector.end)
    other = Detector(shape=(5, 5), dtype="uint32", series_id=2)
    bench.feed(*other.start, other.message(0))
    assert bench.intake.blocked
    bench.images(0)
    bench.place()
    assert bench.intake.blocked
    bench.images(1)
    bench.place()
    np.testing.assert_array_equal(bench.images(0)[0], other.image(0))
    np.testing.assert_array_equal(bench.images(1)[0], other.image(0)[:2, :3])


@pytest.mark.parametrize("conditioning", [None, Conditioning(orientation="transpose")])
def test_shapes_that_come_again_get_the_lanes_of_now(conditioning):
    """Small, large, small: neither slots nor buffers of another shape are used."""
    bench = Bench((WHOLE, CORNER), conditioning)
    for number, shape in enumerate([(4, 6), (9, 7), (4, 6), (9, 7)], 1):
        detector = Detector(shape=shape, series_id=number)
        bench.feed(*detector.start, *(detector.message(at) for at in range(2)), *detector.end)
        carved = set(map(id, bench.arena.lanes.values()))
        assert {id(frame.lane) for lane in bench.runners[0].queue._lanes.values() for frame in lane} <= carved
        for image_id, pixels in bench.images(0).items():
            expected = detector.image(image_id).T if conditioning else detector.image(image_id)
            np.testing.assert_array_equal(pixels, expected)
        assert sorted(bench.images(1)) == [0, 1]
        assert bench.arena.drained


def test_the_same_frames_may_be_wanted_by_other_routes():
    bench, detector = Bench((WHOLE, CORNER, WHOLE)), Detector()
    bench.feed(*detector.start, detector.message(0))
    (frame,) = bench.runners[0].queue.take(1)
    for runner in bench.runners[1:]:
        runner.queue.clear()
    blob = memoryview(detector.image(5).tobytes())
    again = Frame("det", "uid-1", 1, 5, "image", SHAPE, "<u2", Compression.NONE, blob)
    for wanted in ([bench.runners[2]], [bench.runners[1]], [bench.runners[1], bench.runners[0]]):
        plan = Plan(again, frame.record, bench.runners).only(wanted)
        bench.placement.put(Waiting(Shot(again, (again,)), frame.record, plan, 0, 0))
        bench.place()
        assert [len(runner.queue) for runner in bench.runners] == [runner in wanted for runner in bench.runners]
        for runner in wanted:
            (placed,) = runner.queue.take(1)
            pixels = placed.lane.buffer(placed.slot).view("<u2").reshape(placed.shape)
            np.testing.assert_array_equal(pixels, selected(detector.image(5), runner.selection))


def test_channels_of_routes_have_lanes_where_a_route_wants_them():
    detector = Detector(("a", "b", "c"))
    bench = Bench((WHOLE, CORNER), channels=(("a",), ("b",)))
    bench.feed(*detector.start, *(detector.message(at) for at in range(4)))
    while bench.intake.blocked:  # the second lane is carved when its first frame comes
        for route in (0, 1):
            bench.images(route)
        bench.place()
    assert set(bench.arena.lanes) == {("a", WHOLE), ("b", CORNER)}
    for route in (0, 1):
        bench.images(route)
    lanes = list(bench.arena.lanes.values())
    bench.feed(*(detector.message(at) for at in range(4, 8)))
    assert list(bench.arena.lanes.values()) == lanes  # and then stays
    assert sorted(bench.images(1)) == [4, 5, 6, 7]


def test_a_model_is_asked_for_the_shape_that_is_selected():
    spec = ModelSpec("sum", (1, 2), SPEC.outputs, 4)
    bench, detector = Bench((QUARTER, WHOLE), spec=spec), Detector()
    bench.feed(*detector.start, detector.message(0))
    np.testing.assert_array_equal(bench.images(0)[0], selected(detector.image(0), QUARTER))
    ((route, reason, detail),) = bench.failures
    assert (route, reason) == ("r1", "wrong_shape")
    assert "region or binning" in detail


def test_a_region_beyond_the_frame_fails_its_route_alone():
    bench, detector = Bench((WHOLE, Selection((3, 3, 2, 2)))), Detector()
    bench.feed(*detector.start, detector.message(0))
    assert [(route, reason) for route, reason, _ in bench.failures] == [("r1", "conditioning")]
    assert "beyond the image of 4 x 6" in bench.failures[0][2]
    assert sorted(bench.images(0)) == [0]


def test_a_mask_is_applied_in_the_slot():
    mask = np.zeros(SHAPE, np.uint32)
    mask[0, 0], mask[3, 5] = 1, 4
    bench, detector = Bench((WHOLE, CORNER), Conditioning(mask=mask)), Detector()
    bench.feed(*detector.start, detector.message(0))
    expected = detector.image(0)
    expected[0, 0], expected[3, 5] = 65535, 65534
    np.testing.assert_array_equal(bench.images(0)[0], expected)
    np.testing.assert_array_equal(bench.images(1)[0], expected[:2, :3])
    assert bench.placement._decompression._own._decoded.size == 0


def test_a_mask_that_does_not_fit_is_counted_and_harms_nothing():
    bench, detector = Bench((WHOLE,), Conditioning(mask=np.ones((2, 2)))), Detector(images=3)
    bench.feed(*detector.start, *(detector.message(at) for at in range(3)), *detector.end)
    assert {reason for _, reason, _ in bench.failures} == {"conditioning"}
    assert "mask has 1 x 2 x 2" in bench.failures[0][2]
    record = bench.intake.pop_finished()[0]
    assert record.accounts["r0"].balanced
    ended = record.ended("r0")
    assert (ended.account["failed"], ended.verdict) == ({"conditioning": 3}, "incomplete")


@pytest.mark.parametrize("orientation", ["transpose", "rotate-90", "mirror-rows"])
def test_an_oriented_image_lies_in_the_slot_and_the_region_counts_in_it(orientation):
    bench, detector = Bench((WHOLE, CORNER), Conditioning(orientation=orientation)), Detector(dtype="uint32")
    bench.feed(*detector.start, *(detector.message(at) for at in range(2)))
    for image_id, pixels in bench.images(0).items():
        np.testing.assert_array_equal(pixels, oriented(detector.image(image_id), orientation))
    for image_id, pixels in bench.images(1).items():
        np.testing.assert_array_equal(pixels, oriented(detector.image(image_id), orientation)[:2, :3])


MODULES = ("det/0", "det/1")


def test_modules_of_a_message_become_one_image_of_one_lane():
    bench = Bench((WHOLE, Selection((0, 3, 3, 3))), Conditioning(geometry=TWO))
    detector = Detector(MODULES, shape=(3, 4), images=4)
    bench.feed(*detector.start, *(detector.message(at) for at in range(4)), *detector.end)
    assert {channel for channel, _ in bench.arena.lanes} == {"image"}
    regions = bench.images(1)
    for image_id, pixels in bench.images(0).items():
        expected = np.full((3, 9), 65535)
        expected[:, :4], expected[:, 5:] = (detector.image(image_id, module) for module in MODULES)
        np.testing.assert_array_equal(pixels, expected)
        np.testing.assert_array_equal(regions[image_id], expected[:, 3:6])
    ended = bench.intake.pop_finished()[0].ended("r0")
    assert (ended.arrivals["received"], ended.account["published"], ended.verdict) == (8, 4, "complete")


def test_a_missing_module_is_all_flags_and_missing_in_the_ledger():
    bench = Bench((WHOLE,), Conditioning(geometry=TWO))
    detector = Detector(MODULES, shape=(3, 4), images=2)
    half = Detector(("det/1",), shape=(3, 4))
    bench.feed(*detector.start, half.message(0), detector.message(1), *detector.end)
    first = bench.images()[0]
    assert (first[:, :5] == 65535).all()
    np.testing.assert_array_equal(first[:, 5:], half.image(0, "det/1"))
    assert bench.placement.preparing.missing == 1
    bench.intake.advance(10**19, 0, 10**12)
    ended = bench.intake.pop_finished()[0].ended("r0")
    assert ended.missing == {"det/0": [(0, 1)]}
    assert ended.verdict == "incomplete"


def test_a_broken_module_fails_its_image_and_frees_the_slots():
    bench = Bench((WHOLE, CORNER), Conditioning(geometry=TWO))
    detector = Detector(MODULES, shape=(3, 4), images=2)
    acquisition = Acquisition(1, "uid-1", "2026-01-02T00:00:00Z", 2, (3, 4), "uint16", MODULES, Compression.BSLZ4)
    (message,) = ENCODERS["stream-v2"](acquisition).image(0, {name: detector.image(0, name) for name in MODULES})
    broken = bytearray(message)
    at = broken.rfind(b"\x00\x00\x00\x18")  # the low bytes of the second module's size
    assert at > 0
    broken[at + 3] ^= 0xFF
    bench.feed(*detector.start, [bytes(broken)], detector.message(1))
    assert [(route, reason) for route, reason, _ in bench.failures] == [("r0", "too_large"), ("r1", "too_large")]
    assert (sorted(bench.images(0)), sorted(bench.images(1))) == ([1], [1])
    assert bench.arena.drained


def test_slabs_of_one_stacked_image_keep_their_channel():
    stacked = parse(
        "".join(
            f"p{at}/min_fs=0\np{at}/max_fs=5\np{at}/min_ss={2 * at}\np{at}/max_ss={2 * at + 1}\n"
            f"p{at}/corner_x=0\np{at}/corner_y={3 * at}\np{at}/fs=x\np{at}/ss=y\n"
            for at in range(2)
        )
    )
    bench, detector = Bench((WHOLE,), Conditioning(geometry=stacked)), Detector()
    bench.feed(*detector.start, detector.message(0))
    expected = np.insert(detector.image(0), 2, 65535, axis=0)
    np.testing.assert_array_equal(bench.images()[0], expected)
    assert list(bench.arena.lanes) == [("image", WHOLE)]


def test_an_image_that_does_not_fit_the_memory_names_the_setting():
    bench, detector = Bench((WHOLE, CORNER), memory=50), Detector()
    bench.feed(*detector.start, detector.message(0))
    assert [(route, reason) for route, reason, _ in bench.failures] == [("r0", "too_large"), ("r1", "too_large")]
    assert "memory_mib" in bench.failures[0][2]
    assert not bench.intake.blocked


def test_an_image_keeps_its_header_mask_from_the_detector():
    bench, detector = Bench((WHOLE,), Conditioning(mask_from_header=True)), Detector(detail="all")
    bench.feed(*detector.start, detector.message(0))
    (series,) = bench.intake.records.values()
    assert series.series.start.pixel_mask  # it came, and nothing in it is bad
    np.testing.assert_array_equal(bench.images()[0], detector.image(0))


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from([WHOLE, QUARTER, CORNER]), min_size=1, max_size=3),
    st.booleans(),
    st.integers(200, 800),
)
def test_whatever_is_freed_when_every_image_reaches_every_route_once(seed, selections, masked, memory):
    """Random order of arrivals and answers: contents right, nothing lost, nothing leaked."""
    rng = np.random.default_rng(seed)
    mask = np.eye(*SHAPE, dtype=np.uint32)
    bench = Bench(tuple(selections), Conditioning(mask=mask) if masked else None, memory)
    detector = Detector()
    bench.feed(*detector.start)
    fed, read = 0, [{} for _ in selections]
    while fed < 12 or bench.intake.blocked or any(len(runner.queue) for runner in bench.runners):
        if fed < 12 and not bench.intake.blocked and rng.random() < 0.5:
            bench.feed(detector.message(fed))
            fed += 1
        else:
            route = int(rng.integers(len(selections)))
            read[route] |= bench.images(route, int(rng.integers(1, 5)))
            bench.place()
    for selection, images in zip(selections, read, strict=True):
        assert sorted(images) == list(range(12))
        for image_id, pixels in images.items():
            expected = np.where(mask, 65535, detector.image(image_id)) if masked else detector.image(image_id)
            if selection == QUARTER and masked:
                expected = np.array([[65534, selected(detector.image(image_id), QUARTER)[0, 1]]])
            else:
                expected = selected(expected, selection)
            np.testing.assert_array_equal(pixels, expected)
    assert bench.arena.drained
    assert bench.failures == []
