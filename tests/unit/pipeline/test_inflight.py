"""How many requests are in flight: found out on servers that work on a known number at once."""

import heapq

import pytest

from edge.pipeline.inflight import FIRST, InFlight

BATCH = 10


def serve(pacing: InFlight, at_once: int, seconds: float, trip_s: float = 0.001, work_s: float = 0.01) -> None:
    """A server that works on `at_once` requests at a time; answers travel; images always wait."""
    now, free_at, on_their_way = 0.0, [0.0] * at_once, []
    while now < seconds:
        while len(on_their_way) < pacing.limit:
            begin = max(now + trip_s, heapq.heappop(free_at))
            heapq.heappush(free_at, begin + work_s)
            heapq.heappush(on_their_way, begin + work_s + trip_s)
        now = heapq.heappop(on_their_way)
        pacing.answered(BATCH, True, int(now * 1e9) + 1)


@pytest.mark.parametrize(
    ("at_once", "most", "found"), [(1, 8, {2}), (2, 8, {3}), (4, 8, {5}), (4, 3, {3}), (1, 1, {1})]
)
def test_the_fewest_that_keep_the_server_busy(at_once, most, found):
    pacing = InFlight(most)
    seen = []
    for _ in range(20):
        serve(pacing, at_once, 20.0)
        seen.append(pacing.limit)
    usual = max(set(seen), key=seen.count)
    assert usual in found


def test_a_detector_that_is_slower_than_the_model_changes_nothing():
    pacing = InFlight(8)
    for at in range(10_000):
        pacing.answered(1, False, at * 10_000_000)
    assert pacing.limit == FIRST


def test_pauses_are_not_measured():
    pacing = InFlight(8)
    for at in range(5000):
        pacing.answered(BATCH, at % 20 != 0, 1 + at * 1_000_000)  # each stretch is shorter than a window
    assert pacing.limit == FIRST
