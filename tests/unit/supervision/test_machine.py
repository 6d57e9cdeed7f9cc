"""The life of one service, and of several: tables of what happens, and any sequence of it."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.supervision.group import Group
from edge.supervision.machine import (
    FINAL,
    KILLED_S,
    TABLE,
    WITH_PROCESS,
    Backoff,
    Event,
    Life,
    Order,
    Service,
    State,
    exit_text,
)

SERVICE = Service("serve", ("edge", "serve"), start_s=60, watchdog_s=10, patience_s=20)


def life_in(state: State) -> Life:
    """A life that came to `state` by its usual way, at time 0."""
    life = Life(SERVICE, 0.0)
    ways = {
        State.WAITING: (),
        State.STARTING: (Event.NEEDS_MET,),
        State.READY: (Event.NEEDS_MET, Event.SAID_READY),
        State.STOPPING: (Event.NEEDS_MET, Event.SAID_READY, Event.SAID_STOPPING),
        State.BACKING_OFF: (Event.NEEDS_MET, Event.ENDED),
        State.STOPPED: (Event.STOP,),
        State.FAILED: (Event.NEEDS_MET, Event.BROKEN),
    }
    for event in ways[state]:
        life.take(event, 0.0)
    assert life.state is state
    return life


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_what_is_not_in_the_table_changes_nothing(state: State, event: Event) -> None:
    life = life_in(state)
    before = (life.since, life.deadline, life.reason, life.wanted)
    order = life.take(event, 1.0)
    if (state, event) in TABLE:
        assert (life.state, order) == TABLE[state, event]
    else:
        assert order is None and life.state is state and (life.since, life.deadline, life.reason, life.wanted) == before


def test_the_table_starts_only_what_has_no_process_and_leads_out_of_every_state_but_the_last_two() -> None:
    assert [state for (state, _), (_, order) in TABLE.items() if order is Order.START] == [State.WAITING]
    assert {state for state, _ in TABLE} == set(State) - FINAL
    assert all(state in WITH_PROCESS for (state, _), (_, order) in TABLE.items() if order and order is not Order.START)


def test_beats_put_the_end_off_and_their_absence_kills() -> None:
    life = life_in(State.READY)
    assert life.deadline == 10
    life.take(Event.BEAT, 4.0)
    assert life.deadline == 14
    assert life.late(14.0) is Order.KILL
    assert (life.state, life.deadline, life.reason) == (State.STOPPING, 14 + KILLED_S, "no beat for 10 s: killed")
    life.ended(-9, 14.1)
    assert (life.state, life.reason) == (State.BACKING_OFF, "ended: killed by SIGKILL; restart in 0.2 s")
    assert life.late(14.3) is None and life.take(Event.NEEDS_MET, 14.3) is Order.START
    assert life.reason == "starting again after: no beat for 10 s"


def test_a_start_that_takes_too_long_is_killed_and_tried_again() -> None:
    life = life_in(State.STARTING)
    assert life.late(60.0) is Order.KILL and life.reason == "not ready within 60 s: killed"
    life.ended(-9, 60.0)
    assert life.state is State.BACKING_OFF and life.wanted


def test_a_service_that_stops_by_itself_has_its_patience_and_is_started_again() -> None:
    life = life_in(State.STOPPING)
    assert life.deadline == 20 and life.reason == "stops by itself"
    assert life.late(20.0) is Order.KILL
    life.ended(-9, 20.5)
    assert life.state is State.BACKING_OFF and life.last_end == "not ended within 20 s"


@pytest.mark.parametrize("code", [2, os.EX_CONFIG])
def test_only_before_it_was_ever_ready_an_exit_code_ends_everything(code: int) -> None:
    first = life_in(State.STARTING)
    first.ended(code, 1.0, "no [[source]]; at least one is needed")
    assert (first.state, first.reason) == (
        State.FAILED,
        f"ended: exit code {code}: no [[source]]; at least one is needed",
    )
    later = life_in(State.READY)
    later.ended(code, 1.0)
    later.late(2.0)
    later.take(Event.NEEDS_MET, 2.0)
    later.ended(code, 3.0)
    assert later.state is State.BACKING_OFF


def test_asked_to_stop_it_has_its_patience_then_is_killed_then_given_up() -> None:
    life = life_in(State.READY)
    assert life.take(Event.STOP, 1.0) is Order.TERMINATE and life.deadline == 21
    assert life.late(21.0) is Order.KILL and life.state is State.STOPPING
    assert life.late(21 + KILLED_S) is None and life.state is State.FAILED
    assert "kernel" in life.reason


def test_what_stops_by_itself_gets_no_second_signal_when_all_is_stopped() -> None:
    life = life_in(State.STOPPING)
    assert life.take(Event.STOP, 3.0) is None, "it would end at once, with everything that it has in hand"
    assert not life.wanted and life.deadline == 23
    assert life.late(23.0) is Order.KILL


def test_the_delay_doubles_up_to_the_longest_and_a_stable_minute_forgives() -> None:
    backoff, ends, delays = Backoff(), 0, []
    for _ in range(8):
        ends = backoff.ends_after(ends, 0.0)
        delays.append(backoff.delay_s(ends))
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert backoff.delay_s(backoff.ends_after(ends, 60.0)) == 0.2
    assert backoff.delay_s(backoff.ends_after(ends, 30.0)) == 1.6


@given(st.integers(0, 10_000), st.floats(0, 1e9))
def test_delays_are_bounded(ends: int, ready_s: float) -> None:
    backoff = Backoff()
    assert 0.2 <= backoff.delay_s(backoff.ends_after(ends, ready_s)) <= 10.0


@pytest.mark.parametrize(
    ("code", "text"), [(0, "exit code 0"), (-9, "killed by SIGKILL"), (-200, "killed by signal 200"), (None, "cannot")]
)
def test_exit_codes_in_words(code: int | None, text: str) -> None:
    assert exit_text(code).startswith(text)


TRITON = Service("triton", ("triton",), start_s=600, patience_s=20)
SERVE = Service("serve", ("serve",), ("triton",), start_s=120, patience_s=20)
AGENT = Service("agent", ("agent",), start_s=60, patience_s=10)


def test_needs_are_met_before_a_start_and_a_later_end_touches_nobody() -> None:
    group = Group((TRITON, SERVE), 0.0)
    assert group.advance(0.0) == [("triton", Order.START)]
    assert group.lives["serve"].reason == "waits for triton" and group.lives["serve"].state is State.WAITING
    group.said("triton", Event.SAID_READY, 5.0)
    assert group.advance(5.0) == [("serve", Order.START)]
    group.said("serve", Event.SAID_READY, 6.0)
    assert group.all_ready
    group.ended("triton", -9, 6.5)
    assert group.advance(6.6) == [] and group.lives["serve"].state is State.READY
    group.ended("serve", 1, 6.6)
    assert group.advance(6.9) == [("triton", Order.START)], "and serve waits for it"
    assert group.lives["serve"].state is State.WAITING


def test_it_stops_in_reverse_order() -> None:
    group = Group((TRITON, SERVE, AGENT), 0.0)
    group.advance(0.0)
    group.said("triton", Event.SAID_READY, 1.0)
    group.advance(1.0)
    group.stop()
    assert group.advance(2.0) == [("agent", Order.TERMINATE), ("serve", Order.TERMINATE)]
    group.ended("agent", 0, 2.0)
    group.ended("serve", 0, 3.0)
    assert group.advance(3.0) == [("triton", Order.TERMINATE)]
    group.ended("triton", 0, 4.0)
    assert group.over and [life.state for life in group.lives.values()] == [State.STOPPED] * 3


def test_what_can_never_run_stops_everything_and_says_so() -> None:
    group = Group((TRITON, SERVE, AGENT), 0.0)
    group.advance(0.0)
    group.ended("agent", 2, 0.5, "No such option: --listen")
    assert group.advance(0.5) == [("triton", Order.TERMINATE)]
    assert group.failure == "agent ended: exit code 2: No such option: --listen"


def test_nobody_is_late_by_the_time_that_the_supervisor_did_not_run() -> None:
    group = Group((TRITON, SERVE), 0.0)
    group.advance(0.0)
    group.said("triton", Event.SAID_READY, 1.0)
    group.advance(1.0)
    group.put_off(3600.0)
    assert group.advance(3601.0) == [] and group.lives["serve"].state is State.STARTING
    assert group.advance(3632.0) == [("triton", Order.KILL)], "but it must go on then"
    group.ended("triton", -9, 3632.0)
    due = group.lives["triton"].deadline
    group.put_off(5.0)
    assert group.lives["triton"].deadline == due, "a pause before a start is over when it is over"


def test_a_need_that_is_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="before"):
        Group((SERVE, TRITON), 0.0)


class AnySequence(RuleBasedStateMachine):
    """Whatever processes and people do: never two processes of a service, bounded delays, and stopping ends."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.group = Group((TRITON, SERVE, AGENT), 0.0)
        self.alive: set[str] = set()
        self.doomed: set[str] = set()

    def obey(self, orders: list[tuple[str, Order]]) -> None:
        for name, order in orders:
            if order is Order.START:
                assert name not in self.alive, f"a second process of {name}"
                assert not self.group.stopping
                self.alive.add(name)
            elif order is Order.KILL:
                assert name in self.alive
                self.doomed.add(name)

    @rule(passed=st.one_of(st.floats(0, 30), st.just(700.0)))
    def time_passes(self, passed: float) -> None:
        self.now += passed
        self.obey(self.group.advance(self.now))

    @rule(
        name=st.sampled_from(["triton", "serve", "agent"]),
        event=st.sampled_from([Event.SAID_READY, Event.BEAT, Event.SAID_STOPPING]),
    )
    def a_word(self, name: str, event: Event) -> None:
        self.group.said(name, event, self.now)

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), code=st.sampled_from([0, 1, 2, 78, -9, -15]))
    def a_process_ends(self, data: st.DataObject, code: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.alive)))
        self.alive.discard(name)
        self.doomed.discard(name)
        self.group.ended(name, code, self.now)

    @precondition(lambda self: self.now > 1000)
    @rule()
    def stop(self) -> None:
        self.group.stop()

    @precondition(lambda self: self.now > 1000)
    @rule()
    def stop_now(self) -> None:
        self.obey(self.group.stop_now(self.now))
        assert self.doomed >= self.alive - {n for n, each in self.group.lives.items() if each.state is State.FAILED}

    @invariant()
    def processes_are_where_states_say(self) -> None:
        if not hasattr(self, "group"):
            return
        for name, life in self.group.lives.items():
            if life.state in WITH_PROCESS:
                assert name in self.alive
            elif life.state is not State.FAILED:  # given up: the kernel holds it
                assert name not in self.alive
            if life.state is State.BACKING_OFF:
                assert life.deadline is not None and 0 < life.deadline - life.since <= 10.0
            if life.state in (State.STARTING, State.STOPPING):
                assert life.deadline is not None

    def teardown(self) -> None:
        """However it stands: asked to stop, all is over in bounded time though no process ever obeys."""
        if not hasattr(self, "group"):
            return
        self.group.stop()
        bound = self.now + sum(life.service.patience_s + 2 * KILLED_S for life in self.group.lives.values())
        for _ in range(100):
            self.obey(self.group.advance(self.now))
            if self.group.over:
                break
            deadline = self.group.deadline
            assert deadline is not None
            self.now = max(self.now, deadline)
        assert self.group.over and self.now <= bound


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
