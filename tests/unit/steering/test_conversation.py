"""What a client sends when, and what it makes of the answers; time is a number here."""

from concurrent.futures import Future

import pytest

from edge.agent.messages import CannotSuggest
from edge.steering import wire
from edge.steering.conversation import RESEND_S, WINDOW, AgentGone, AgentRefused, Conversation
from edge.steering.words import suggestion_words
from tests.unit.steering.scenes import DEFINITION

SUGGESTION = suggestion_words(DEFINITION.agent("map").suggest()[0])


class Talk:
    """A conversation, and how far its clock has got."""

    def __init__(self) -> None:
        self.at = Conversation("map", DEFINITION)
        self.now = 0.0

    def ask(self, deadline: float = 100.0) -> "Future":
        future: Future = Future()
        number = self.at.number()
        self.at.ask(wire.Ask(number, "map", f"run/{number}", 1), future, deadline)
        return future

    def sent(self) -> list[tuple[str, int]]:
        """What is sent now."""
        out = []
        for asked in self.at.due(self.now):
            asked.sent_s = self.now
            out.append((type(asked.request).__name__, asked.request.number))
        return out

    def opened(self) -> None:
        ((kind, number),) = self.sent()
        assert kind == "Open"
        self.at.heard(wire.Opened(number, 0, 0))


@pytest.fixture
def talk():
    return Talk()


def test_the_experiment_is_opened_first_and_then_all_is_sent_in_order(talk):
    assert talk.sent() == []
    talk.ask(), talk.ask()
    assert talk.sent() == [("Open", 3)]
    assert talk.sent() == []
    talk.at.heard(wire.Opened(3, 0, 0))
    assert talk.at.is_open
    assert talk.sent() == [("Ask", 1), ("Ask", 2)]
    assert talk.sent() == []


def test_what_has_no_answer_is_sent_again(talk):
    first, _ = talk.ask(), talk.ask()
    talk.opened()
    talk.sent()
    talk.at.heard(wire.Suggested(1, (SUGGESTION,)))
    assert first.result(0)[0].id == "map-1"
    talk.now += RESEND_S
    assert talk.sent() == [("Ask", 2)]


def test_a_service_that_was_started_anew_is_told_all_that_it_has_not_answered(talk):
    futures = [talk.ask() for _ in range(3)]
    talk.opened()
    talk.sent()
    talk.at.heard(wire.Suggested(2, ()))
    talk.at.heard(wire.Failed(3, "not_open", "experiment 'map' is not open"))
    talk.at.heard(wire.Failed(1, "not_open", "experiment 'map' is not open"))
    assert not any(future.done() for future in (futures[0], futures[2]))
    talk.opened()
    assert talk.sent() == [("Ask", 1), ("Ask", 3)]
    assert futures[1].result(0) == []


def test_opening_is_repeated_too(talk):
    talk.ask()
    assert talk.sent() == [("Open", 2)]
    talk.now += RESEND_S
    assert talk.sent() == [("Open", 2)]
    talk.at.heard(wire.Failed(2, "busy", "4 experiments are open"))
    assert talk.sent() == []
    talk.now += RESEND_S
    assert talk.sent() == [("Open", 2)]


@pytest.mark.parametrize("kind", ["busy", "disk"])
def test_what_may_pass_is_waited_for_and_told_at_the_end(talk, kind):
    future = talk.ask(deadline=10.0)
    talk.opened()
    talk.sent()
    talk.at.heard(wire.Failed(1, kind, "No space left on device"))
    assert not future.done()
    talk.now = 9.9
    assert talk.at.expire(talk.now) == []
    assert talk.sent() == [("Ask", 1)]
    assert len(talk.at.expire(10.0)) == 1
    with pytest.raises(AgentGone, match="No space left"):
        future.result(0)
    assert talk.at.waiting == 0


@pytest.mark.parametrize(
    ("kind", "error"),
    [("refused", ValueError), ("cannot_suggest", CannotSuggest), ("failed", AgentRefused), ("full", AgentRefused)],
)
def test_failures_are_the_exceptions_that_they_were(talk, kind, error):
    future = talk.ask()
    talk.opened()
    talk.sent()
    talk.at.heard(wire.Failed(1, kind, "the reason"))
    with pytest.raises(error, match="the reason"):
        future.result(0)


def test_an_experiment_that_cannot_be_opened_fails_all_that_is_asked(talk):
    before = talk.ask()
    talk.sent()
    talk.at.heard(wire.Failed(2, "differs", "was begun with another space"))
    for future in (before, talk.ask()):
        with pytest.raises(AgentRefused, match="another space"):
            future.result(0)
    assert talk.sent() == []


def test_answers_that_nobody_waits_for_and_of_another_kind(talk):
    future = talk.ask()
    talk.opened()
    talk.sent()
    talk.at.heard(wire.Taken(99))
    talk.at.heard(wire.Failed(0, "malformed", "no request"))
    assert not future.done()
    talk.at.heard(wire.Taken(1))
    with pytest.raises(AgentRefused, match="Taken"):
        future.result(0)
    talk.at.heard(wire.Taken(1))


def test_a_late_word_that_it_is_not_open_means_nothing_once_the_request_is_answered(talk):
    talk.ask()
    talk.opened()
    talk.sent()
    talk.at.heard(wire.Suggested(1, ()))
    talk.at.heard(wire.Failed(1, "not_open", "late"))
    assert talk.at.is_open


def test_no_more_than_a_window_is_on_its_way(talk):
    for _ in range(WINDOW + 5):
        talk.ask()
    talk.opened()
    assert len(talk.sent()) == WINDOW
    talk.at.heard(wire.Suggested(1, ()))
    assert talk.sent() == [("Ask", WINDOW + 1)]


def test_giving_up_leaves_nobody_waiting(talk):
    futures = [talk.ask(deadline=1e9) for _ in range(3)]
    talk.at.give_up()
    assert all(isinstance(future.exception(0), AgentGone) for future in futures)
