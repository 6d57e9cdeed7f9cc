"""A short way through given points: an open path, which visits each of them once.

Local search by 2-opt (Croes, Oper. Res. 6, 791, 1958) and or-opt (moving up to three neighbours together) with
neighbour lists, repeated after small random kicks of which only those that pay are kept (iterated local search,
Johnson & McGeoch 1997). The same points give the same path.
"""

import random

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 10
KICKS = 8  # a point
MOST_KICKS = 20_000
LONGEST_SEGMENT = 3
NEVER_APART = 10.0
"""Times the longest distance: what holds the first point at the end of the path. No move wins more than four."""
LEAST_GAIN = 1e-9
"""Times the longest distance: what is less may be rounding, and rounding can be won for ever."""


def shortest_path(distances: NDArray[np.float64], start: int | None = None, kicks: int = KICKS) -> list[int]:
    """Order in which to visit the points.

    Args:
        distances: [n, n], symmetric.
        start: the point that comes first; None leaves both ends free.
        kicks: of the path, a point. 0 stops at the first local optimum.

    A few hundred points take about a second.
    """
    n = len(distances)
    if n < 3:
        return list(range(n)) if start in (None, 0) else [1, 0]
    # A closed tour through one more point, which is equally near to all, is an open path cut there.
    cost = np.zeros((n + 1, n + 1))
    cost[:n, :n] = distances
    if start is not None:
        cost[n, start] = cost[start, n] = -NEVER_APART * float(distances.max())
    tour = _Tour(cost, _nearest_neighbours(cost, n if start is None else start))
    tour.improve(range(n + 1))
    tour.shake(min(kicks * n, MOST_KICKS))
    cut = tour.order.index(n)
    path = tour.order[cut + 1 :] + tour.order[:cut]
    return path[::-1] if start is not None and path[0] != start else path


def _nearest_neighbours(cost: NDArray[np.float64], first: int) -> list[int]:
    """Always on to the nearest point not yet visited."""
    left = cost.copy()
    np.fill_diagonal(left, np.inf)
    order = [first]
    for _ in range(len(cost) - 1):
        left[:, order[-1]] = np.inf
        order.append(int(np.argmin(left[order[-1]])))
    return order


class _Tour:
    """A closed tour under improvement."""

    def __init__(self, cost: NDArray[np.float64], order: list[int]) -> None:
        self.order = order
        self._cost: list[list[float]] = cost.tolist()  # single numbers are read much faster from lists
        near = np.argsort(cost + np.diag(np.full(len(cost), np.inf)), axis=1, kind="stable")
        self._near: list[list[int]] = near[:, : min(NEIGHBOURS, len(cost) - 1)].tolist()
        # The added point, the last, is near to all others.
        self._near[-1] = near[-1, :-1].tolist()
        self._at = [0] * len(order)
        self._least = LEAST_GAIN * float(cost.max())
        self._number(0, len(order))

    def improve(self, points: range | list[int]) -> float:
        """Local search that begins at `points`; by how much the tour got shorter."""
        waiting = list(dict.fromkeys(points))
        queued = set(waiting)
        won = 0.0
        while waiting:
            point = waiting.pop()
            queued.discard(point)
            gain, touched = self._two_opt(point)
            if not gain:
                gain, touched = self._or_opt(point)
            won += gain
            for other in touched:
                if other not in queued:
                    queued.add(other)
                    waiting.append(other)
        return won

    def shake(self, kicks: int) -> None:
        """Swap two short neighbouring stretches, search again from there, and keep what is shorter."""
        n, cost = len(self.order), self._cost
        if n < 8:
            return
        rng = random.Random(0)
        longest = max(2, min(30, n // 4))
        for _ in range(kicks):
            begin = rng.randrange(n - 3)
            middle = min(begin + rng.randrange(1, longest), n - 2)
            end = min(middle + rng.randrange(1, longest), n - 1)
            before = self.order.copy()
            order = self.order
            a, b, c, d, e, f = (
                order[begin - 1],
                order[begin],
                order[middle - 1],
                order[middle],
                order[end - 1],
                order[end],
            )
            change = cost[a][d] + cost[e][b] + cost[c][f] - cost[a][b] - cost[c][d] - cost[e][f]
            order[begin:end] = order[middle:end] + order[begin:middle]
            self._number(begin, end)
            if self.improve([a, b, c, d, e, f]) < change - self._least:
                self.order = before
                self._number(0, n)

    def _number(self, start: int, stop: int) -> None:
        for at in range(start, stop):
            self._at[self.order[at]] = at

    def _two_opt(self, a: int) -> tuple[float, tuple[int, ...]]:
        """Replace two edges, one of them at `a`, by two shorter ones."""
        cost, order, n = self._cost, self.order, len(self.order)
        for step in (1, -1):
            b = order[(self._at[a] + step) % n]
            for c in self._near[a]:
                first = cost[a][b] - cost[a][c]
                if first <= self._least:
                    break
                d = order[(self._at[c] + step) % n]
                gain = first + cost[c][d] - cost[b][d]
                if gain > self._least:
                    self._reverse(*((b, c) if step == 1 else (c, b)))
                    return gain, (a, b, c, d)
        return 0.0, ()

    def _reverse(self, first: int, last: int) -> None:
        """Turn round the stretch from `first` to `last`, which may run over the end of the list."""
        start, stop = self._at[first], self._at[last]
        if start > stop:  # then the rest, turned round, is the same tour
            start, stop = stop + 1, start - 1
        self.order[start : stop + 1] = self.order[start : stop + 1][::-1]
        self._number(start, stop + 1)

    def _or_opt(self, a: int) -> tuple[float, tuple[int, ...]]:
        """Move `a` and up to two points beside it to between two neighbours elsewhere."""
        cost, order, n = self._cost, self.order, len(self.order)
        for step in (1, -1):
            for length in range(1, min(LONGEST_SEGMENT, n - 3) + 1):
                segment = [order[(self._at[a] + step * k) % n] for k in range(length)]
                e, p, q = segment[-1], order[(self._at[a] - step) % n], order[(self._at[a] + step * length) % n]
                freed = cost[p][a] + cost[e][q] - cost[p][q]
                for c in self._near[a]:
                    if freed - cost[a][c] <= self._least and c < n - 1:
                        break
                    if c in segment:
                        continue
                    for side in (1, -1):
                        d = order[(self._at[c] + side) % n]
                        gain = freed - cost[a][c] - cost[e][d] + cost[c][d]
                        if gain > self._least and d not in segment:
                            self._move(segment, c, d)
                            return gain, (a, e, p, q, c, d)
        return 0.0, ()

    def _move(self, segment: list[int], c: int, d: int) -> None:
        """Put `segment` between the neighbours `c` and `d`, its first point beside `c`."""
        order = [point for point in self.order if point not in segment]
        at_c, at_d = order.index(c), order.index(d)
        forward = (at_c + 1) % len(order) == at_d
        at = at_d if forward else at_c
        self.order = order[:at] + (segment if forward else segment[::-1]) + order[at:]
        self._number(0, len(self.order))
