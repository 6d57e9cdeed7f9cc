"""Requests in, answers out, with real agents and logs and without sockets."""

import queue
import threading

import pytest

from edge.steering import desk as module
from edge.steering import wire
from edge.steering.desk import Desk
from edge.steering.experiments import Experiments
from edge.steering.log import LogError, Observed, read
from edge.steering.words import definition, observation_words, pack
from tests.unit.steering.scenes import DEFINITION, FEW, SPACE, experiments, observation

LONG = 30.0
OTHER = definition(SPACE, 4, FEW)


class Front:
    """A desk, and its answers as they come."""

    def __init__(self, made: Experiments) -> None:
        self.answers: queue.Queue = queue.Queue()
        self.desk = Desk(made, lambda peer, answer: self.answers.put((peer, wire.unpack_answer(answer))))

    def ask(self, request: wire.Request, peer: bytes = b"me"):
        self.desk.handle(peer, [pack(request)])
        return self.answer(peer)

    def answer(self, peer: bytes = b"me"):
        whose, answer = self.answers.get(timeout=LONG)
        assert whose == peer
        return answer


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    assert [one.name for one in threading.enumerate() if one.name.startswith("agent-")] == []


@pytest.fixture
def front(folder):
    made = experiments(folder)
    yield Front(made)
    made.end()


def failed(answer) -> tuple[str, str]:
    assert isinstance(answer, wire.Failed), answer
    return answer.kind, answer.text


def test_a_conversation(front):
    assert failed(front.ask(wire.Ask(1, "map", "run/1", 1)))[0] == "not_open"
    assert front.ask(wire.Open(2, "map", DEFINITION)) == wire.Opened(2, 0, 0)
    made = front.ask(wire.Ask(3, "map", "run/1", 2))
    assert [one.id for one in made.suggestions] == ["map-1", "map-2"]
    first, second = (one.meant() for one in made.suggestions)
    seen = (observation_words(observation(1, first)),)
    assert front.ask(wire.Ingest(4, "map", seen)) == wire.Taken(4)
    assert front.ask(wire.Abandon(5, "map", (second.id,))) == wire.Taken(5)
    assert front.ask(wire.Open(6, "map", DEFINITION)) == wire.Opened(6, 1, 0)
    pong = front.ask(wire.Ping(7))
    assert pong.experiments == ("map",)
    assert (pong.counts["requests"], pong.counts["failed"]) == (7, 1)
    assert front.ask(wire.Close(8, "map")) == wire.Taken(8)
    assert front.ask(wire.Ping(9)).experiments == ()
    assert front.ask(wire.Open(10, "map", DEFINITION)) == wire.Opened(10, 1, 0)


def test_a_request_that_is_repeated_has_one_answer_while_it_is_in_hand_and_the_same_afterwards(front):
    front.ask(wire.Open(1, "map", DEFINITION))
    first = front.ask(wire.Ask(2, "map", "run/1", 1))
    assert repr(front.ask(wire.Ask(2, "map", "run/1", 1))) == repr(first)
    front.desk._in_hand.add((b"me", 7))
    front.desk.handle(b"me", [pack(wire.Ask(7, "map", "run/2", 1))])
    assert front.desk.counts["repeated"] == 1
    assert front.answers.empty()
    other = front.ask(wire.Ask(7, "map", "run/1", 1), b"another connection")
    assert other.suggestions[0].id == "map-1"


def test_what_an_experiment_was_begun_with_stays(front):
    front.ask(wire.Open(1, "map", DEFINITION))
    assert failed(front.ask(wire.Open(2, "map", OTHER)))[0] == "differs"
    front.ask(wire.Close(3, "map"))
    kind, text = failed(front.ask(wire.Open(4, "map", OTHER)))
    assert (kind, "choose another name" in text) == ("differs", True)
    assert front.ask(wire.Open(5, "map", DEFINITION)) == wire.Opened(5, 0, 0)


