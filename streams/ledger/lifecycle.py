"""The life of one series as a table, and the words for what arrives.

state    event        next state
OPEN     END          ENDING                 it waits for a grace period: several connections let it overtake frames,
                                             and where nobody said how many there are, any number
OPEN     END_ALL_IN   CLOSED  end
OPEN     ALL_IN       OPEN                   the detector still says when it is done
OPEN     GRACE_OVER   OPEN                   no grace period runs
OPEN     IDLE         CLOSED  idle           its end was missed
OPEN     SUPERSEDED   CLOSED  superseded     its end was missed
OPEN     SHUTDOWN     CLOSED  shutdown
ENDING   END          ENDING                 said twice
ENDING   END_ALL_IN   CLOSED  end
ENDING   ALL_IN       CLOSED  end
ENDING   GRACE_OVER   CLOSED  grace_over
ENDING   IDLE         ENDING                 the grace period decides
ENDING   SUPERSEDED   CLOSED  grace_over     its end did come: the next start only cut the grace period short
ENDING   SHUTDOWN     CLOSED  shutdown
CLOSED   anything     CLOSED                 for the reason it had
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class State(StrEnum):
    OPEN = "open"
    ENDING = "ending"  # the end came, images are awaited
    CLOSED = "closed"


class Event(StrEnum):
    END = "end"  # the end message, while images are awaited, or nobody said how many there are
    END_ALL_IN = "end_all_in"  # the end message, and nothing is awaited
    ALL_IN = "all_in"  # the last awaited image came, a number was told that is there, or nothing is known to be missing
    GRACE_OVER = "grace_over"
    IDLE = "idle"
    SUPERSEDED = "superseded"  # the detector started another series
    SHUTDOWN = "shutdown"


class CloseReason(StrEnum):
    END = "end"
    GRACE_OVER = "grace_over"  # the end came, but awaited images did not
    SUPERSEDED = "superseded"  # the detector started another series without ending this one
    IDLE = "idle"
    SHUTDOWN = "shutdown"


class Arrival(StrEnum):
    """What one frame's arrival means for the ledger."""

    NEW = "new"
    DUPLICATE = "duplicate"
    LATE = "late"  # its series is closed, or its place was given up
    UNEXPECTED = "unexpected"  # its id lies outside the announced images, or its channel was not announced
    REFUSED = "refused"  # an impossible id, or more channels than memory is given to
    STALE = "stale"  # its series is closed and another was opened since: left over in a queue, as after an abort


class ArrivalCounts(msgspec.Struct, frozen=True):
    """The facts of arrival over all channels; `expected = received + missing + awaited + absent` where it is known."""

    expected: int | None
    images: int | None  # expected of each channel
    received: int
    missing: int
    awaited: int
    duplicate: int
    late: int
    unexpected: int
    refused: int
    stale: int = 0  # messages of older series that came while this one was the newest
    absent: int = (
        0  # the sender says that there are no such images; where nobody said how many, between those that came
    )


TRANSITIONS: Mapping[tuple[State, Event], tuple[State, CloseReason | None]] = {
    (State.OPEN, Event.END): (State.ENDING, None),
    (State.OPEN, Event.END_ALL_IN): (State.CLOSED, CloseReason.END),
    (State.OPEN, Event.ALL_IN): (State.OPEN, None),
    (State.OPEN, Event.GRACE_OVER): (State.OPEN, None),
    (State.OPEN, Event.IDLE): (State.CLOSED, CloseReason.IDLE),
    (State.OPEN, Event.SUPERSEDED): (State.CLOSED, CloseReason.SUPERSEDED),
    (State.OPEN, Event.SHUTDOWN): (State.CLOSED, CloseReason.SHUTDOWN),
    (State.ENDING, Event.END): (State.ENDING, None),
    (State.ENDING, Event.END_ALL_IN): (State.CLOSED, CloseReason.END),
    (State.ENDING, Event.ALL_IN): (State.CLOSED, CloseReason.END),
    (State.ENDING, Event.GRACE_OVER): (State.CLOSED, CloseReason.GRACE_OVER),
    (State.ENDING, Event.IDLE): (State.ENDING, None),
    (State.ENDING, Event.SUPERSEDED): (State.CLOSED, CloseReason.GRACE_OVER),
    (State.ENDING, Event.SHUTDOWN): (State.CLOSED, CloseReason.SHUTDOWN),
    **{(State.CLOSED, event): (State.CLOSED, None) for event in Event},
}
"""(state, event) to (next state, why it closed; None: nothing was closed by it)."""
