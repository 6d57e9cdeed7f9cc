from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streams.ledger.intervals import IntervalSet

IDS = st.lists(st.integers(0, 60), max_size=80)


@given(IDS)
def test_is_a_set_of_integers(ids: list[int]):
    intervals, oracle = IntervalSet(), set()
    for value in ids:
        assert intervals.add(value) is (value not in oracle)
        oracle.add(value)
        assert len(intervals) == len(oracle)
    assert [value for start, stop in intervals.intervals() for value in range(start, stop)] == sorted(oracle)
    assert intervals.end == max(oracle, default=-1) + 1


@given(IDS, st.integers(0, 70))
def test_holes_are_the_complement(ids: list[int], stop: int):
    intervals = IntervalSet()
    for value in ids:
        intervals.add(value)
    holes = [value for start, end in intervals.holes(stop) for value in range(start, end)]
    assert holes == [value for value in range(stop) if value not in set(ids)]


@given(IDS, st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9))), st.integers(0, 70), st.integers(0, 70))
def test_ranges_are_put_in_and_taken_out(ids: list[int], ranges: list[tuple[int, int]], one: int, other: int):
    intervals, oracle = IntervalSet(), set(ids)
    for value in ids:
        intervals.add(value)
    for start, count in ranges:
        intervals.fill(start, start + count)
        oracle |= set(range(start, start + count))
    start, stop = sorted((one, other))
    inside = oracle & set(range(start, stop))
    assert (len(intervals), intervals.within(start, stop)) == (len(oracle), len(inside))
    holes = [value for begin, end in intervals.holes(stop, None, start) for value in range(begin, end)]
    assert holes == sorted(set(range(start, stop)) - oracle)
    cut = {
        value for begin, end in intervals.intervals() if begin >= start and end <= stop for value in range(begin, end)
    }
    assert intervals.drop(start, stop) == len(cut)
    assert [value for begin, end in intervals.intervals() for value in range(begin, end)] == sorted(oracle - cut)
    assert all(left[1] < right[0] for left, right in pairwise(intervals.intervals()))


@given(IDS)
def test_neighbours_are_merged(ids: list[int]):
    intervals = IntervalSet()
    for value in ids:
        intervals.add(value)
    pairs = intervals.intervals()
    assert intervals.runs == len(pairs)
    assert all(left[1] < right[0] for left, right in pairwise(pairs))


def test_memory_of_a_gapless_series_does_not_grow():
    intervals = IntervalSet()
    for value in range(10_000):
        intervals.add(value)
    assert intervals.intervals() == [(0, 10_000)]


@given(IDS)
def test_folding_fills_the_lowest_hole(ids: list[int]):
    intervals = IntervalSet()
    for value in ids:
        intervals.add(value)
    before = intervals.intervals()
    filled = intervals.fold()
    if len(before) < 2:
        assert filled == 0
        assert intervals.intervals() == before
    else:
        assert filled == before[1][0] - before[0][1]
        assert intervals.intervals() == [(before[0][0], before[1][1]), *before[2:]]
        assert len(intervals) == sum(stop - start for start, stop in intervals.intervals())


def test_only_the_first_holes_are_listed():
    intervals = IntervalSet()
    for value in range(0, 1000, 2):
        intervals.add(value)
    assert intervals.holes(1000, 2) == [(1, 2), (3, 4)]
