"""The detector of the bench: replays pictures series after series, and tells the data plane how many it triggered."""

import contextlib
import queue
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from edge.bench.chaos.frames import Pictures, Shown
from streams import sockets
from streams.codecs import ENCODERS
from streams.controller import Controller
from streams.messages import Acquisition, Part
from streams.subscriber import NoAnswer

SOURCE = "det"
PROTOCOL = "stream-v2"
ARMED = 32_768
"""Images that a series is armed for: more than are ever triggered. Only the controller knows how many those were."""

SEND_MS = 100
TOLD_S = 0.5
"""How long the end of a series waits for the data plane to take the number in; who told it tries on."""

TELL_AGAIN_S = 0.1
TELL_UNTIL_S = 60.0
Ending = Literal["end", "abort", "restart"]
"""As it should; without the word of the controller, as an abort; without a word at all, the next one begins."""


@dataclass
class Sent:
    """One series."""

    number: int
    uid: str
    shown: Shown
    sent_s: list[float] = field(default_factory=list)  # monotonic, by image id
    row: str = ""  # of the table, that was under way meanwhile; there is never more than one
    ending: Ending = "end"
    ended_s: float | None = None  # monotonic; None: goes on
    told: bool = False

    @property
    def images(self) -> int:
        """So far."""
        return len(self.sent_s)


class Detector(threading.Thread):
    """Sends at `rate_hz` until it is stopped; a slow receiver delays it, and nothing is made up for afterwards."""

    def __init__(self, ctx: sockets.Context, address: str, pictures: Pictures, handshake: str) -> None:
        super().__init__(name="detector", daemon=True)
        self._socket = sockets.push(ctx, high_water_mark=4)
        self.address = self._socket.bind(address)
        self._pictures = pictures
        self._next: Ending | None = None
        self._teller = Teller(ctx, handshake)
        self.rate_hz: float | None = 20.0  # None: as fast as they are taken
        self.longest_s = 2.0  # of a series
        self.stopping = threading.Event()
        self.sending = threading.Event()  # cleared: no new series begins
        self.series: dict[int, Sent] = {}
        self.current: Sent | None = None
        self.images = 0
        self.large = False  # the next series
        self._row = ""

    def run(self) -> None:
        """See the class."""
        self._teller.start()
        number = 0
        while not self.stopping.is_set():
            if not self.sending.wait(0.1):
                continue
            number += 1
            self._send(number)
        self._teller.stopping.set()
        self._teller.join(5)
        self._socket.close(1000)

    def end_series(self, ending: Ending = "end") -> None:
        """End the series at hand soon."""
        self._next = ending

    def under(self, row: str) -> None:
        """What is sent from now on is sent under this row of the table; "" for none, which begins with a new series."""
        self._row = row
        if row and self.current is not None:
            self.current.row = row
        if not row:
            self.end_series()

    def hold(self, patience_s: float = 5.0) -> bool:
        """End the series at hand and begin none; whether it ended in time."""
        self.sending.clear()
        self.end_series()
        deadline = time.monotonic() + patience_s
        while self.current is not None and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.current is None

    def _send(self, number: int) -> None:
        now = datetime.now(UTC).isoformat()
        shown = self._pictures.large if self.large else self._pictures.plain
        shape = shown.images[0].shape
        one = Sent(number, f"chaos-{number}-{time.time_ns():x}", shown, row=self._row)
        acquisition = Acquisition(number, one.uid, now, ARMED, (shape[0], shape[1]), "uint16")
        encoder = ENCODERS[PROTOCOL](acquisition)
        self._next = None
        self.series[number], self.current = one, one
        began = due = time.monotonic()
        whole = all(self._deliver(parts) for parts in encoder.start())
        while whole and self._next is None and time.monotonic() < began + self.longest_s:
            due = self._pace(due)
            picture = shown.images[one.images % len(shown.images)]
            if not self._deliver(encoder.image(one.images, dict.fromkeys(acquisition.channels, picture))):
                break
            one.sent_s.append(time.monotonic())
            self.images += 1
        one.ending = self._next or "end"
        if one.ending != "restart":
            if one.ending == "end":
                self._teller.tell(one)
            for parts in encoder.end():
                self._deliver(parts)
        one.ended_s, self.current = time.monotonic(), None

    def _pace(self, due: float) -> float:
        if self.rate_hz is None:
            return time.monotonic()
        due = max(due + 1 / self.rate_hz, time.monotonic() - 1 / self.rate_hz)
        left = due - time.monotonic()
        if left > 0:
            time.sleep(left)
        return due

    def _deliver(self, parts: list[Part]) -> bool:
        while not self.stopping.is_set():
            if self._socket.send(parts, SEND_MS):
                return True
        return False


class Teller(threading.Thread):
    """Tells the data plane how many images were triggered, as whoever controls the detector does, until it takes it in.

    Where the start of a series was lost, this is how its account learns what is missing at its end.
    """

    def __init__(self, ctx: sockets.Context, handshake: str) -> None:
        super().__init__(name="teller", daemon=True)
        self._ctx, self._address = ctx, handshake
        self._asked: queue.SimpleQueue[tuple[Sent, threading.Event]] = queue.SimpleQueue()
        self.stopping = threading.Event()

    def tell(self, one: Sent) -> None:
        """Returns when it is told, or after `TOLD_S`."""
        done = threading.Event()
        self._asked.put((one, done))
        done.wait(TOLD_S)

    def run(self) -> None:
        """See the class."""
        waiting: list[tuple[Sent, threading.Event, float]] = []
        with Controller(self._ctx, self._address, timeout_s=1.0) as controller:
            while not self.stopping.is_set():
                with contextlib.suppress(queue.Empty):
                    one, done = self._asked.get(timeout=TELL_AGAIN_S)
                    waiting.append((one, done, time.monotonic() + TELL_UNTIL_S))
                for one, done, _ in waiting:
                    with contextlib.suppress(NoAnswer):
                        one.told = controller.triggered(SOURCE, one.number, one.images, one.uid)
                    if one.told:
                        done.set()
                waiting = [each for each in waiting if not each[0].told and time.monotonic() < each[2]]
