"""Sets of image ids held as intervals: bounded memory for a series of any length."""

from bisect import bisect_right


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

    def add(self, value: int) -> bool:
        """Put `value` in; False where it was in already."""
        starts, stops = self._starts, self._stops
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

    @property
    def runs(self) -> int:
        """How many intervals the members form; memory is proportional to it."""
        return len(self._starts)

    @property
    def end(self) -> int:
        """One past the largest member; 0 for the empty set."""
        return self._stops[-1] if self._stops else 0

    def intervals(self) -> list[tuple[int, int]]:
        """The members as [start, stop) pairs in order."""
        return list(zip(self._starts, self._stops, strict=True))

    def fold(self) -> int:
        """Fill the lowest hole between members, to keep memory bounded; how many ids that took. 0 without a hole."""
        if len(self._starts) < 2:
            return 0
        filled = self._starts[1] - self._stops[0]
        del self._stops[0], self._starts[1]
        self._size += filled
        return filled

    def holes(self, stop: int, most: int | None = None) -> list[tuple[int, int]]:
        """The first `most` runs of ids below `stop` that are not members, as [start, stop) pairs in order."""
        holes: list[tuple[int, int]] = []
        at = 0
        for start, end in zip(self._starts, self._stops, strict=True):
            if start >= stop or (most is not None and len(holes) >= most):
                break
            if start > at:
                holes.append((at, start))
            at = end
        if at < stop and (most is None or len(holes) < most):
            holes.append((at, stop))
        return holes
