"""Stands between a detector and its file writer, and gives us a copy.

A detector that PUSHes gives each message to one receiver: a second one beside the file writer would steal every other
image. So one process receives, and passes on:

* The writer's copy first, byte for byte, never dropped. While the writer does not take a message, the next one is not
  read, so the detector sees what it would see without us: a receiver that is slow, or away.
* Ours second, where it can leave: what does not leave within `Copies.max_age_s`, or finds too much before it, is
  dropped and counted. Nothing that happens on that side is waited for.

Nothing is known here of what the messages mean. So a copy that connects in the middle of a series gets the rest of it
without its start: what begins before it came is not kept for it.

`Copies` is pure; `Tee` works on sockets of `streams.sockets` or their doubles.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from streams.sockets import size

log = logging.getLogger(__name__)

PART_BYTES = 8192
"""Charged for each part beside its bytes: ZeroMQ keeps a short part in the receive buffer in which it came."""

NOTICE_S = 1.0
"""A writer that waits so long is spoken of; copies that leave so long without a drop end a run of drops."""

POLL_MS = 200
"""Longest single wait, so that time limits are kept."""

QUIET_MS = 20
"""A detector that sends nothing for so long has paused."""

RETRY_MS = 100
"""Pause after an unexpected error."""


class Port(Protocol):
    """What `Tee` needs of a `streams.sockets.Relay`."""

    def take(self) -> list[Any] | None: ...

    def give(self, message: Sequence[Any]) -> bool: ...


@dataclass
class Counts:
    """What became of the messages; written by one thread, read by others.

    received = written + (1 at hand, or 0), written = copied + dropped + waiting copies.
    """

    received: int = 0
    received_bytes: int = 0
    written: int = 0  # handed to the writer's connection
    copied: int = 0  # handed to the copy's connection
    dropped: int = 0  # copies that did not leave
    drop_runs: int = 0  # runs of drops with less than NOTICE_S between them
    writer_wait_s: float = 0.0  # for which messages were held because the writer did not take them
    writer_stalls: int = 0  # of NOTICE_S or longer
    writer_stalled: bool = False  # at present
    errors: int = 0  # unexpected ones, after which it went on

    def as_dict(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self)


class Copies:
    """Copies that are to leave, in the order of arrival; bounded in bytes and in time.

    Args:
        max_bytes: of all that wait; a copy for which there is no room is dropped.
        max_age_s: a copy that has waited longer is dropped.
    """

    def __init__(self, counts: Counts, max_bytes: int, max_age_s: float = 1.0) -> None:
        self._counts, self._max_bytes, self._max_age_s = counts, max_bytes, max_age_s
        self._waiting: deque[tuple[float, int, Sequence[Any]]] = deque()  # since when, bytes, message
        self._bytes = 0
        self._last_drop: float | None = None  # of the present run
        self._run = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, message: Sequence[Any], nbytes: int, now: float) -> None:
        """A message that the writer has."""
        nbytes += PART_BYTES * len(message)
        if self._bytes + nbytes > self._max_bytes:
            self._drop(now)
            return
        self._waiting.append((now, nbytes, message))
        self._bytes += nbytes

    def flush(self, give: Callable[[Sequence[Any]], bool], now: float) -> None:
        """Give away what is taken, drop what is too old."""
        while self._waiting:
            since, nbytes, message = self._waiting[0]
            if give(message):
                self._counts.copied += 1
            elif now - since > self._max_age_s:
                self._drop(now)
            else:
                break
            self._waiting.popleft()
            self._bytes -= nbytes
        if self._last_drop is not None and now - self._last_drop > NOTICE_S:
            log.info("copies leave again; %d were dropped", self._run)
            self._last_drop, self._run = None, 0

    def discard(self, now: float) -> None:
        """The oldest one cannot be sent."""
        if self._waiting:
            self._bytes -= self._waiting.popleft()[1]
            self._drop(now)

    def abandon(self) -> None:
        """What waits is dropped."""
        self._counts.dropped += len(self._waiting)
        self._waiting.clear()
        self._bytes = 0

    def _drop(self, now: float) -> None:
        if self._last_drop is None:
            self._counts.drop_runs += 1
            log.warning("copies are dropped: nobody takes them, or not fast enough; the writer gets everything")
        self._last_drop = now
        self._run += 1
        self._counts.dropped += 1


class Tee:
    """Passes messages on until it is stopped.

    Args:
        source, writer, copy: where messages come from, who must have them, who may have them.
        wait: (taking, giving, timeout_ms): returns when one is ready, the time is over, or `stop` was called.
    """

    def __init__(
        self,
        source: Port,
        writer: Port,
        copy: Port,
        wait: Callable[[Sequence[Any], Sequence[Any], int], None],
        copy_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = Counts()
        self._source, self._writer, self._copy = source, writer, copy
        self._wait, self._clock = wait, clock
        self._copies = Copies(self.counts, copy_bytes)
        self._at_hand: list[Any] | None = None  # received, and not yet the writer's
        self._held_since: float | None = None  # that it waits for the writer
        self._stopping = False

    def stop(self) -> None:
        """Ask it to return once nothing that has arrived is left; safe in a signal handler."""
        self._stopping = True

    def run(self, patience_s: float) -> int:
        """Pass on until stopped, then until the detector pauses for QUIET_MS, which may take `patience_s` at most.

        Returns:
            How many messages it holds that the writer did not take: 0 or 1.
        """
        while not self._stopping:
            self._turn(POLL_MS)
        deadline = self._clock() + patience_s
        while self._turn(QUIET_MS) and self._clock() < deadline:
            pass
        self._copies.abandon()
        return int(self._at_hand is not None)

    def _turn(self, idle_ms: int) -> bool:
        """One step, which waits for `idle_ms` at most; whether there was, or may be, something to pass on."""
        try:
            self._at_hand = self._at_hand or self._receive(idle_ms)
            busy = self._at_hand is not None
            if self._at_hand is not None:
                self._serve_writer(self._at_hand)
        except Exception:  # noqa: BLE001  the top of a process that does not end while a detector runs
            self._unexpected()
            self._wait([], [], RETRY_MS)
            busy = True
        try:
            self._copies.flush(self._copy.give, self._clock())
        except Exception:  # noqa: BLE001  nothing on that side may reach the writer
            self._unexpected()
            self._copies.discard(self._clock())
        return busy

    def _receive(self, idle_ms: int) -> list[Any] | None:
        message = self._source.take()
        if message is None:
            self._wait([self._source], [self._copy] if len(self._copies) else [], idle_ms)
            message = self._source.take()
        if message is not None:
            self.counts.received += 1
            self.counts.received_bytes += size(message)
        return message

    def _serve_writer(self, message: list[Any]) -> None:
        if self._writer.give(message):
            self._released(self._clock())
            self.counts.written += 1
            self._at_hand = None
            self._copies.offer(message, size(message), self._clock())
            return
        began = self._clock()
        if self._held_since is None:
            self._held_since = began
        self._wait([], [self._writer, self._copy] if len(self._copies) else [self._writer], POLL_MS)
        now = self._clock()
        self.counts.writer_wait_s += now - began
        if not self.counts.writer_stalled and now - self._held_since >= NOTICE_S:
            self.counts.writer_stalled = True
            self.counts.writer_stalls += 1
            log.warning("the writer takes nothing: nothing more is read from the detector until it does")

    def _released(self, now: float) -> None:
        if self.counts.writer_stalled and self._held_since is not None:
            log.info("the writer takes messages again, after %.1f s", now - self._held_since)
        self._held_since, self.counts.writer_stalled = None, False

    def _unexpected(self) -> None:
        self.counts.errors += 1
        if self.counts.errors == 1:
            log.exception("unexpected error; it goes on, and further ones are counted only")
