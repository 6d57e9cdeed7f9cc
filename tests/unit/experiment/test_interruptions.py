"""Pause, abort, stop and halt at every message of the adaptive map, on a real RunEngine."""

import asyncio
import logging
import threading
from contextlib import suppress
from functools import partial

import pytest
from bluesky.utils import RunEngineInterrupted

from tests.unit.experiment.beamline import Interruption
from tests.unit.experiment.test_plans import POINTS, Scene


def messages_of_a_run(engine, scene, points=POINTS) -> int:
    hook = engine.msg_hook = Interruption(engine, (), lambda: None)
    scene.run(engine, points)
    engine.msg_hook = None
    return len(hook.messages)


def scene_with_trouble(threaded: bool) -> Scene:
    """Its second point is bad twice: incomplete, then without beam."""
    scene = Scene(threaded, counts=[1000.0, 1000.0, 0.0])
    scene.detector.script[1] = (float("nan"), 1.0)
    return scene


def interrupted(engine, scene, at, what, points=POINTS) -> Interruption:
    """Run until it ends or pauses."""
    hook = engine.msg_hook = Interruption(engine, at, what)
    with suppress(RunEngineInterrupted):
        scene.run(engine, points)
    return hook


def check_truth(scene) -> None:
    """The agent has what the definitive events say, nothing twice, nothing bad."""
    ids = [one.id for one in scene.agent.ingested]
    assert len(set(ids)) == len(ids)
    assert scene.agent.ingested == scene.observations_of_documents()
    for event in scene.documents.events("primary"):
        assert event["data"]["i0"] >= 100.0
        # the value was measured where the event says
        at_place = event["data"]["x"] + 2 * event["data"]["y"]
        assert event["data"]["det_value"] - at_place == pytest.approx(event["data"]["det_value_variance"])


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """The RunEngine logs each end with a traceback, which here is most of the time that a run takes."""
    monkeypatch.setattr(logging.getLogger("bluesky"), "disabled", True)


@pytest.mark.parametrize(("make", "threaded"), [(Scene, False), (scene_with_trouble, True)])
def test_pause_and_resume_at_every_message(engine, make, threaded):
    total = messages_of_a_run(engine, make(threaded))
    paused = 0
    for at in range(total):
        scene = make(threaded)
        hook = interrupted(engine, scene, (at, at + 3 + at % 11), partial(engine._request_pause_coro, False))
        while engine.state == "paused":
            paused += 1
            for motor in scene.motors:
                motor.position = 77.0  # somebody moves by hand
            with suppress(RunEngineInterrupted):
                engine.resume()
        assert engine.state == "idle", hook.messages[at]
        scene.documents.check()
        assert scene.documents.of("stop")[0]["exit_status"] == "success", hook.messages[at]
        assert len(scene.agent.ingested) == POINTS
        check_truth(scene)
        assert scene.agent.pending == set() and scene.detector.staged == 0
        suggested = [one["data"]["suggestion_id"] for one in scene.documents.events("suggestions")]
        assert suggested == ["s0", "s1", "s2"]
        assert [one["data"]["series_uid"] for one in scene.documents.events("series")] == ["uid-1", "uid-2"]
    assert paused > total


def test_a_suspender_at_every_message(engine):
    """As where the beam is lost: the RunEngine holds the plan by itself, then repeats."""

    async def suspend() -> None:
        engine.request_suspend(lambda: asyncio.sleep(0))

    last = messages_of_a_run(engine, scene_with_trouble(False), 2) - 6  # later it would strike when all is over
    for at in range(last):
        scene = scene_with_trouble(False)
        stopped = scene.motors[0].stops
        hook = interrupted(engine, scene, (at, min(at + 20, last)), suspend, 2)
        assert engine.state == "idle", hook.messages[at]
        scene.documents.check()
        assert scene.documents.of("stop")[0]["exit_status"] == "success", hook.messages[at]
        assert len(scene.agent.ingested) == 2
        check_truth(scene)
        assert scene.motors[0].stops > stopped


