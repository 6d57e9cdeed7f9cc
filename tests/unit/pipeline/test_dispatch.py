from collections import Counter

import numpy as np
import pytest

from edge.inference.requests import Completion
from edge.pipeline.batching import Pending
from edge.pipeline.dispatch import MAX_ATTEMPTS, PATIENCE_NS, PAUSE_NS, RouteRunner, ServedModel, Serving
from edge.pipeline.outputs import OutputBlocks, outputs_nbytes
from edge.pipeline.record import SeriesRecord
from edge.pipeline.slots import Lane, SlotState
from edge.pipeline.totals import Totals
from streams.ledger.series import Series
from streams.messages import SeriesStart
from streams.routing import Route
from tests.unit.pipeline.doubles import SPEC, HeapMemory, SumServer

LONG = 10**10
BLOCK = outputs_nbytes(SPEC, (2, 3), SPEC.max_batch)


class Bench:
    """One route with its memory and a server that answers when told to."""

    def __init__(self, limit: int = 2, transport="shm", slots: int = 8) -> None:
        self.frames = HeapMemory("frames", 6 * slots)
        self.outputs = HeapMemory("outputs", 2 * limit * BLOCK)
        self.server = SumServer(self.frames, self.outputs)
        self.serving = Serving(1, self.server, transport)
        self.lane = Lane(self.frames, 0, 6, slots)
        self.runner = RouteRunner(
            Route("r", "sum"), ServedModel(SPEC, "1", "00", (1,)), OutputBlocks(self.outputs, SPEC, 2 * limit), limit
        )
        self.record = self.series()
        self.totals = Totals()
        self.completions: list[Completion] = []
        self.results: dict[int, tuple[int, float]] = {}
        self.failures: dict[int, str] = {}
        self.clock_ns = 0

    @staticmethod
    def series() -> SeriesRecord:
        return SeriesRecord(Series(SeriesStart("det", "u", 1, 8, ("image",)), announced=True, now_ns=0), ["r"])

    def start(self, epoch: int) -> None:
        """Server number `epoch` is ready."""
        self.serving = Serving(epoch, self.server, self.serving.transport)
        self.runner.settle_all()
        self.runner.resume(epoch)

    def put(self, *ids: int, record: SeriesRecord | None = None) -> None:
        for image_id in ids:
            slot = self.lane.acquire()
            assert slot is not None
            self.lane.buffer(slot)[:] = image_id
            self.lane.fill(slot, 1)
            place = (record or self.record, self.lane, slot, image_id)
            self.clock_ns += 1
            self.runner.offer(Pending(*place, "image", (2, 3), 1, None, 0, self.clock_ns))

    def pump(self, now_ns: int = 0) -> list[int]:
        """The batch sizes that were sent."""
        before = len(self.server.asked)
        self.runner.pump(self.serving, now_ns, lambda _, completion: self.completions.append(completion), self.totals)
        return [request.shape[0] for request, _ in self.server.asked[before:]]

    def complete(self, now_ns: int = 0) -> None:
        for completion in self.completions:
            self.runner.complete(completion, now_ns, self, self.totals)
        self.completions.clear()

    def inferred_all(self, runner, frames, arrays):
        assert arrays["first"].shape == (len(frames), 2, 2)
        assert arrays["first"].flags.c_contiguous
        for at, frame in enumerate(frames):
            assert frame.image_id not in self.results
            self.results[frame.image_id] = (int(arrays["total"][at, 0]), float(arrays["first"][at, 1, 1]))

    def failed(self, runner, frame, reason, detail):
        self.failures[frame.image_id] = reason

    def all_free(self) -> bool:
        return self.lane.free == self.lane.count


def right(*ids: int) -> dict[int, tuple[int, float]]:
    return {i: (6 * i, float(i)) for i in ids}


@pytest.mark.parametrize("transport", ["shm", "inline"])
def test_every_frame_gets_its_own_result(transport):
    bench = Bench(transport=transport)
    bench.put(1, 2, 3, 4, 5, 6)
    while bench.pump() or bench.server.asked:
        bench.server.answer(-1)  # the newest first: order of answers does not matter
        bench.complete()
    assert bench.results == right(1, 2, 3, 4, 5, 6)
    assert bench.all_free()


def test_full_batches_go_at_once_and_a_part_only_when_nothing_is_in_flight():
    bench = Bench()
    bench.put(1)
    assert bench.pump() == [1]
    bench.put(2, 3)
    assert bench.pump() == []
    bench.put(4, 5)
    assert bench.pump() == [4]
    bench.put(6)
    assert bench.pump() == []
    bench.server.answer()
    bench.server.answer()
    bench.complete()
    assert bench.pump() == [1]


