import asyncio
import threading
from concurrent.futures import Future

import pytest

from edge.agent import service as module
from edge.agent.messages import Observation
from edge.agent.optimizer import GaussianProcessAgent
from edge.agent.options import Options
from edge.agent.path import PathAgent
from edge.agent.service import AgentService, ServiceClosed
from edge.agent.training import Trained
from tests.unit.agent.worlds import SPACE, measured, observation

LONG = 30.0
PATH = SPACE.candidates(4)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("agent-")] == []


class Gated(PathAgent):
    """Thinks until it is let go."""

    def __init__(self) -> None:
        super().__init__(SPACE, PATH)
        self.thinking, self.go = threading.Event(), threading.Event()

    def suggest(self, n=1):
        self.thinking.set()
        assert self.go.wait(LONG)
        return super().suggest(n)


class Learner(PathAgent):
    """Wants training at every observation; the training ends when it is let go, or with `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(SPACE, PATH)
        self.error = error
        self.started, self.go, self.adopted = threading.Event(), threading.Event(), threading.Event()
        self.handed_out = 0

    def training_due(self):
        self.handed_out += 1
        return self

    def run(self, stop):
        self.started.set()
        while not (self.go.wait(0.01) or stop()):
            pass
        if stop():
            raise module.TrainingStopped
        if self.error:
            raise self.error
        return "trained"

    def adopt(self, trained):
        assert trained == "trained"
        self.adopted.set()


def test_requests_see_all_that_was_ingested_before():
    with AgentService(PathAgent(SPACE, PATH)) as service:
        futures: list[Future] = []
        for at in range(5):
            service.ingest([observation(f"o{at}", (0.1, 0.1), 1.0)])
            futures.append(service.request(f"k{at}"))
        assert [future.result(LONG)[0].observations for future in futures] == [1, 2, 3, 4, 5]
        assert 0 <= service.suggest_ms["p50"] <= service.suggest_ms["p99"]


def test_the_same_key_is_the_same_request_even_after_somebody_lost_patience():
    with AgentService(agent := Gated()) as service:
        first = service.request("k")

        async def impatient():
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.wrap_future(service.request("k")), 0.0)

        asyncio.run(impatient())
        assert not first.cancelled()
        agent.go.set()
        assert service.request("k") is first
        assert [out.id for out in first.result(LONG)] == ["path-1"]
        assert [out.id for out in service.request("other").result(LONG)] == ["path-2"]


def test_nothing_waits_for_a_thinking_agent_but_the_futures():
    with AgentService(agent := Gated()) as service:
        asked = service.request("k")
        taken = service.ingest([observation("o", (0.1, 0.1), 1.0)])
        assert agent.thinking.wait(LONG)
        assert not asked.done()
        assert not taken.done()
        agent.go.set()
        assert taken.result(LONG) is None
        assert len(agent.observations) == 1


def test_the_agents_refusal_comes_through_the_future_and_it_goes_on():
    with AgentService(PathAgent(SPACE, PATH)) as service:
        refused = service.ingest([observation("bad", (0.5, 0.5), float("nan"))])
        with pytest.raises(ValueError, match="observation 'bad'"):
            refused.result(LONG)
        assert len(service.request("k", 2).result(LONG)) == 2
        assert service.abandon(["path-1"]).result(LONG) is None


def test_requests_do_not_wait_for_training_and_one_trains_at_a_time():
    with AgentService(agent := Learner()) as service:
        assert not service.learning
        service.ingest([observation("o1", (0.1, 0.1), 1.0)])
        assert agent.started.wait(LONG)
        assert service.learning
        service.ingest([observation("o2", (0.1, 0.1), 1.0)])
        assert service.request("k").result(LONG)[0].observations == 2
        assert not agent.adopted.is_set()
        assert agent.handed_out == 1
        agent.go.set()
        assert agent.adopted.wait(LONG)
        service.ingest([observation("o3", (0.1, 0.1), 1.0)])
        service.request("l").result(LONG)
        assert agent.handed_out == 2


def test_a_training_that_fails_is_logged_and_another_may_follow(caplog):
    agent = Learner(ArithmeticError("no luck"))
    with AgentService(agent) as service:
        agent.go.set()
        # Each round ends when it has been taken in; the failure is noticed between two of them.
        for _ in range(100_000):
            service.ingest([observation("o", (0.1, 0.1), 1.0)]).result(LONG)
            if agent.handed_out > 1:
                break
        assert agent.handed_out > 1
    assert "no luck" in caplog.text


def test_what_is_wrong_with_training_is_no_refusal_of_an_observation(caplog):
    agent = Learner()

    def fails():
        raise ArithmeticError("no luck")

    agent.training_due = fails
    with AgentService(agent) as service:
        assert service.ingest([observation("o", (0.1, 0.1), 1.0)]).result(LONG) is None
        assert service.request("k").result(LONG)[0].observations == 1
    assert "could not begin to train" in caplog.text
    assert "no luck" in caplog.text


def test_close_stops_training_and_tells_those_who_wait():
    agent = Learner()
    service = AgentService(agent)
    service.ingest([observation("o1", (0.1, 0.1), 1.0)])
    assert agent.started.wait(LONG)
    service.close()
    service.close()
    assert not agent.adopted.is_set()
    for call in (lambda: service.request("k"), lambda: service.ingest([]), lambda: service.abandon([])):
        with pytest.raises(RuntimeError, match="closed"):
            call()


def test_close_lets_the_last_observation_be_taken():
    agent = Gated()
    service = AgentService(agent)
    thought = service.request("k")
    assert agent.thinking.wait(LONG)
    taken = service.ingest([Observation("last", {"x": 0.5, "y": 0.5}, 1.0, 0.1)])
    closing = threading.Thread(target=service.close)
    closing.start()
    while not service._closed:
        pass
    agent.go.set()
    closing.join(LONG)
    assert taken.result(LONG) is None and len(thought.result(LONG)) == 1
    assert [one.id for one in agent.observations] == ["last"]


def test_close_does_not_wait_for_an_agent_that_hangs(monkeypatch, caplog):
    monkeypatch.setattr(module, "CLOSE_S", 0.05)
    agent = Gated()
    service = AgentService(agent)
    hanging, waiting = service.request("k"), service.request("l")
    assert agent.thinking.wait(LONG)
    service.close()
    assert "still thinks" in caplog.text
    with pytest.raises(ServiceClosed):
        waiting.result(LONG)
    agent.go.set()
    assert len(hanging.result(LONG)) == 1
    for thread in threading.enumerate():
        if thread.name.startswith("agent-"):
            thread.join(LONG)


def test_a_gaussian_process_learns_beside_its_suggestions():
    agent = GaussianProcessAgent(SPACE, options=Options(start_points=5, candidates=100, points=20, training="deferred"))
    adopted = threading.Event()
    adopt = agent.adopt

    def told(trained: Trained) -> None:
        adopt(trained)
        adopted.set()

    agent.adopt = told
    with AgentService(agent) as service:
        service.ingest(measured(SPACE.sobol(8, 0), 0)).result(LONG)
        assert adopted.wait(LONG)
        (out,) = service.request("k").result(LONG)
        assert out.surrogate_version == 1
        assert out.acquisition == "integrated_variance_tour"