def test_errors_of_the_agent_are_told_as_such(front):
    front.ask(wire.Open(1, "map", DEFINITION))
    outside = wire.ObservationWords("o", {"x": 99.0, "y": 0.0}, 1.0, 1.0)
    kind, text = failed(front.ask(wire.Ingest(2, "map", (outside,))))
    assert (kind, "outside" in text) == ("refused", True)
    front.ask(wire.Ask(3, "map", "run/1", 64))
    kind, text = failed(front.ask(wire.Ask(4, "map", "run/2", 1)))
    assert (kind, "abandon" in text) == ("cannot_suggest", True)
    impossible = definition(SPACE, 0, FEW).axes[0]
    wrong = wire.Open(5, "new", wire.Definition((impossible, impossible), 0.0, 0, DEFINITION.options))
    kind, text = failed(front.ask(wrong))
    assert (kind, "different names" in text) == ("refused", True)


def test_a_definition_that_makes_no_sense_leaves_no_log(front, folder):
    twice = wire.Definition((DEFINITION.axes[0],) * 2, 0.0, 0, DEFINITION.options)
    front.ask(wire.Open(1, "new", twice))
    assert list((folder / "agent").glob("*.agentlog")) == []


def test_garbage_is_counted_and_answered(front):
    for garbage in ([b"\xc1"], [], [b"a", b"b"], [bytes(5000)]):
        front.desk.handle(b"me", garbage)
        answer = front.answer()
        assert failed(answer)[0] in ("malformed", "too_large")
        assert answer.number == 0
    assert (front.desk.counts["malformed"], front.desk.counts["too_large"]) == (3, 1)
    assert front.ask(wire.Ping(1)).counts["malformed"] == 3


def test_the_longest_unused_is_put_aside_and_comes_back(folder):
    made = experiments(folder, most_open=2)
    front = Front(made)
    front.ask(wire.Open(1, "a", DEFINITION))
    front.ask(wire.Open(2, "b", DEFINITION))
    kept = front.ask(wire.Ask(3, "a", "run/1", 1))
    assert isinstance(front.ask(wire.Open(4, "c", DEFINITION)), wire.Opened)
    assert front.ask(wire.Ping(5)).experiments == ("a", "c")
    assert failed(front.ask(wire.Ask(6, "b", "run/1", 1)))[0] == "not_open"
    assert isinstance(front.ask(wire.Open(7, "b", DEFINITION)), wire.Opened)
    assert front.ask(wire.Open(8, "a", DEFINITION)) == wire.Opened(8, 0, 1)
    assert repr(front.ask(wire.Ask(9, "a", "run/1", 1)).suggestions) == repr(kept.suggestions)
    made.end()


def test_where_all_are_at_work_one_more_is_told_to_wait(folder):
    made = experiments(folder, most_open=1)
    front = Front(made)
    front.ask(wire.Open(1, "a", DEFINITION))
    at_work = made.get("a")
    assert at_work is not None
    at_work._in_flight = 1
    assert failed(front.ask(wire.Open(2, "b", DEFINITION)))[0] == "busy"
    at_work._in_flight = 0
    assert isinstance(front.ask(wire.Open(3, "b", DEFINITION)), wire.Opened)
    made.end()


def test_requests_in_hand_are_bounded(front, monkeypatch):
    monkeypatch.setattr(module, "MOST_IN_HAND", 0)
    assert failed(front.ask(wire.Open(1, "map", DEFINITION)))[0] == "busy"


def test_a_log_that_is_none_is_told_and_left(front, folder):
    path = folder / "agent" / "map.agentlog"
    path.write_bytes(b"something else")
    kind, text = failed(front.ask(wire.Open(1, "map", DEFINITION)))
    assert (kind, str(path) in text) == ("unusable", True)
    assert path.read_bytes() == b"something else"


def test_another_service_in_the_same_folder_is_refused(front, folder):
    with pytest.raises(LogError, match=r"another `edge agent serve`"):
        experiments(folder)


def test_after_the_end_all_that_was_answered_is_in_the_log(folder):
    made = experiments(folder)
    front = Front(made)
    front.ask(wire.Open(1, "map", DEFINITION))
    front.desk.handle(b"me", [pack(wire.Ingest(2, "map", (observation_words(observation(1)),)))])
    made.end()
    assert front.answer() == wire.Taken(2)
    _, entries = read(folder / "agent" / "map.agentlog")
    assert [type(one) for one in entries] == [Observed]
