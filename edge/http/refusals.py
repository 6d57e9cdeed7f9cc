"""Who was refused and why: counted by reason, and logged so that a flood does not fill the log."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Literal, TypeAlias

from edge.http.tokens import Refused

log = logging.getLogger(__name__)

Reason: TypeAlias = Literal["too_large", "malformed", "too_many_connections", "too_slow", "tls"] | Refused

LOG_EVERY_S = 10.0


class Refusals:
    """`counts` is written by the server's threads and may be copied by any. One line a reason in `LOG_EVERY_S`."""

    def __init__(self, counts: Counter[str] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts = Counter[str]() if counts is None else counts
        self._clock = clock
        self._lock = threading.Lock()
        self._logged_at: dict[str, float] = {}
        self._unlogged = Counter[str]()

    def add(self, reason: Reason, peer: str, text: str) -> None:
        """`text` must hold nothing secret."""
        with self._lock:
            self.counts[reason] += 1
            now = self._clock()
            if now - self._logged_at.get(reason, -LOG_EVERY_S) < LOG_EVERY_S:
                self._unlogged[reason] += 1
                return
            self._logged_at[reason] = now
            more = self._unlogged.pop(reason, 0)
        log.warning("HTTP: refused %s: %s%s", peer, text, f" ({more} more since the last such line)" if more else "")