def request(engine, how):
    return {
        "abort": partial(engine._abort_coro, "test"),
        "stop": engine._stop_coro,
        "halt": engine._halt_coro,
    }[how]


@pytest.mark.parametrize("how", ["abort", "stop", "halt"])
def test_the_end_at_every_message(engine, how):
    for at in range(messages_of_a_run(engine, scene_with_trouble(False), 2)):
        scene = scene_with_trouble(False)
        hook = interrupted(engine, scene, (at,), request(engine, how), 2)
        check_end(engine, scene, hook.messages[at])


@pytest.mark.parametrize("how", ["abort", "stop", "halt"])
def test_the_end_after_a_pause_at_every_message(engine, how):
    for at in range(messages_of_a_run(engine, scene_with_trouble(True), 2)):
        scene = scene_with_trouble(True)
        hook = interrupted(engine, scene, (at,), partial(engine._request_pause_coro, False), 2)
        if engine.state == "paused":
            getattr(engine, how)()
        check_end(engine, scene, hook.messages[at])


@pytest.mark.parametrize("how", ["abort", "halt"])
def test_the_end_while_a_resumed_run_repeats_messages(engine, how):
    for at in range(messages_of_a_run(engine, scene_with_trouble(False), 2)):
        scene = scene_with_trouble(False)
        hook = interrupted(engine, scene, (at,), partial(engine._request_pause_coro, False), 2)
        if engine.state == "paused":
            engine.msg_hook = Interruption(engine, (at % 5,), request(engine, how))
            with suppress(RunEngineInterrupted):
                engine.resume()
        check_end(engine, scene, hook.messages[at])


def check_end(engine, scene, message) -> None:
    engine.msg_hook = None
    assert engine.state == "idle", message
    assert scene.detector.staged == 0, message
    assert scene.agent.pending == set(), message
    assert scene.motors[0].position < 1, message
    if not scene.documents.all:
        assert scene.agent.ingested == []
        return
    scene.documents.check()
    told = scene.agent.ingested
    assert told == scene.observations_of_documents()[: len(told)], message
    assert len(scene.documents.events("primary")) - len(told) in (0, 1), message


def test_an_error_after_a_pause_is_still_an_attempt(engine):
    """The repeated trigger fails while the plan itself is already further: the point is repeated, nothing is lost."""
    for at in range(messages_of_a_run(engine, Scene(), 2)):
        scene = Scene()
        interrupted(engine, scene, (at,), partial(engine._request_pause_coro, False), 2)
        if engine.state == "paused":
            scene.detector.script[scene.detector.triggers] = ValueError("dead")
            engine.resume()
        scene.documents.check()
        assert len(scene.agent.ingested) == 2
        check_truth(scene)


def test_a_pause_is_honoured_while_the_agent_thinks(engine):
    scene = Scene()
    scene.agent.keep = {1}
    ended = threading.Event()
    outcome = []

    def measure() -> None:
        try:
            scene.run(engine, suggest_timeout_s=600.0)
        except RunEngineInterrupted:
            outcome.append(engine.state)
        ended.set()

    waiting = threading.Event()
    engine.msg_hook = lambda msg: waiting.set() if msg.command == "wait_for" and scene.agent.ingested else None
    thread = threading.Thread(target=measure)
    thread.start()
    assert waiting.wait(30), "the plan did not come to wait for the agent"
    engine.request_pause()
    assert ended.wait(30)
    thread.join()
    assert outcome == ["paused"], "the RunEngine is paused while the agent still thinks"
    assert not scene.agent.kept[1].done()
    scene.agent.kept[1].set_result(scene.agent.suggestions(1))
    engine.resume()
    scene.documents.check()
    check_truth(scene)
    assert len(scene.agent.ingested) == POINTS
    descriptor = next(one["uid"] for one in scene.documents.of("descriptor") if one["name"] == "primary")
    primary = [one for one in scene.documents.of("event") if one["descriptor"] == descriptor]
    assert len(primary) == POINTS, "what was ingested is not emitted again"
