"""Where the messages of one source come from: what an earlier process left unfinished, then the socket.

What comes from the socket goes into the capture before anything else is done with it: whatever happens to this process
then, the message is there.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from edge.pipeline.totals import Totals
from streams.messages import Part
from streams.recording.segments import Damage, Mark, Message, Place, RecordingError
from streams.sockets import Receiving

log = logging.getLogger(__name__)

CLOSED = "closed"
"""Mark: the ledger closed this series; where a stream has no series of its own, another one begins behind it."""

SETTLED = "settled"
"""Mark: the results of this series are where they belong. `at` is the place of its first message. `open` are those of
which that cannot be said yet; `from` is the place of the first message of the oldest: a recovery begins there."""

KEEP_NS = 2_000_000
"""Time for which live messages are recorded before the recovery gets its turn again."""

REST_NS = 1_000_000_000
"""Time at the end for what has arrived and will not be served."""

TRIGGERED = "triggered"
"""Mark: so many `images` of this series were triggered, its controller said."""


class Recorder(Protocol):
    """A capture that is being written (`streams.recording.writer.CaptureWriter`)."""

    def append(self, parts: list[Part], received_ns: int) -> None: ...

    def mark(self, facts: Mapping[str, Any]) -> None: ...

    @property
    def place(self) -> Place: ...


class Received(msgspec.Struct, gc=False):
    """One message as it arrived."""

    parts: list[Part]
    received_ns: int  # wall clock, when it arrived first
    recovered: bool
    place: Place | None = None  # where it stands in the capture, or before


Found = Message | Mark | Damage


@dataclass(frozen=True)
class Recorded:
    """The capture of a source, and what of it is to be done again."""

    recorder: Recorder | None = None  # None: nothing is recorded
    unfinished: Iterable[Found] = ()  # of an earlier process, in order
    settled: frozenset[Place] = frozenset()  # where series in it begin that need nothing more
    follow: Callable[[Place, Place], Iterable[Found]] = lambda start, stop: ()  # reads what `recorder` took meanwhile


class Inlet:
    """Takes messages from the capture of an earlier process, and then from the socket.

    What arrives while the capture is gone through is recorded at once, so that nobody has to wait with it or to drop it
    (`keep`), and is read from there in its turn.

    Args:
        source: its name.
        socket: where live messages arrive.
        totals: counters.
        recorded: what of it is on disk.
    """

    def __init__(self, source: str, socket: Receiving, totals: Totals, recorded: Recorded | None = None) -> None:
        recorded = recorded or Recorded()
        self.socket = socket
        self.settled = recorded.settled
        self.recording = recorded.recorder is not None
        self.source = source
        self._totals = totals
        self._recorder = recorded.recorder
        self._follow = recorded.follow
        self._followed = self._recorder.place if self._recorder is not None else None
        self._following = False
        self._unfinished = iter(recorded.unfinished)
        self._unrecorded: deque[Received] = deque()  # arrived in a recovery, and the disk refused
        self._failing = False
        self._next = self._read_on()

    @property
    def recovering(self) -> bool:
        """Whether messages of the capture, or such as arrived meanwhile, are left."""
        return self._next is not None or bool(self._unrecorded)

    @property
    def keeping(self) -> bool:
        """Whether live messages are to be recorded now though they cannot be taken yet (`keep`)."""
        return self.recovering and self.recording and not self._failing

    @property
    def unread(self) -> Place | None:
        """Where what is left of the capture begins; None: nothing is."""
        return self._next.place if self._next is not None else None

    def receive(self) -> Received | Mark | None:
        """The next message, or what an earlier process noted here; None: nothing yet."""
        found = self._next
        if found is not None:
            recovered = not self._following
            self._next = self._read_on()
            if isinstance(found, Mark):
                return found
            self._totals.recovered[self.source] += recovered
            return Received(list(found.parts), found.received_ns, recovered, found.place)
        if self._unrecorded:
            return self._unrecorded.popleft()
        received = self._arrived()
        if received is not None:
            self._record(received)
        return received

    def keep(self) -> None:
        """Record what has arrived while the capture of an earlier process is gone through; it is handed out later."""
        until_ns = time.monotonic_ns() + KEEP_NS
        while self.keeping and time.monotonic_ns() < until_ns and (received := self._arrived()) is not None:
            if not self._record(received):
                self._unrecorded.append(received)

    def keep_rest(self) -> None:
        """At the end: what ZeroMQ has fetched ahead goes into the capture, for the next process to go on with."""
        until_ns = time.monotonic_ns() + REST_NS
        while self.recording and time.monotonic_ns() < until_ns and (received := self._arrived()) is not None:
            self._record(received)

    def _arrived(self) -> Received | None:
        place = self._recorder.place if self._recorder is not None else None
        parts = self.socket.receive()
        return None if parts is None else Received(list(parts), time.time_ns(), False, place)

    def _read_on(self) -> Message | Mark | None:
        """What comes next in the capture; damage in it is told and passed over."""
        while True:
            try:
                for found in self._unfinished:
                    if isinstance(found, Message) or (isinstance(found, Mark) and not self._following):
                        return found
                    if isinstance(found, Damage):
                        log.warning("source %s: %d bytes of the capture are damaged", self.source, found.length)
            except RecordingError as error:
                log.error("source %s: the rest of its capture cannot be recovered: %s", self.source, error)
            if self._recorder is None or self._followed is None or self._followed >= self._recorder.place:
                return None
            begin, self._followed, self._following = self._followed, self._recorder.place, True
            self._unfinished = iter(self._follow(begin, self._followed))

    def _record(self, received: Received) -> bool:
        """Whether it is in the capture now, or there is none."""
        if self._recorder is None:
            return True
        try:
            self._recorder.append(received.parts, received.received_ns)
            if self._failing:
                self._failing = False
                log.warning("source %s: recording goes on", self.source)
            return True
        except RecordingError as error:
            self._totals.not_recorded[self.source] += 1
            if not self._failing:
                self._failing = True
                log.error(
                    "source %s: not recorded: %s; frames are served all the same, but could not be recovered",
                    *(self.source, error),
                )
            return False

    def mark(self, facts: Mapping[str, Any]) -> None:
        """Note something behind the last message; plain types."""
        if self._recorder is None:
            return
        try:
            self._recorder.mark(facts)
        except RecordingError as error:
            log.warning(
                "source %s: capture not marked, so a recovery will do more than it needs: %s", self.source, error
            )
