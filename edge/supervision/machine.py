"""The life of one service as a state machine. Pure: the clock is handed in, processes are somebody else's.

Theory of operation. A service is in one of seven states. Events come from three sides: from its process (it says that
it is ready, beats, says that it stops, ends), from the clock (its time in this state is over), and from those who
supervise (what it needs is ready; stop; stop at once). `TABLE` says for each state and event which state follows
and what has to be done to the process. What is not in the table does not change anything: words of a process that
were on their way when its state changed.

A process exists in the states starting, ready and stopping, and in no other; `START` is ordered only from waiting.
So there are never two processes of a service. Each state with a process has an end in time, but for a service that
is ready and need not beat.

An end of the process is one of three events: ENDED, and it is started anew; OVER, nobody wants it any more;
BROKEN, no new start would mend it (a wrong command line, an unusable configuration, at the very first start).
"""

import os
import signal
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

KILLED_S = 5.0
"""How long a process that was killed may take to be gone; the kernel may hold it for its input and output."""
BROKEN_CODES = frozenset({2, os.EX_CONFIG})
"""Exit codes that no new start mends: a wrong command line (click), a configuration that cannot be used."""


class State(StrEnum):
    WAITING = "waiting"  # for what it needs
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    BACKING_OFF = "backing-off"
    STOPPED = "stopped"
    FAILED = "failed"


class Event(Enum):
    NEEDS_MET = auto()
    SAID_READY = auto()
    BEAT = auto()
    SAID_STOPPING = auto()
    ENDED = auto()
    OVER = auto()
    BROKEN = auto()
    LATE = auto()
    GIVEN_UP = auto()  # it was killed, is not wanted, and is still there
    STOP = auto()
    STOP_NOW = auto()


class Order(Enum):
    """What has to be done to the process."""

    START = auto()
    TERMINATE = auto()
    KILL = auto()


TABLE: dict[tuple[State, Event], tuple[State, Order | None]] = {
    (State.WAITING, Event.NEEDS_MET): (State.STARTING, Order.START),
    (State.WAITING, Event.STOP): (State.STOPPED, None),
    (State.WAITING, Event.STOP_NOW): (State.STOPPED, None),
    (State.STARTING, Event.SAID_READY): (State.READY, None),
    (State.STARTING, Event.SAID_STOPPING): (State.STOPPING, None),
    (State.STARTING, Event.ENDED): (State.BACKING_OFF, None),
    (State.STARTING, Event.BROKEN): (State.FAILED, None),
    (State.STARTING, Event.LATE): (State.STOPPING, Order.KILL),
    (State.STARTING, Event.STOP): (State.STOPPING, Order.TERMINATE),
    (State.STARTING, Event.STOP_NOW): (State.STOPPING, Order.KILL),
    (State.READY, Event.BEAT): (State.READY, None),
    (State.READY, Event.SAID_STOPPING): (State.STOPPING, None),
    (State.READY, Event.ENDED): (State.BACKING_OFF, None),
    (State.READY, Event.LATE): (State.STOPPING, Order.KILL),
    (State.READY, Event.STOP): (State.STOPPING, Order.TERMINATE),
    (State.READY, Event.STOP_NOW): (State.STOPPING, Order.KILL),
    (State.STOPPING, Event.ENDED): (State.BACKING_OFF, None),
    (State.STOPPING, Event.OVER): (State.STOPPED, None),
    (State.STOPPING, Event.BROKEN): (State.FAILED, None),
    (State.STOPPING, Event.LATE): (State.STOPPING, Order.KILL),
    (State.STOPPING, Event.GIVEN_UP): (State.FAILED, None),
    (State.STOPPING, Event.STOP): (State.STOPPING, None),  # it does: a second signal would cut that short
    (State.STOPPING, Event.STOP_NOW): (State.STOPPING, Order.KILL),
    (State.BACKING_OFF, Event.LATE): (State.WAITING, None),
    (State.BACKING_OFF, Event.STOP): (State.STOPPED, None),
    (State.BACKING_OFF, Event.STOP_NOW): (State.STOPPED, None),
}

WITH_PROCESS = frozenset({State.STARTING, State.READY, State.STOPPING})
FINAL = frozenset({State.STOPPED, State.FAILED})


@dataclass(frozen=True)
class Service:
    """What runs, and how long it may take. Times are seconds."""

    name: str
    argv: tuple[str, ...]
    needs: tuple[str, ...] = ()
    """Services that must be ready whenever this one is started."""
    start_s: float = 60.0
    """From its start until it says that it is ready."""
    watchdog_s: float = 30.0
    """The longest time between beats while it is ready; 0: it need not beat."""
    patience_s: float = 10.0
    """From SIGTERM to its end."""


