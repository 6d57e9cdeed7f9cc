"""Judges series after series while the system runs, and removes the files of what is judged."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from edge.bench.chaos.detector import SOURCE, Sent
from edge.bench.chaos.judging import Judged, Kept, judge, read_kept
from edge.bench.chaos.rig import Rig
from edge.bench.chaos.table import row
from edge.results.errors import ResultFileError
from streams.recording.reader import read_marks
from streams.recording.segments import RecordingError

EVERY_S = 1.0
LOGGED_S = 60.0
"""After its end, a series is judged by what is there, be it settled or not."""

AFTERWARDS_S = 4.0
"""How long a series that is settled is left in peace: a subscriber may still be asking for its results."""


class Book(threading.Thread):
    """Every series that was sent is judged once, on every route; what remains is judged by `close`."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(name="book", daemon=True)
        self._rig = rig
        self._lock = threading.Lock()
        self._settled_s: dict[str, float] = {}  # when we saw that it was, by unique id of the series
        self.stopping = threading.Event()
        self.total = Judged()
        self.by_row: dict[str, Judged] = {}
        self.beyond: Counter[str] = Counter()  # lost by a reason that the table does not give, by row and reason
        self.series = 0
        self.verdicts: Counter[str] = Counter()
        self.unsettled = 0  # that had to be judged as they were

    def run(self) -> None:
        """See the class."""
        while not self.stopping.wait(EVERY_S):
            self.judge_settled()

    def judge_settled(self) -> None:
        """Judge what needs nothing more."""
        settled = self._settled()
        now = time.monotonic()
        for one in self._waiting():
            ended_s = one.ended_s or now
            if one.uid in settled:
                quiet = now - self._settled_s.setdefault(one.uid, now) > AFTERWARDS_S
                self._judge(one) if quiet else None
            elif now - ended_s > LOGGED_S:
                self.unsettled += 1
                self._judge(one)

    def wait(self, one: Sent, patience_s: float) -> Judged | None:
        """The verdict on a series that ended; None where it did not settle in time."""
        deadline = time.monotonic() + patience_s
        while one.number in self._rig.detector.series and time.monotonic() < deadline:
            time.sleep(0.05)
        return None if one.number in self._rig.detector.series else self.by_row.get(one.row)

    def close(self, patience_s: float) -> None:
        """Wait until all is settled, and judge what is left as it is."""
        deadline = time.monotonic() + patience_s
        while any(True for _ in self._waiting()) and time.monotonic() < deadline:
            time.sleep(0.2)
        self.stopping.set()
        self.join(10)
        for one in self._waiting():
            self.unsettled += 1
            self._judge(one)
        told = self._rig.listener.lost
        self.total.unaccounted += max(0, self.total.undelivered - told)

    def _waiting(self) -> Iterator[Sent]:
        for one in list(self._rig.detector.series.values()):
            if one.ended_s is not None:
                yield one

    def _settled(self) -> set[str]:
        capture = self._rig.seen(self._rig.data) / "captures" / SOURCE
        with suppress(RecordingError, OSError):
            return {str(mark.facts["settled"]) for mark in read_marks(capture) if "settled" in mark.facts}
        return set()

    def _judge(self, one: Sent) -> None:
        for route in self._rig.routes:
            place = (one.uid, route)
            listener = self._rig.listener
            paths = self._files(one, route)
            built = {path.stem for path in paths if path.suffix == ".h5"}
            try:
                kept = read_kept(
                    [path for path in paths if path.suffix == ".h5" or path.stem not in built],
                    one.shown,
                )
            except ResultFileError as error:
                kept = Kept(verdict=str(error))
            found = judge(
                f"series {one.number} on {route} ({one.row or 'no fault'})",
                one.images,
                kept,
                listener.delivered.get(place, {}),
                listener.wrong.pop(place, 0),
            )
            with self._lock:
                self.total.add(found)
                self.by_row.setdefault(one.row, Judged()).add(found)
                self.verdicts[kept.verdict] += 1
                allowed = row(one.row).losses if one.row else frozenset()
                self.beyond.update(
                    {f"{one.row or 'no fault'}: {why}": n for why, n in found.lost.items() if why not in allowed}
                )
            listener.forget(place)
            for path in paths:
                path.unlink(missing_ok=True)
        self.series += 1
        self._settled_s.pop(one.uid, None)
        self._rig.detector.series.pop(one.number, None)

    def _files(self, one: Sent, route: str) -> list[Path]:
        folder = self._rig.seen(self._rig.data) / "results"
        return sorted(folder.glob(f"[0-9]*-series-{one.number}-{route}-*.*"))  # not what is being built
