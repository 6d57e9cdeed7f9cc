"""States of the detector, and what each command does in each of them: one table, no clock, no socket.

States and their names are those of SIMPLON's `detector/status/state`. "It has to be initialized, configured, armed,
and triggered"; "the detector records nimages frames per trigger and stays armed until ntrigger are received"
(EIGER2 User Manual 1.8.2, sections 9.1 and 9.2). DECTRIS documents that the stream's end message is sent after disarm,
cancel and abort alike (SIMPLON API 1.8, section 5.4.3).

`ENDING` is ours: the exposure is being stopped and the end of the series is still to be sent. Clients see "acquire".
"""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import TypeAlias

from edge.simulate.refusal import Refused


class State(StrEnum):
    NA = "na"
    IDLE = "idle"
    CONFIGURE = "configure"
    READY = "ready"
    ACQUIRE = "acquire"
    ENDING = "ending"


class Event(StrEnum):
    """The first six are commands of the client, the others report that work was done."""

    INITIALIZE = "initialize"
    ARM = "arm"
    TRIGGER = "trigger"
    DISARM = "disarm"
    CANCEL = "cancel"
    ABORT = "abort"
    STARTED = "started"
    FAILED = "failed"  # the series could not be started
    EXPOSED = "exposed"
    EXHAUSTED = "exhausted"  # exposed, and it was the last of `ntrigger` triggers
    ENDED = "ended"


COMMANDS = tuple(event.value for event in Event)[:6]


class Effect(StrEnum):
    """What to do on a transition, in this order."""

    RESET_IDS = "reset ids"
    START = "start"  # open the series: file and start message
    EXPOSE = "expose"
    STOP = "stop"  # at once; the frame being exposed is lost
    FINISH_FRAME = "finish frame"  # stop after it
    END = "end"  # end message, close the file


Transition: TypeAlias = tuple[State, tuple[Effect, ...]]

_S, _E = State, Event

TABLE: Mapping[tuple[State, Event], Transition] = {
    (_S.NA, _E.INITIALIZE): (_S.IDLE, (Effect.RESET_IDS,)),
    (_S.IDLE, _E.INITIALIZE): (_S.IDLE, (Effect.RESET_IDS,)),
    (_S.IDLE, _E.ARM): (_S.CONFIGURE, (Effect.START,)),
    # A series that has ended by itself may still be disarmed, as clients that end every series do.
    (_S.IDLE, _E.DISARM): (_S.IDLE, ()),
    (_S.IDLE, _E.CANCEL): (_S.IDLE, ()),
    (_S.IDLE, _E.ABORT): (_S.IDLE, ()),
    (_S.CONFIGURE, _E.STARTED): (_S.READY, ()),
    (_S.CONFIGURE, _E.FAILED): (_S.IDLE, ()),
    (_S.CONFIGURE, _E.INITIALIZE): (_S.ENDING, (Effect.RESET_IDS, Effect.END)),
    (_S.CONFIGURE, _E.DISARM): (_S.ENDING, (Effect.END,)),
    (_S.CONFIGURE, _E.CANCEL): (_S.ENDING, (Effect.END,)),
    (_S.CONFIGURE, _E.ABORT): (_S.ENDING, (Effect.END,)),
    (_S.READY, _E.INITIALIZE): (_S.ENDING, (Effect.RESET_IDS, Effect.END)),
    (_S.READY, _E.TRIGGER): (_S.ACQUIRE, (Effect.EXPOSE,)),
    (_S.READY, _E.DISARM): (_S.ENDING, (Effect.END,)),
    (_S.READY, _E.CANCEL): (_S.ENDING, (Effect.END,)),
    (_S.READY, _E.ABORT): (_S.ENDING, (Effect.END,)),
    (_S.ACQUIRE, _E.EXPOSED): (_S.READY, ()),
    (_S.ACQUIRE, _E.EXHAUSTED): (_S.ENDING, (Effect.END,)),
    (_S.ACQUIRE, _E.INITIALIZE): (_S.ENDING, (Effect.RESET_IDS, Effect.STOP, Effect.END)),
    (_S.ACQUIRE, _E.DISARM): (_S.ENDING, (Effect.STOP, Effect.END)),
    (_S.ACQUIRE, _E.CANCEL): (_S.ENDING, (Effect.FINISH_FRAME, Effect.END)),
    (_S.ACQUIRE, _E.ABORT): (_S.ENDING, (Effect.STOP, Effect.END)),
    # While it ends: harder means are taken, and the work that was under way reports in.
    (_S.ENDING, _E.INITIALIZE): (_S.ENDING, (Effect.RESET_IDS, Effect.STOP)),
    (_S.ENDING, _E.DISARM): (_S.ENDING, (Effect.STOP,)),
    (_S.ENDING, _E.CANCEL): (_S.ENDING, ()),
    (_S.ENDING, _E.ABORT): (_S.ENDING, (Effect.STOP,)),
    (_S.ENDING, _E.STARTED): (_S.ENDING, ()),
    (_S.ENDING, _E.FAILED): (_S.ENDING, ()),
    (_S.ENDING, _E.EXPOSED): (_S.ENDING, ()),
    (_S.ENDING, _E.EXHAUSTED): (_S.ENDING, ()),
    (_S.ENDING, _E.ENDED): (_S.IDLE, ()),
}

_ADVICE: Mapping[State, str] = {
    State.NA: "initialize it first",
    State.IDLE: "arm it first",
    State.CONFIGURE: "wait until arm has answered",
    State.READY: "disarm it first",
    State.ACQUIRE: "wait until trigger has answered, or abort",
    State.ENDING: "wait until the series has ended",
}


def step(state: State, event: Event) -> Transition:
    """The next state, and what to do.

    Raises:
        Refused: the command is not possible in this state.
    """
    transition = TABLE.get((state, event))
    if transition is None:
        raise Refused(HTTPStatus.CONFLICT, f"{event} is not possible: {told(state)}")
    return transition


def told(state: State) -> str:
    """The state and what a client can do about it, for error messages."""
    return f"the detector is in state {shown(state)!r}; {_ADVICE[state]}"


def shown(state: State) -> str:
    """The name that SIMPLON has for the state."""
    return State.ACQUIRE.value if state is State.ENDING else state.value
