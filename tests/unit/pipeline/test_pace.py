from hypothesis import given
from hypothesis import strategies as st

from edge.pipeline.pace import BURST_NS, Pace

SECOND = 1_000_000_000


def test_it_begins_without_a_wait():
    assert Pace().wait_ms(5 * SECOND) == 0


def test_small_ones_are_bound_by_their_number_and_large_ones_by_their_bytes():
    for nbytes, per_s in ((8, 1000), (1 << 20, 64)):
        pace, now, done = Pace(1000, 64 << 20), 0, 0
        while now < 10 * SECOND:
            while not pace.wait_ms(now):
                pace.spend(nbytes, now)
                done += 1
            now += pace.wait_ms(now) * 1_000_000
        assert 0.95 * 10 * per_s <= done <= 1.05 * 10 * per_s + 1


@given(st.lists(st.tuples(st.integers(0, 1 << 24), st.integers(0, SECOND)), max_size=50))
def test_whoever_waits_as_told_may_go_on(steps):
    pace, now = Pace(), 0
    for nbytes, pause in steps:
        now += pause
        if wait := pace.wait_ms(now):
            now += wait * 1_000_000
            assert pace.wait_ms(now) == 0
        pace.spend(nbytes, now)


def test_a_pause_saves_up_no_more_than_a_burst():
    pace = Pace(1000, 1 << 30)
    now, done = 3600 * SECOND, 0
    while not pace.wait_ms(now):
        pace.spend(8, now)
        done += 1
    assert done <= 2 + BURST_NS / SECOND * 1000
