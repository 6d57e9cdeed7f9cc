"""How long an event loop did not come to what was due: the longest gap between the beats of a timer on it."""

import asyncio
import threading
import time
from types import TracebackType
from typing import Self

PERIOD_S = 0.005


class Heartbeat:
    """Beats on `loop`, which runs in another thread, for as long as the context lasts.

    Attributes:
        worst_s: longest time between two beats, of which PERIOD_S is the timer's own.
        worst_at_s: when it ended, of `time.perf_counter`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._last_s = 0.0
        self._stopped = threading.Event()
        self.worst_s = self.worst_at_s = 0.0

    def __enter__(self) -> Self:
        self._last_s = time.perf_counter()
        self._loop.call_soon_threadsafe(self._beat)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()

    def _beat(self) -> None:
        now = time.perf_counter()
        if now - self._last_s > self.worst_s:
            self.worst_s, self.worst_at_s = now - self._last_s, now
        self._last_s = now
        if not self._stopped.is_set():
            self._loop.call_later(PERIOD_S, self._beat)
