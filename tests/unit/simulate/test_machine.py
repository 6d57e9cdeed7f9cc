"""The table of states: every command in every state, and that each series ends exactly once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.simulate.machine import COMMANDS, TABLE, Effect, Event, State, shown, step
from edge.simulate.refusal import Refused


def test_an_ordinary_series():
    state, did = State.NA, []
    events = ["initialize", "arm", "started", "trigger", "exposed", "trigger", "exposed", "disarm", "ended"]
    states = []
    for event in events:
        state, effects = step(state, Event(event))
        states.append(state.value)
        did += effects
    assert states == ["idle", "configure", "ready", "acquire", "ready", "acquire", "ready", "ending", "idle"]
    assert did == [Effect.RESET_IDS, Effect.START, Effect.EXPOSE, Effect.EXPOSE, Effect.END]


def test_the_last_trigger_ends_the_series():
    assert step(State.ACQUIRE, Event.EXHAUSTED) == (State.ENDING, (Effect.END,))


@pytest.mark.parametrize(
    ("event", "effects"),
    [
        (Event.DISARM, (Effect.STOP, Effect.END)),
        (Event.ABORT, (Effect.STOP, Effect.END)),
        (Event.CANCEL, (Effect.FINISH_FRAME, Effect.END)),
        (Event.INITIALIZE, (Effect.RESET_IDS, Effect.STOP, Effect.END)),
    ],
)
def test_what_ends_an_exposure(event, effects):
    assert step(State.ACQUIRE, event) == (State.ENDING, effects)


def test_an_abort_overtakes_a_cancel():
    assert step(State.ENDING, Event.ABORT) == (State.ENDING, (Effect.STOP,))


@pytest.mark.parametrize(
    ("state", "commands", "advice"),
    [
        (State.NA, ["arm", "trigger", "disarm", "cancel", "abort"], "initialize it first"),
        (State.IDLE, ["trigger"], "arm it first"),
        (State.CONFIGURE, ["arm", "trigger"], "wait until arm has answered"),
        (State.READY, ["arm"], "disarm it first"),
        (State.ACQUIRE, ["arm", "trigger"], "wait until trigger has answered, or abort"),
        (State.ENDING, ["arm", "trigger"], "wait until the series has ended"),
    ],
)
def test_refusals_and_nothing_else_is_refused(state, commands, advice):
    assert [command for command in COMMANDS if (state, Event(command)) not in TABLE] == commands
    for command in commands:
        with pytest.raises(Refused, match=advice) as refused:
            step(state, Event(command))
        assert refused.value.status == 409 and f"{command} is not possible" in str(refused.value)


def test_clients_see_only_the_states_of_simplon():
    assert {shown(state) for state in State} == {"na", "idle", "configure", "ready", "acquire"}


class Worker:
    """Does what the table says in order, one piece of work at a time, as slowly as the test likes."""

    def __init__(self):
        self.state = State.NA
        self.queue = []
        self.opened = self.ended = 0

    def tell(self, event):
        self.state, effects = step(self.state, event)
        for effect in effects:
            if effect in (Effect.START, Effect.EXPOSE, Effect.END):
                self.queue.append(effect)

    def work(self, outcome):
        match self.queue.pop(0):
            case Effect.START:
                assert self.opened == self.ended, "a series was opened before the one before had ended"
                self.opened += 1
                self.tell(Event.STARTED)
            case Effect.EXPOSE:
                assert self.opened == self.ended + 1, "exposed without a series"
                self.tell(outcome)
            case Effect.END:
                self.ended += 1
                self.tell(Event.ENDED)


@given(st.lists(st.sampled_from([*COMMANDS, "work", "work to the last trigger"]), max_size=60))
def test_every_series_ends_exactly_once_whatever_clients_do(doings):
    worker = Worker()
    for doing in doings:
        if doing in COMMANDS:
            if (worker.state, Event(doing)) in TABLE:
                worker.tell(Event(doing))
        elif worker.queue:
            worker.work(Event.EXPOSED if doing == "work" else Event.EXHAUSTED)
    while worker.queue:
        worker.work(Event.EXPOSED)
    assert worker.state in (State.NA, State.IDLE, State.READY)
    assert worker.opened - worker.ended == (worker.state is State.READY)


@pytest.mark.parametrize("event", [Event.DISARM, Event.CANCEL, Event.ABORT, Event.INITIALIZE])
@pytest.mark.parametrize("state", [State.CONFIGURE, State.READY, State.ACQUIRE])
def test_an_open_series_can_always_be_ended(state, event):
    after, effects = step(state, event)
    assert after is State.ENDING and Effect.END in effects
