"""The process that subscribes: it takes every result, checks some, and tells of every series what became of it.

    python -m edge.bench.sizing.listening WATCH

`WATCH` is JSON. First it says that it has subscribed, then one line of JSON for each end of a series on a route. A
process of its own, so that what it costs is neither the sender's nor the data plane's. It ends with its standard input.
"""

import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from edge.bench.sizing.mix import case_of, order_of
from edge.bench.sizing.proc import cpu_s
from edge.bench.sizing.wire import Case
from edge.models.identity import checksum
from streams.codecs.results import Result, SeriesEnded
from streams.sockets import context
from streams.subscriber import Subscriber

ANSWER_S = 30.0
TURN_S = 1.0


class Watch(msgspec.Struct, frozen=True):
    """What to look at."""

    handshake: str
    pid: int  # whose CPU time is read
    warm_up: int = 0  # images of a series that come before what is timed
    case: Case | None = None  # of which the checksums are known; None: nothing is checked
    checked: int = 1  # each n-th image is
    faults: bool = False  # the series are those of a mix with faults (`edge.bench.sizing.mix`)


class Heard(msgspec.Struct, frozen=True):
    """One series on one route."""

    route: str
    series_id: int
    series_uid: str
    verdict: str
    reason: str
    arrivals: dict[str, int | None]
    account: dict[str, Any]
    latency_ms: dict[str, float]
    results: int  # handed out
    timed: int  # of them, after the warm-up
    cpu_s: float  # of the process, from the first to the last of those
    wall_s: float
    checked: int
    wrong: int
    lost: int  # results that the subscriber missed, since it began
    repeats: int


@dataclass
class _Tally:
    """What came of a series on a route."""

    results: int = 0
    first: tuple[int, float, float] | None = None  # results before, CPU time, clock
    checked: int = 0
    wrong: int = 0


class Listening:
    """Keeps count."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self._expected: dict[tuple[Case, int], list[int]] = {}

    def result(self, notice: Result, arrays: Mapping[str, np.ndarray]) -> None:
        """Count one result."""
        tally = self._tallies.setdefault((notice.route, notice.series_uid), _Tally())
        tally.results += 1
        if tally.first is None and notice.image_id >= self._watch.warm_up:
            tally.first = (tally.results, cpu_s(self._watch.pid), time.monotonic())
        case = self._watch.case
        if case is not None and "checksum" in arrays and notice.image_id % self._watch.checked == 0:
            made = case_of(order_of(case, notice.series_id, self._watch.faults), notice.image_id)
            tally.checked += 1
            tally.wrong += arrays["checksum"].tolist() != self._checksum(made, notice.image_id)

    def _checksum(self, case: Case, image_id: int) -> list[int]:
        key = (case, case.number_of(image_id))
        if key not in self._expected:
            self._expected[key] = checksum(case.picture(image_id)).tolist()
        return self._expected[key]

    def ended(self, notice: SeriesEnded, lost: int, repeats: int) -> Heard:
        """All that was counted of a series."""
        tally = self._tallies.pop((notice.route, notice.series_uid), _Tally())
        first = tally.first or (tally.results, cpu_s(self._watch.pid), time.monotonic())
        return Heard(
            route=notice.route,
            series_id=notice.series_id,
            series_uid=notice.series_uid,
            verdict=notice.verdict,
            reason=notice.reason,
            arrivals=notice.arrivals,
            account=notice.account,
            latency_ms=notice.latency_ms,
            results=tally.results,
            timed=tally.results - first[0],
            cpu_s=cpu_s(self._watch.pid) - first[1],
            wall_s=time.monotonic() - first[2],
            checked=tally.checked,
            wrong=tally.wrong,
            lost=lost,
            repeats=repeats,
        )


def _say(told: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Listen until standard input closes."""
    watch = msgspec.json.decode(sys.argv[1], type=Watch)
    stopping = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stopping.set()), daemon=True).start()
    listening = Listening(watch)
    with context() as ctx, Subscriber(ctx, watch.handshake, timeout_s=ANSWER_S) as subscriber:
        _say({"routes": subscriber.routes})
        while not stopping.is_set():
            received = subscriber.receive(TURN_S)
            if received is None:
                continue
            notice, arrays = received
            if isinstance(notice, Result):
                listening.result(notice, arrays)
            elif isinstance(notice, SeriesEnded):
                _say(listening.ended(notice, subscriber.lost, subscriber.repeats))


if __name__ == "__main__":
    main()