def test_no_batch_wraps_round_the_ring():
    bench = Bench(slots=4)
    bench.put(1, 2, 3)
    bench.pump()
    bench.put(4)
    bench.server.answer()
    bench.complete()
    bench.put(5, 6)
    assert bench.pump() == [1]
    bench.server.answer()
    bench.complete()
    assert bench.pump() == [2]


def test_an_empty_ring_begins_anew_where_memory_is_warm():
    bench = Bench(slots=4)
    for image_id in (1, 2, 3):
        bench.put(image_id)
        bench.pump()
        bench.server.answer()
        bench.complete()
    assert bench.lane.acquire() == 0


def test_no_batch_mixes_series():
    bench = Bench()
    bench.put(1, 2)
    bench.put(3, record=bench.series())
    assert bench.pump() == [2]


def test_not_more_requests_than_the_limit():
    bench = Bench(limit=1)
    bench.put(*range(8))
    assert bench.pump() == [4]
    assert bench.pump() == []


def test_results_do_not_change_when_the_block_is_used_again():
    bench = Bench(limit=1)
    kept = []
    bench.inferred_all = lambda runner, frames, arrays: kept.append(arrays["first"])
    for image_id in (1, 2, 3):
        bench.put(image_id)
        bench.pump()
        bench.server.answer()
        bench.complete()
    assert [float(array[0, 0, 0]) for array in kept] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("kind", sorted(PAUSE_NS))
def test_a_passing_error_is_tried_again_in_order_after_a_pause(kind):
    bench = Bench()
    bench.put(1, 2, 3)
    bench.pump()
    bench.put(4)
    bench.server.fail(kind)
    bench.complete(now_ns=5)
    assert bench.pump(now_ns=5) == []
    for batch in (3, 1) if kind == "unavailable" else (4,):
        assert bench.pump(now_ns=5 + PAUSE_NS[kind]) == [batch]
        bench.server.answer()
        bench.complete()
    assert bench.results == right(1, 2, 3, 4)
    assert bench.totals.retries == Counter({("r", kind): 1})
    assert bench.all_free()


def test_a_request_that_is_wrong_fails_its_frames():
    bench = Bench()
    bench.put(1, 2)
    bench.pump()
    bench.server.fail("bad_request")
    bench.complete()
    assert bench.failures == {1: "bad_request", 2: "bad_request"}
    assert bench.all_free()


def test_a_frame_that_fails_a_sound_model_is_found_among_its_neighbours():
    bench = Bench()
    bench.start(1)
    bench.put(1, 2, 3)
    bench.pump()
    bench.server.fail("failed")
    bench.complete(now_ns=10)
    assert bench.server.doubts == ["told to"]
    assert bench.pump(LONG) == [] and len(bench.runner.queue) == 3 and not bench.failures
    bench.runner.checked(1, 9, bench)  # the canary went out before they failed: it says nothing about them
    bench.runner.checked(0, 20, bench)  # and this one to another server
    assert bench.pump(LONG) == []
    bench.runner.checked(1, 20, bench)
    assert bench.pump(LONG) == [1, 1]  # each alone
    bench.server.fail("failed", 1)
    bench.server.answer()
    bench.complete(now_ns=30)
    assert bench.pump(LONG) == [1]
    bench.server.answer()
    bench.complete(now_ns=30)
    assert not bench.failures
    bench.runner.checked(1, 40, bench)
    assert bench.results == right(1, 3) and bench.failures == {2: "failed"}
    assert bench.all_free()


def test_what_failed_a_broken_model_goes_to_the_next_server():
    bench = Bench()
    bench.start(1)
    bench.put(1, 2)
    bench.pump()
    bench.put(3)
    bench.server.fail("failed")
    bench.complete(now_ns=10)
    bench.start(2)  # its canary failed too, and it was replaced
    assert bench.pump(LONG) == [2]  # no longer alone: nothing is held against them
    bench.server.answer()
    bench.complete()
    bench.pump(LONG)
    bench.server.answer()
    bench.complete()
    assert bench.results == right(1, 2, 3)
    assert bench.all_free()


def test_a_failure_of_an_earlier_server_says_nothing_about_the_present_one():
    bench = Bench()
    bench.start(1)
    bench.put(1)
    bench.pump()
    bench.start(2)
    bench.server.fail("failed")
    bench.complete(now_ns=10)
    assert not bench.server.doubts and bench.pump(10) == [1]


@pytest.mark.parametrize("kind", ["unavailable", "failed"])
def test_what_loses_server_after_server_is_given_up(kind):
    bench = Bench()
    bench.put(1)
    for attempt in range(1, MAX_ATTEMPTS + 2):
        bench.start(attempt)
        if bench.pump(attempt):
            bench.server.fail(kind)
            bench.complete(attempt)
    assert bench.failures == {1: kind}
    assert bench.all_free()


