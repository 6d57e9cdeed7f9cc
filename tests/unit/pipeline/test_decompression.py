"""Images that are decompressed side by side: they arrive in order all the same, and nothing of them is lost."""

import threading
import time

import numpy as np
import pytest

from edge.conditioning.settings import Conditioning
from edge.pipeline.arena import Arena
from edge.pipeline.decompression import WORTH_NBYTES, Decompression, Job
from edge.pipeline.filling import Filling
from edge.pipeline.inlet import Inlet, Received
from edge.pipeline.intake import Intake
from edge.pipeline.placing import Placement
from edge.pipeline.preparing import Preparing
from edge.pipeline.totals import Totals
from streams.codecs import DECODERS, ENCODERS
from streams.codecs.compression import BLOCK_BYTES, HEADER
from streams.ledger.book import SeriesBook
from streams.messages import Acquisition, CodecError, Compression
from tests.unit.pipeline.doubles import HeapMemory
from tests.unit.pipeline.test_placing import Bench

SHAPE = (256, 300)
LIMIT_S = 30.0


class Kept(Decompression):
    """Keeps jobs until told to do one."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Job] = []

    def take(self, job: Job) -> None:
        self.jobs.append(job)

    def do(self, at: int) -> None:
        self.jobs.pop(at).run(Filling())


class Source(Bench):
    def __init__(
        self, decompression: Decompression, images: int = 10, slots: int = 8, conditioning: Conditioning | None = None
    ) -> None:
        super().__init__(memory=slots * 2 * SHAPE[0] * SHAPE[1])
        self.arena = Arena(HeapMemory("frames", self.memory), "det")
        self.placement = Placement(self.arena, preparing=Preparing(conditioning), decompression=decompression)
        self.totals = Totals()
        inlet, decoder = Inlet("det", None, self.totals), DECODERS["stream-v2"]("det")
        self.intake = Intake(inlet, decoder, SeriesBook(), self.placement, self.runners, self.totals)
        self.encoder = ENCODERS["stream-v2"](
            Acquisition(1, "u", "2026-01-02T00:00:00Z", images, SHAPE, "uint16", compression=Compression.BSLZ4)
        )
        self.feed(*self.encoder.start())

    def send(self, image_id: int, broken: bool = False) -> None:
        parts = [bytes(part) for part in self.encoder.image(image_id, {"image": picture(image_id)})]
        if broken:
            head = HEADER.pack(2 * SHAPE[0] * SHAPE[1], BLOCK_BYTES)  # behind it: how long the first block is
            at = parts[0].index(head) + len(head)
            parts[0] = parts[0][:at] + b"\xff" * 4 + parts[0][at + 4 :]
        self.intake.take(Received(parts, time.time_ns(), False), lambda _: None, self.fail)
        self.place()


def picture(image_id: int) -> np.ndarray:
    return np.random.default_rng(image_id).poisson(3, SHAPE).astype(np.uint16)


def test_images_reach_their_routes_in_the_order_of_their_arrival():
    kept = Kept()
    source = Source(kept)
    for image_id in range(4):
        source.send(image_id)
    queue = source.runners[0].queue
    for at in (2, 0, 1, 0):  # images 2, 0, 3, 1
        kept.do(at)
        source.place()
    assert not source.placement.filling
    assert [frame.image_id for frame in queue.take(4)] == [0, 1, 2, 3]


def test_one_that_is_not_done_holds_up_those_behind_it():
    kept = Kept()
    source = Source(kept)
    for image_id in range(3):
        source.send(image_id)
    kept.do(2)
    source.place()
    assert len(source.runners[0].queue) == 0
    assert source.placement.filling == 3
    kept.do(0)
    source.place()
    assert len(source.runners[0].queue) == 1


def test_one_that_cannot_be_read_is_failed_and_gives_its_slot_back():
    kept = Kept()
    source = Source(kept)
    source.send(0, broken=True)
    source.send(1)
    kept.do(0)
    kept.do(0)
    source.place()
    assert [frame.image_id for frame in source.runners[0].queue.take(1)] == [1]
    assert [reason for _, reason, _ in source.failures] == ["malformed"]
    _, taken = source.arena.usage()
    assert taken == 1


def test_those_under_way_at_a_stop_are_given_up():
    source = Source(Kept())
    source.send(0)
    assert [runner.route.name for _, runner in source.intake.shut_down()] == ["r0"]
    assert source.placement.filling == 0


def test_threads_do_the_same_as_none():
    done = threading.Semaphore(0)
    with Decompression(3, done.release) as threads:
        source = Source(threads, images=40, slots=64)
        for image_id in range(40):
            source.send(image_id)
        for _ in range(40):
            assert done.acquire(timeout=LIMIT_S)
        source.place()
        images = source.images()
    assert list(images) == list(range(40))
    for image_id, pixels in images.items():
        np.testing.assert_array_equal(pixels, picture(image_id))


def test_what_is_done_to_images_may_be_done_to_several_at_once():
    done = threading.Semaphore(0)
    factors = np.full(SHAPE, 3.0)
    with Decompression(3, done.release) as threads:
        source = Source(threads, images=60, slots=64, conditioning=Conditioning(flatfield=factors))
        for image_id in range(60):
            source.send(image_id)
        for _ in range(60):
            assert done.acquire(timeout=LIMIT_S)
        source.place()
        for image_id, pixels in source.images().items():
            np.testing.assert_array_equal(pixels, 3 * picture(image_id))


def test_small_and_uncompressed_images_are_not_worth_a_thread():
    never = threading.Event()
    with Decompression(1, never.set) as threads:
        source = Bench()
        source.placement._decompression = threads
        encoder = ENCODERS["stream-v2"](
            Acquisition(1, "u", "2026-01-02T00:00:00Z", 1, (4, 6), "uint16", compression=Compression.BSLZ4)
        )
        source.feed(*encoder.start(), encoder.image(0, {"image": np.ones((4, 6), np.uint16)}))
        assert len(source.runners[0].queue) == 1
    assert not never.is_set()


def test_what_goes_wrong_in_a_thread_and_is_nobodys_message_is_not_hidden():
    class Broken(Filling):
        def fill(self, shot, whole, parts=()) -> None:
            raise ZeroDivisionError

    job = Job(None, None, (), WORTH_NBYTES)
    with pytest.raises(ZeroDivisionError):
        job.run(Broken())
    assert not job.done


def test_what_is_wrong_with_an_image_is_noted_in_its_job():
    class Refusing(Filling):
        def fill(self, shot, whole, parts=()) -> None:
            raise CodecError("truncated", "half of it")

    job = Job(None, None, (), WORTH_NBYTES)
    job.run(Refusing())
    assert job.done
    assert job.error is not None
    assert job.error.reason == "truncated"
