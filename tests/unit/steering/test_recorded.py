"""What an agent did is in its log before anybody hears of it, and another one goes on from there."""

import dataclasses

import pytest

from edge.agent.messages import CannotSuggest
from edge.agent.service import AgentService
from edge.steering import recorded as module
from edge.steering.log import ExperimentLog, Learned, Observed, Suggested, read
from edge.steering.recorded import RecordedAgent
from tests.unit.steering.scenes import DEFINITION, observation

LONG = 30.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "map.agentlog"


class Life:
    """An agent with its log, from its start to its end."""

    def __init__(self, path) -> None:
        self.log = ExperimentLog(path, "map", DEFINITION)
        self.agent = RecordedAgent("map", self.log)

    def end(self) -> None:
        self.log.close()

    def measure(self, points: range) -> list[str]:
        """Ids of what was suggested for these points, which are all observed."""
        made = []
        for at in points:
            (suggestion,) = self.agent.suggest_for(f"run/{at}", 1)
            self.agent.ingest([observation(at, suggestion)])
            made.append(suggestion.id)
            training = self.agent.training_due()
            if training is not None:
                self.agent.adopt(training.run())
        return made


def test_all_of_it_is_in_the_log(path):
    life = Life(path)
    life.measure(range(8))
    _, entries = read(path)
    assert [one.key for one in entries if isinstance(one, Suggested)] == [f"run/{at}" for at in range(8)]
    assert [one.observations[0].id for one in entries if isinstance(one, Observed)] == [f"o{at}" for at in range(8)]
    assert [one.trained_on for one in entries if isinstance(one, Learned)] == [5, 8]
    life.end()


def test_the_same_key_has_the_same_answer_in_the_next_life_and_new_ones_go_on(path):
    undisturbed = Life(path.with_name("other"))
    expected = undisturbed.measure(range(12))
    first = Life(path)
    ids = first.measure(range(7))
    pending = first.agent.suggest_for("run/7", 1)
    first.end()
    second = Life(path)
    assert second.agent.counts == (7, 1)
    assert second.agent.suggest_for("run/7", 1) == pending
    again = second.agent.suggest_for("run/3", 1)[0]
    assert again.id == ids[3]
    assert ids + second.measure(range(7, 12)) == expected
    assert second.agent.observations == undisturbed.agent.observations
    positions = [tuple(one.position.values()) for one in second.agent.observations]
    assert len(set(positions)) == 12
    first_of_both = [life.agent.suggest_for("run/12", 1)[0] for life in (undisturbed, second)]
    plain = [dataclasses.replace(one, sigma=0.0) for one in first_of_both]
    assert plain[0] == plain[1]


def test_what_is_said_twice_is_written_once(path):
    life = Life(path)
    (suggestion,) = life.agent.suggest_for("run/0", 1)
    life.agent.ingest([observation(0, suggestion)])
    life.agent.abandon([life.agent.suggest_for("run/1", 1)[0].id])
    size = path.stat().st_size
    life.agent.ingest([observation(0, suggestion)])
    life.agent.abandon([suggestion.id, "map-2", "never heard of"])
    life.agent.suggest_for("run/1", 1)
    assert path.stat().st_size == size
    life.agent.ingest([dataclasses.replace(observation(0, suggestion), value=7.0)])
    assert path.stat().st_size > size
    life.end()
    again = Life(path)
    assert again.agent.observations[0].value == 7.0
    assert again.agent.counts == (1, 0)
    again.end()


def test_what_cannot_be_written_is_not_answered_and_may_be_asked_again(path, monkeypatch):
    life = Life(path)
    append = life.log.append

    def full(entry) -> None:
        raise OSError(28, "No space left on device")

    with AgentService(life.agent) as service:
        monkeypatch.setattr(life.log, "append", full)
        with pytest.raises(OSError, match="No space"):
            service.request("run/0").result(LONG)
        with pytest.raises(OSError, match="No space"):
            service.ingest([observation(0)]).result(LONG)
        assert life.agent.counts == (0, 0)
        monkeypatch.setattr(life.log, "append", append)
        (suggestion,) = service.request("run/0").result(LONG)
        assert suggestion.pending == 0, "what nobody heard of is not out"
        service.ingest([observation(0)]).result(LONG)
        assert life.agent.counts == (1, 1)
    life.end()
    assert [type(one).__name__ for one in read(path)[1]] == ["Suggested", "Observed"]


def test_a_refused_observation_is_not_written(path):
    life = Life(path)
    with pytest.raises(ValueError, match="outside"):
        life.agent.ingest([dataclasses.replace(observation(0), position={"x": 99.0, "y": 0.0})])
    life.end()
    assert read(path)[1] == []


def test_answers_are_kept_for_so_many_requests(path, monkeypatch):
    monkeypatch.setattr(module, "MOST_ANSWERS", 2)
    life = Life(path)
    life.measure(range(2))
    life.agent.suggest_for("run/0", 1)
    with pytest.raises(CannotSuggest, match="new experiment"):
        life.agent.suggest_for("run/2", 1)
    life.end()
