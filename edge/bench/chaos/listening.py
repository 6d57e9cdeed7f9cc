"""Who listens to the results: a subscriber in this process, which is judged, and one in a process of its own."""

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from edge.bench.chaos.detector import Sent
from streams import sockets
from streams.codecs.results import Result, SeriesEnded
from streams.subscriber import NoAnswer, Subscriber

Place: TypeAlias = tuple[str, str]
"""(unique id of the series, route)"""


class Listener(threading.Thread):
    """Takes what a `Subscriber` hands out, through all restarts of the sender."""

    def __init__(self, ctx: sockets.Context, address: str, series: Callable[[int], Sent | None]) -> None:
        super().__init__(name="listener", daemon=True)
        self._ctx, self._address, self._series = ctx, address, series
        self.stopping = threading.Event()
        self.subscribed = threading.Event()
        self.delivered: dict[Place, Counter[int]] = {}
        self.wrong: Counter[Place] = Counter()
        self.ended: dict[Place, SeriesEnded] = {}
        self.newest_s: dict[str, float] = {}  # when the newest image with a result was sent, by route
        self.results = self.lost = self.repeats = 0

    def run(self) -> None:
        """See the class."""
        while not self.stopping.is_set():
            try:
                subscriber = Subscriber(self._ctx, self._address, timeout_s=1.0)
                break
            except NoAnswer:
                continue
        else:
            return
        self.subscribed.set()
        with subscriber:
            while not self.stopping.is_set():
                received = subscriber.receive(0.2)
                if received is not None:
                    self._take(*received)
                self.lost, self.repeats = subscriber.lost, subscriber.repeats

    def seen_after(self, moment_s: float, routes: Sequence[str]) -> bool:
        """Whether every route gave a result of an image that was sent after `moment_s`."""
        return all(self.newest_s.get(route, 0.0) > moment_s for route in routes)

    def forget(self, place: Place) -> None:
        """It is judged."""
        self.delivered.pop(place, None)
        self.ended.pop(place, None)

    def _take(self, notice: Any, arrays: Any) -> None:
        if isinstance(notice, SeriesEnded):
            self.ended[notice.series_uid, notice.route] = notice
        if not isinstance(notice, Result):
            return
        self.results += 1
        place = (notice.series_uid, notice.route)
        self.delivered.setdefault(place, Counter())[notice.image_id] += 1
        one = self._series(notice.series_id)
        if one is None or notice.image_id >= one.images:  # nobody sent it: the judge will say so
            return
        if "checksum" in arrays:
            self.wrong[place] += tuple(map(int, arrays["checksum"])) != one.shown.checksum(notice.image_id)
        self.newest_s[notice.route] = max(one.sent_s[notice.image_id], self.newest_s.get(notice.route, 0.0))


class SecondSubscriber:
    """`edge.bench.chaos.second` in a process of its own, which may be stopped and killed."""

    def __init__(self, address: str, log: Path) -> None:
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "edge.bench.chaos.second", address],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        self.newest: dict[str, tuple[int, int]] = {}  # (series, image) by route
        self.results: dict[Place, int] = {}  # of series that ended
        self.lost = 0
        self.subscribed = threading.Event()
        threading.Thread(target=self._read, name="second", daemon=True).start()

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait(10)
        if self.process.stdin is not None:
            self.process.stdin.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as said:
            for line in said:
                told = json.loads(line)
                if "ended" in told:
                    self.results[told["ended"], told["route"]] = told["results"]
                self.newest |= {route: (at[0], at[1]) for route, at in told.get("newest", {}).items()}
                self.lost = told.get("lost", self.lost)
                self.subscribed.set()