def test_one_server_counts_once_however_often_it_refuses():
    bench = Bench()
    bench.start(1)
    bench.put(1)
    for attempt in range(3 * MAX_ATTEMPTS):
        assert bench.pump(attempt * PAUSE_NS["unavailable"]) == [1]
        bench.server.fail("unavailable")
        bench.complete(attempt * PAUSE_NS["unavailable"])
    assert not bench.failures


@pytest.mark.parametrize("kind", ["overloaded", "model_missing"])
def test_a_busy_server_is_asked_for_a_while_however_often(kind):
    bench = Bench()
    bench.put(1)
    now_ns = 1
    while not bench.failures:
        assert bench.pump(now_ns) == [1]
        bench.server.fail(kind)
        bench.complete(now_ns)
        now_ns += PAUSE_NS[kind]
    assert now_ns > PATIENCE_NS
    assert bench.failures == {1: kind}
    assert bench.all_free()


def test_lanes_are_batched_apart_and_served_in_order_of_arrival():
    """Two channels of one detector: their frames alternate, but each lane's are neighbours."""
    bench = Bench(limit=2)
    other = Lane(bench.frames, 24, 6, 4)
    bench.lane = first = Lane(bench.frames, 0, 6, 4)
    for number in range(4):
        for lane, image_id in ((first, number), (other, 10 + number)):
            bench.lane = lane
            bench.put(image_id)
    assert bench.pump() == [4, 4]
    bench.server.answer(1)
    bench.server.answer(0)
    bench.complete()
    assert bench.results == right(0, 1, 2, 3, 10, 11, 12, 13)
    assert (first.free, other.free) == (4, 4)


def test_memory_that_the_server_may_still_touch_stays_taken():
    bench = Bench(limit=1)
    bench.put(1)
    bench.pump()
    bench.server.fail("unavailable", settled=False)
    bench.complete()
    assert bench.lane.state(0) is SlotState.IN_FLIGHT
    bench.pump(LONG)
    first, second = bench.outputs.view[:BLOCK], bench.outputs.view[BLOCK:]
    bench.server.answer()
    assert second.any() != first.any()  # the second attempt writes to the other block
    bench.complete()
    assert bench.results == right(1)
    assert bench.lane.state(0) is SlotState.QUARANTINED
    bench.runner.settle_all()
    assert bench.all_free()


def test_without_a_settled_block_nothing_is_sent():
    bench = Bench(limit=1)
    bench.put(1)
    for attempt in range(2):
        bench.pump(attempt * LONG)
        bench.server.fail("overloaded", settled=False)
        bench.complete(attempt * LONG)
    assert bench.pump(9 * LONG) == []
    bench.runner.settle_all()
    bench.runner.resume(1)
    assert bench.pump(9 * LONG) == [1]


def test_a_server_that_comes_back_ends_the_pause():
    bench = Bench()
    bench.put(1)
    bench.pump()
    bench.server.fail("unavailable")
    bench.complete(now_ns=0)
    assert bench.pump(1) == []
    bench.runner.resume(1)
    assert bench.pump(1) == [1]


def test_what_an_earlier_server_did_not_settle_is_free_when_the_next_is_ready():
    bench = Bench(limit=1)
    bench.put(1)
    bench.pump()
    bench.server.fail("unavailable", settled=False)
    bench.runner.settle_all()  # the next server is ready before the answer has been taken from the queue
    bench.runner.resume(2)
    bench.complete()
    bench.serving = Serving(2, bench.server, "shm")
    assert bench.pump() == [1]  # without a pause
    bench.server.answer()
    bench.complete()
    assert bench.results == right(1)
    assert bench.all_free()


def test_an_answer_of_another_shape_is_doubted():
    bench = Bench()
    bench.put(1)
    bench.pump()
    request, on_done = bench.server.asked.pop()
    on_done(Completion(request.request_id, None, None, {"total": (1, 1), "first": (1, 3, 3)}))
    bench.complete()
    assert not bench.failures
    assert bench.server.doubts[0].startswith("model sum answered first of shape (1, 3, 3)")


def test_abandon_hands_back_waiting_flying_and_doubted_frames():
    bench = Bench(limit=1)
    bench.put(1, 2, 3, 4, 5)
    bench.pump()
    bench.server.fail("failed")
    bench.complete()
    bench.pump()
    assert sorted(frame.image_id for frame in bench.runner.abandon()) == [1, 2, 3, 4, 5]
    assert bench.runner.in_flight == 0


def test_block_holds_every_output_of_a_full_batch():
    assert BLOCK == 64 + 64
    assert np.prod((4, 2, 2)) * 4 == 64
