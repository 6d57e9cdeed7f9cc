"""The counters of all workers, of those that have ended, too: a counter never falls. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from edge.pipeline.totals import Totals
from edge.workers.words import Counts


class Counting:
    """Keeps what each process told last."""

    def __init__(self) -> None:
        self._told: dict[tuple[int, int], Counts] = {}

    def tell(self, worker: int, life: int, counts: Counts) -> None:
        """A process told its counters; empty: they were not due."""
        if counts:
            self._told[worker, life] = counts
            self._fold(worker, life)

    def _fold(self, worker: int, life: int) -> None:
        """What processes of this worker that have ended told is kept as one."""
        ended = [key for key in self._told if key[0] == worker and key[1] < life]
        if len(ended) > 1:
            sums = _summed(self._told.pop(key) for key in ended)
            self._told[worker, 0] = {name: list(counter.items()) for name, counter in sums.items()}

    def enter(self, totals: Totals) -> None:
        """Replace the counters of `totals` that workers tell."""
        for name, counter in _summed(self._told.values()).items():
            setattr(totals, name, Counter({_key(labels): int(value) for labels, value in counter.items()}))


def _key(labels: tuple[str, ...]) -> Any:
    return labels[0] if len(labels) == 1 else labels


def _summed(told: Iterable[Counts]) -> dict[str, Counter[tuple[str, ...]]]:
    sums: dict[str, Counter[tuple[str, ...]]] = {}
    for counts in told:
        for name, rows in counts.items():
            counter = sums.setdefault(name, Counter())
            for labels, value in rows:
                counter[tuple(labels)] += int(value)
    return sums
