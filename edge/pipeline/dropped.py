"""How many images of a series the detector dropped itself, by readings of its counter (`edge.simplon.dropped`)."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

REMEMBERED = 256
"""Changes of the counter that are kept; within a series it only grows, so its last value is never forgotten."""


@dataclass(frozen=True)
class Reading:
    """What the counter said. Times are of the monotonic clock: before the question, after the answer."""

    source: str
    count: int  # images dropped since the detector was armed last
    series_uid: str | None  # the detector's series at that time; None: it does not say, or another one began meanwhile
    asked_ns: int
    answered_ns: int


class DroppedBook:
    """The readings of one source, and which series each belongs to. Bounded; used by one thread."""

    def __init__(self) -> None:
        self._runs: deque[tuple[Reading, Reading]] = deque(maxlen=REMEMBERED)  # first and last with the same count

    def take(self, reading: Reading) -> None:
        """Enter a reading; they come in the order in which they were asked for."""
        if self._runs:
            first, last = self._runs[-1]
            if (last.count, last.series_uid) == (reading.count, reading.series_uid):
                self._runs[-1] = (first, reading)
                return
        self._runs.append((reading, reading))

    def of(self, series_uid: str, since_ns: int, until_ns: int | None = None) -> int | None:
        """Images that the detector dropped of a series; None where no reading tells.

        Where the detector named the series, its readings are taken. A stream without unique ids (SIMPLON v1) names
        its series in our way; then the readings are taken that were asked for after `since_ns`, when the start
        message arrived, and answered before `until_ns`, when the next one did. The counter may have been reset
        in between by the next arm command, whose start message is still on its way: so the largest one counts.
        """
        named = [last.count for _, last in self._runs if last.series_uid == series_uid]
        if named:
            return max(named)
        return max(_of_one_series(self._between(since_ns, until_ns)), default=None)

    def _between(self, since_ns: int, until_ns: int | None) -> list[Reading]:
        return [
            last
            for first, last in self._runs
            if last.asked_ns >= since_ns and (until_ns is None or first.answered_ns <= until_ns)
        ]


def _of_one_series(readings: Iterable[Reading]) -> list[int]:
    """The counts of the series that the first reading is of."""
    readings = list(readings)
    return [reading.count for reading in readings if reading.series_uid == readings[0].series_uid]
