"""`edge bench overload`: one route takes a fifth of what arrives and drops the rest; do the others get everything?

Theory of operation
-------------------
One source, two routes: `identity`, which waits for nobody else and drops nothing, and `ptycho`, a real model that is
slower than the detector, with `when_full = "drop_oldest"`. First the sender sends as fast as it can, and then at five
times the rate that the slow route took, to learn that rate; then it sends at five times the rate that it took then.
At the end the accounts of all series have to add up, on both routes, and what was dropped has to have its reason.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge.bench.sizing.accounts import Books
from edge.bench.sizing.feeder import Feeder
from edge.bench.sizing.feeding import Order
from edge.bench.sizing.listener import Listener
from edge.bench.sizing.listening import Heard, Watch
from edge.bench.sizing.rig import IDENTITY, RouteText, Served, Setup, serve, triton
from edge.bench.sizing.taken import NOTHING, Held, left_over
from edge.bench.sizing.wire import Case

SLOTS = 256
"""That the slow route may hold: what waits in them at the end of a series is inferred, too."""

SLOW = RouteText("ptycho", "ptycho", settings=f'when_full = "drop_oldest"\nslots = {SLOTS}')
TIMES = 5
"""How much faster images come than the slow route takes them."""

SERIES = 50_000
CALIBRATION = 8_000
"""Images that are sent as fast as they are taken."""

CALIBRATION_S = 4.0
SERIES_S = 300.0
LEFT_S = 60.0


@dataclass
class Measured:
    """What came of it."""

    slow_hz: float = 0.0  # images a second that the slow route took while the rate was sought
    rate_hz: float = 0.0  # of the sender
    books: dict[str, Books] = field(default_factory=lambda: {IDENTITY.name: Books(), SLOW.name: Books()})
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)  # of the last series, by route
    seconds: float = 0.0
    held: Held = NOTHING


def measure(folder: Path, frames: int, announced: Path | None, hear: Callable[[int], None]) -> Measured:
    """Send `frames` images; `hear` is told how many were sent.

    Raises:
        ChildError: something ended by itself, or nothing came through any more.
    """
    measured = Measured()
    setup = Setup(routes=(IDENTITY, SLOW))
    case = Case("stream-v2", (128, 128), images=min(SERIES, frames))
    with triton(setup, folder, announced) as file, serve(setup, folder, file) as served:
        watch = Watch(served.handshake, served.pid, 0, case, checked=101)
        with Feeder() as feeder, Listener(watch) as listener:
            sender = _Sender(feeder, listener, served)
            measured.slow_hz, measured.rate_hz = _rate_hz(sender, frames)
            began = time.monotonic()
            for sent, images, ends in sender.series(case, frames, measured.rate_hz):
                for route, heard in ends.items():
                    measured.books[route].enter(heard, images)
                    measured.latency_ms[route] = heard.latency_ms
                hear(sent)
            measured.seconds = time.monotonic() - began
        measured.held = left_over(served.metrics, LEFT_S)
    return measured


def _rate_hz(sender: "_Sender", frames: int) -> tuple[float, float]:
    """What the slow route takes, and what is sent: learnt twice, the second time under the conditions of the run."""
    case = Case("stream-v2", (128, 128), images=min(CALIBRATION, frames))
    slow_hz = sender.taken_hz(case, None)
    case = Case("stream-v2", (128, 128), images=max(20, min(frames, round(TIMES * slow_hz * CALIBRATION_S))))
    slow_hz = sender.taken_hz(case, TIMES * slow_hz)
    return slow_hz, TIMES * slow_hz


class _Sender:
    """Sends series, one after the other, and waits for their ends on both routes."""

    def __init__(self, feeder: Feeder, listener: Listener, served: Served) -> None:
        self._feeder, self._listener, self._served = feeder, listener, served
        self._number = 0

    def taken_hz(self, case: Case, rate_hz: float | None) -> float:
        """Images a second that the slow route took of a series: those that it inferred, by the time from the first of
        its results to the last."""
        heard = self._send(case, rate_hz)[SLOW.name]
        return max(1.0, heard.timed / heard.wall_s)

    def series(self, case: Case, frames: int, rate_hz: float) -> Iterator[tuple[int, int, dict[str, Heard]]]:
        """Send `frames` images; yields how many were sent, those of the last series, and its ends by route."""
        sent = 0
        while sent < frames:
            images = min(case.images, frames - sent)
            ends = self._send(Case(case.protocol, case.shape, images=images), rate_hz)
            sent += images
            yield sent, images, ends

    def _send(self, case: Case, rate_hz: float | None) -> dict[str, Heard]:
        self._number += 1
        self._feeder.order(Order(case, self._number, self._served.frames, rate_hz=rate_hz))
        self._feeder.sent()
        ends: dict[str, Heard] = {}
        while len(ends) < 2:
            heard = self._listener.heard(SERIES_S)
            ends[heard.route] = heard
        return ends