@dataclass(frozen=True)
class Backoff:
    """How long to wait before a service is started again: doubles with each end, in seconds."""

    first_s: float = 0.2
    longest_s: float = 10.0
    stable_s: float = 60.0
    """A service that was ready for this long starts the schedule anew; a part of it takes back its share."""

    @property
    def steps(self) -> int:
        """Doublings from the first delay to the longest."""
        return max(0, int(self.longest_s / self.first_s).bit_length())

    def delay_s(self, ends: int) -> float:
        """Before the start after `ends` (from 1) ends."""
        return min(self.first_s * 2.0 ** min(ends - 1, self.steps), self.longest_s)

    def ends_after(self, ends: int, ready_s: float) -> int:
        """Ends in a row, one more for a process that was ready for `ready_s`."""
        forgiven = int(ready_s / self.stable_s * self.steps)
        return max(0, min(ends, self.steps) - forgiven) + 1


@dataclass
class Life:
    """One service at present. `take` is the only thing that changes its state."""

    service: Service
    since: float
    """When the present state began, on the clock that is handed in."""
    backoff: Backoff = Backoff()
    state: State = State.WAITING
    deadline: float | None = None
    reason: str = ""
    """Why it is in this state, in words."""
    wanted: bool = True
    ever_ready: bool = False
    killed: bool = False
    starts: int = 0
    ends: int = 0  # in a row, see Backoff
    last_end: str = ""
    _ready_at: float | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.reason = self.reason or self._waits

    @property
    def restarts(self) -> int:
        """Starts after the first."""
        return max(0, self.starts - 1)

    @property
    def _waits(self) -> str:
        return f"waits for {' and '.join(self.service.needs) or 'its turn'}"

    def take(self, event: Event, now: float, reason: str = "") -> Order | None:
        """Enter what happened; returns what has to be done to the process."""
        if (self.state, event) not in TABLE:
            return None
        before, spent_s = self.state, now - self.since
        self.state, order = TABLE[before, event]
        if event in (Event.STOP, Event.STOP_NOW):
            self.wanted = False
        if order is Order.KILL:
            self.killed = True
        if self.state is not before:
            self.since = now
        if event is Event.BEAT:
            self.deadline = self._watchdog(now)
        else:
            self.reason = self._enter(event, now, spent_s, reason)
        return order

    def ended(self, code: int | None, now: float, words: str = "") -> None:
        """Its process is gone: exit status, negative for a signal, None where it could not be executed at all."""
        text = exit_text(code) + (f": {words}" if words else "")
        if not self.killed:
            self.last_end = text  # else it says what it was killed for
        broken = not self.ever_ready and code in BROKEN_CODES
        event = Event.OVER if not self.wanted else Event.BROKEN if broken else Event.ENDED
        self.take(event, now, f"ended: {text}")

    def late(self, now: float) -> Order | None:
        """Its time in this state is over."""
        if self.state is State.STOPPING and self.killed:
            event = Event.LATE if self.wanted else Event.GIVEN_UP
            return self.take(event, now, "was killed and is still there: the kernel holds it")
        if self.state is State.BACKING_OFF:
            return self.take(Event.LATE, now)
        self.last_end = {
            State.STARTING: f"not ready within {self.service.start_s:g} s",
            State.READY: f"no beat for {self.service.watchdog_s:g} s",
        }.get(self.state, f"not ended within {self.service.patience_s:g} s")
        return self.take(Event.LATE, now, f"{self.last_end}: killed")

    def _enter(self, event: Event, now: float, spent_s: float, reason: str) -> str:
        """Begin the new state: its end in time, and the reason for it in words. `spent_s` went by in the last one."""
        if self.state is State.STARTING:
            self.killed, self.starts = False, self.starts + 1
            self.deadline = now + self.service.start_s
            return f"starting again after: {self.last_end}" if self.last_end else "starting"
        if self.state is State.READY:
            self.ever_ready, self._ready_at = True, now
            self.deadline = self._watchdog(now)
            return f"ready after {spent_s:.1f} s"
        if self.state is State.STOPPING:
            self.deadline = now + (KILLED_S if self.killed else self.service.patience_s)
            return reason or ("asked to stop" if event in (Event.STOP, Event.STOP_NOW) else "stops by itself")
        if self.state is State.BACKING_OFF:
            self.ends = self.backoff.ends_after(self.ends, now - self._ready_at if self._ready_at is not None else 0.0)
            self._ready_at, delay_s = None, self.backoff.delay_s(self.ends)
            self.deadline = now + delay_s
            return f"{reason}; restart in {delay_s:.1f} s"
        self.deadline = None
        return reason or (self._waits if self.state is State.WAITING else "stopped")

    def _watchdog(self, now: float) -> float | None:
        return now + self.service.watchdog_s if self.service.watchdog_s else None


def exit_text(code: int | None) -> str:
    """An exit status in words."""
    if code is None:
        return "cannot be executed"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
