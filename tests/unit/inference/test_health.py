"""A server that is ready is asked again; what is wrong with it is found, and no more is done than is needed."""

import queue
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.inference import supervisor
from edge.inference.events import Event, Plan, ServerChecked, ServerLost, ServerReady
from edge.inference.health import DOUBTS, DOUBTS_WITHIN_S, REMEDY_EVERY_S, Doubts
from edge.inference.requests import Completion, InferenceError
from edge.inference.shared_memory import Namespace
from edge.inference.supervisor import Supervisor
from tests.unit.inference.graphs import write_models
from tests.unit.inference.pretended import PretendedHost, PretendedServer, plan_of

PATIENCE_S = 20


class Spoilt(PretendedServer):
    """Answers wrongly, with an error, or not at all while `how` says so."""

    how = ""

    def submit(self, request: Any, on_done: Any) -> None:
        def spoil(completion: Completion) -> None:
            if self.how == "failed":
                on_done(Completion(request.request_id, InferenceError("failed", "std::bad_alloc"), None, {}))
            elif self.how != "silent":
                on_done(completion)

        super().submit(request, spoil)
        if self.how == "wrong":
            for span in request.outputs.values():
                self._bytes(span)[:] = np.frombuffer(b"\x42", np.uint8)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> PretendedHost:
    made = PretendedHost(Spoilt())
    for name in ("EmbeddedHost", "RemoteHost", "AnnouncedHost"):
        monkeypatch.setattr(supervisor, name, lambda *_: made)
    return made


@pytest.fixture
def plan(models: Path) -> Iterator[Plan]:
    with Namespace() as namespace:
        made = plan_of(namespace, models)
        yield replace(made, timing=replace(made.timing, canary_every_s=0.02, canary_deadline_s=1.0))


def next_of(events: "queue.Queue[Event]", kind: type[Any]) -> Any:
    event = events.get(timeout=PATIENCE_S)
    assert isinstance(event, kind), event
    return event


@pytest.mark.parametrize(
    ("how", "says"),
    [("wrong", "counts is off by"), ("failed", "failed its canary: std::bad_alloc"), ("silent", "did not answer")],
)
def test_a_model_that_is_ready_and_broken_is_found(host: PretendedHost, plan: Plan, how: str, says: str) -> None:
    events: queue.Queue[Event] = queue.Queue()
    with Supervisor(plan, events.put):
        next_of(events, ServerReady)
        with pytest.raises(queue.Empty):  # while it answers rightly
            events.get(timeout=0.1)
        host.server.how = how  # pyright: ignore[reportAttributeAccessIssue]
        assert says in next_of(events, ServerLost).reason
        host.server.how = ""  # pyright: ignore[reportAttributeAccessIssue]
        assert next_of(events, ServerReady).epoch == 2


def test_a_server_of_somebody_elses_is_asked_in_doubt_only(host: PretendedHost, plan: Plan) -> None:
    events: queue.Queue[Event] = queue.Queue()
    with Supervisor(replace(plan, announced=Path("/run/triton.json")), events.put):
        next_of(events, ServerReady)
        host.server.how = "failed"  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(queue.Empty):
            events.get(timeout=0.1)
        host.server.doubt("a batch failed")
        next_of(events, ServerLost)
        host.server.how = ""  # pyright: ignore[reportAttributeAccessIssue]
        next_of(events, ServerReady)
        assert host.server.calls.count("unload") >= 1  # the same server, broken: its models are started anew


def test_doubt_that_proves_wrong_is_told(host: PretendedHost, plan: Plan) -> None:
    events: queue.Queue[Event] = queue.Queue()
    with Supervisor(plan, events.put):
        ready = next_of(events, ServerReady)
        for _ in range(2):
            ready.client.doubt("a batch failed")
            checked = next_of(events, ServerChecked)
            assert checked.epoch == 1 and checked.since_ns > 0
        assert host.opened == 1


def test_a_model_that_was_unloaded_is_loaded_again_and_nothing_else(host: PretendedHost, plan: Plan) -> None:
    events: queue.Queue[Event] = queue.Queue()
    with Supervisor(plan, events.put):
        next_of(events, ServerReady)
        host.server.unload("counts_u16")
        while not host.server.is_ready:
            pass
        with pytest.raises(queue.Empty):
            events.get(timeout=0.1)
        assert host.opened == 1


def test_a_model_that_does_not_load_again_costs_the_server(host: PretendedHost, plan: Plan) -> None:
    events: queue.Queue[Event] = queue.Queue()
    with Supervisor(plan, events.put):
        next_of(events, ServerReady)
        host.server.errors["load"] = InferenceError("failed", "InvalidProtobuf")
        host.server.unload("counts_u16")
        assert "does not load: InvalidProtobuf" in next_of(events, ServerLost).reason


def test_many_doubts_renew_the_models_but_not_again_and_again() -> None:
    doubts, now_s = Doubts(), 1000.0
    assert [doubts.passed(now_s + at) for at in range(DOUBTS)] == [False] * (DOUBTS - 1) + [True]
    assert not any(doubts.passed(now_s + DOUBTS + at) for at in range(100))  # it is the frames
    later = now_s + DOUBTS + REMEDY_EVERY_S
    assert any(doubts.passed(later + at) for at in range(DOUBTS))


def test_few_doubts_are_no_reason() -> None:
    doubts = Doubts()
    assert not any(doubts.passed(at * DOUBTS_WITHIN_S / (DOUBTS - 2)) for at in range(100))
