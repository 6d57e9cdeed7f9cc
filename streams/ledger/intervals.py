"""Sets of image ids held as intervals: bounded memory for a series of any length."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import TypeAlias


class IntervalSet:
    """A set of non-negative integers, stored as sorted half-open intervals [start, stop).

    Memory grows with the number of holes, not with the number of members.
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, value: int) -> bool:
        at = bisect_right(self._starts, value) - 1
        return at >= 0 and value < self._stops[at]

    def add(self, value: int) -> bool:
        """Put `value` in; False where it was in already."""
        starts, stops = self._starts, self._stops
        if stops and stops[-1] == value:  # the next one in order, as nearly all are
            stops[-1] = value + 1
            self._size += 1
            return True
        at = bisect_right(starts, value) - 1
        if at >= 0 and value < stops[at]:
            return False
        joins_left = at >= 0 and stops[at] == value
        joins_right = at + 1 < len(starts) and starts[at + 1] == value + 1
        if joins_left and joins_right:
            stops[at] = stops.pop(at + 1)
            del starts[at + 1]
        elif joins_left:
            stops[at] = value + 1
        elif joins_right:
            starts[at + 1] = value
        else:
            starts.insert(at + 1, value)
            stops.insert(at + 1, value + 1)
        self._size += 1
        return True

    def fill(self, start: int, stop: int) -> None:
        """Put all of [start, stop), which is not empty, in."""
        starts, stops = self._starts, self._stops
        first, last = bisect_left(stops, start), bisect_right(starts, stop)  # the runs between them touch it
        if first < last:
            start, stop = min(start, starts[first]), max(stop, stops[last - 1])
        self._size += stop - start - sum(stops[at] - starts[at] for at in range(first, last))
        starts[first:last], stops[first:last] = [start], [stop]

    def drop(self, start: int, stop: int) -> int:
        """Take out the runs that lie within [start, stop); how many members that were."""
        first, last = bisect_left(self._starts, start), bisect_right(self._stops, stop)
        gone = sum(self._stops[at] - self._starts[at] for at in range(first, last))
        if first < last:
            del self._starts[first:last], self._stops[first:last]
        self._size -= gone
        return gone

    def within(self, start: int, stop: int) -> int:
        """How many members lie in [start, stop); the fewer lie outside, the sooner it is known."""
        starts, stops = self._starts, self._stops
        below = sum(min(stops[at], start) - starts[at] for at in range(bisect_left(starts, start)))
        above = sum(stops[at] - max(starts[at], stop) for at in range(bisect_right(stops, stop), len(stops)))
        return self._size - below - above

    @property
    def runs(self) -> int:
        """How many intervals the members form; memory is proportional to it."""
        return len(self._starts)

    @property
    def first(self) -> int:
        """The smallest member; 0 for the empty set."""
        return self._starts[0] if self._starts else 0

    @property
    def end(self) -> int:
        """One past the largest member; 0 for the empty set."""
        return self._stops[-1] if self._stops else 0

    def intervals(self, most: int | None = None) -> list[tuple[int, int]]:
        """The first `most` runs of members as [start, stop) pairs in order."""
        return list(zip(self._starts[:most], self._stops[:most], strict=True))

    def fold(self) -> int:
        """Fill the lowest hole between members, to keep memory bounded; how many ids that took. 0 without a hole."""
        if len(self._starts) < 2:
            return 0
        filled = self._starts[1] - self._stops[0]
        del self._stops[0], self._starts[1]
        self._size += filled
        return filled

    def holes(self, stop: int, most: int | None = None, start: int = 0) -> list[tuple[int, int]]:
        """The first `most` runs of ids from `start` to below `stop` that are not members, as [start, stop) in order."""
        holes: list[tuple[int, int]] = []
        at = start
        for number in range(bisect_right(self._stops, start), len(self._starts)):
            begin, end = self._starts[number], self._stops[number]
            if begin >= stop or (most is not None and len(holes) >= most):
                break
            if begin > at:
                holes.append((at, begin))
            at = max(at, end)
        if at < stop and (most is None or len(holes) < most):
            holes.append((at, stop))
        return holes


Block: TypeAlias = tuple[int, int, int, int]
"""(start, length, stride, count): `count` runs of `length` ids, the first at `start`, each `stride` after the last."""


def blocks(intervals: Iterable[tuple[int, int]]) -> list[Block]:
    """The same ids as `intervals` ([start, stop), sorted, apart), with regular stretches written as one.

    What a worker gets of a stream that is dealt out in turn is one block, however long the series is.
    """
    found: list[Block] = []
    for start, stop in intervals:
        length = stop - start
        if found:
            begin, size, stride, count = found[-1]
            if length == size and (count == 1 or start == begin + count * stride):
                found[-1] = (begin, size, start - begin if count == 1 else stride, count + 1)
                continue
        found.append((start, length, 0, 1))
    return found


def spread(found: Iterable[Block], most: int) -> list[tuple[int, int]]:
    """The [start, stop) intervals that `blocks` made `found` of, in order.

    Raises:
        ValueError: they are no blocks, or more than `most` intervals.
    """
    intervals: list[tuple[int, int]] = []
    for start, length, stride, count in found:
        regular = count == 1 or stride >= length
        if start < 0 or length < 1 or count < 1 or not regular or count > most - len(intervals):
            raise ValueError(f"no intervals of image ids, or more than {most}: {(start, length, stride, count)}")
        intervals += [(start + n * stride, start + n * stride + length) for n in range(count)]
    return intervals
