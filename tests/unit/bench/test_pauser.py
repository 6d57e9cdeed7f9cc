"""With a real RunEngine, and plans that wait for what the test decides."""

import asyncio
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import Msg, RunEngineInterrupted

from edge.bench import pauser as module
from edge.bench.activity import THINKING, Watch
from edge.bench.pauser import Pause, Pauser
from tests.unit.experiment.beamline import run_engine


@pytest.fixture
def engine(monkeypatch) -> Iterator[RunEngine]:
    monkeypatch.setattr(module, "GAP_S", 0.001)
    monkeypatch.setattr(module, "HOLD_S", 0.001)
    with run_engine() as made:
        yield made


def waiting(over: threading.Event) -> Iterator[Msg]:
    """A run that ends when `over` is set, and waits in the way of the plan that is measured."""

    async def until() -> None:
        while not over.is_set():
            await asyncio.sleep(0.001)

    yield Msg("open_run")
    yield Msg("checkpoint")
    yield Msg("wait_for", None, [until])
    yield Msg("close_run")


def test_as_many_pauses_as_asked_and_the_run_ends_well(engine):
    over, heard, states = threading.Event(), [], []

    def hear(made: Pause) -> None:
        heard.append(made)
        states.append(engine.state)
        if len(heard) == 5:
            over.set()

    with Pauser(engine, Watch(1.0), 5, np.random.default_rng(1), lambda: len(heard) > 2, hear) as pauser:
        pauser.run(lambda: engine(waiting(over)))
        assert engine.state == "idle"
        assert pauser.left == 0
    assert pauser.made == heard
    assert [one.learning for one in heard] == [False] * 3 + [True] * 2
    assert all(0 < one.from_call_s <= one.from_due_s for one in heard)
    assert [one.at_s for one in heard] == sorted(one.at_s for one in heard)
    assert THINKING in {one.doing for one in heard}
    assert engine.state_hook is None


def test_nothing_is_paused_where_no_run_is_open(engine):
    heard: list[Pause] = []
    with Pauser(engine, Watch(1.0), 1, np.random.default_rng(1), lambda: False, heard.append) as pauser:
        pauser.run(lambda: engine([Msg("sleep", None, 0.02)]))
        assert pauser.left == 1
    assert heard == []


def test_an_interruption_that_is_no_pause_is_not_resumed(engine):
    def interrupted() -> None:
        raise RunEngineInterrupted("by hand")

    pauser = Pauser(engine, Watch(1.0), 1, np.random.default_rng(1), lambda: False, lambda _: None)
    with pauser, pytest.raises(KeyboardInterrupt):
        pauser.run(interrupted)
    assert pauser.made == []
