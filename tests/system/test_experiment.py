"""The Bluesky plan, the simulated detector and the real `edge serve`: what is triggered is what is observed."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from bluesky.utils import RunEngineInterrupted

from edge.agent.optimizer import GaussianProcessAgent, Options
from edge.agent.path import PathAgent, snake_raster
from edge.agent.service import AgentService
from edge.agent.space import Axis, Space
from edge.demo.children import child, data_plane
from edge.experiment.dataplane import DataPlane
from edge.experiment.detector import DetectorError, EdgeDetector, Exposure, Patience
from edge.experiment.errors import PointFailed
from edge.experiment.measurement import BraggIntensity
from edge.experiment.plans import adaptive_map
from edge.experiment.settings import MapSettings, Monitor
from edge.experiment.simplon import SimplonClient
from edge.experiment.simulated import LimitError, SimulatedMonitor, SimulatedMotor
from edge.physics.bragg import bragg_sample
from tests.system.serving import CONFIG, wait_until
from tests.unit.experiment.beamline import Documents, run_engine

pytestmark = pytest.mark.usefixtures("triton")

SPACE = Space((Axis("x", 0.2, 0.8), Axis("y", 0.2, 0.8)))
FRAMES = 3
SEED = 4
PATIENCE = Patience(margin_s=1.0, announce_s=5.0, results_s=3.0, end_s=10.0)


class ChecksumMeasurement:
    """What `identity` says of the frames: no physics, but no two frames are alike."""

    route = "check"

    def describe(self) -> dict[str, dict[str, Any]]:
        number = {"dtype": "number", "shape": []}
        return {"value": {**number, "units": "1"}, "value_variance": {**number, "units": "1"}}

    def reduce(self, arrays) -> dict[str, float]:
        sums = [int(one["checksum"][0]) for one in arrays]
        assert len(set(sums)) == len(sums)
        return {"value": float(np.mean([one % 1000 for one in sums])), "value_variance": 1.0}


@dataclass
class Beamline:
    """A simulated beamline that is served, and the devices for it."""

    http: str
    addresses: dict[str, Any]
    motors: list[SimulatedMotor]
    i0: SimulatedMonitor
    simplon: SimplonClient

    def detector(self, source: str = "det", handshake: str = "", patience: Patience = PATIENCE) -> EdgeDetector:
        plane = DataPlane(handshake or self.addresses["handshake"], source, "check", timeout_s=patience.results_s)
        return EdgeDetector("eiger", self.simplon, plane, ChecksumMeasurement(), Exposure(FRAMES, 0.01), patience)

    def put(self, path: str, value: Any) -> None:
        httpx.put(f"{self.http}/simulator/api/1.0/{path}", json={"value": value}).raise_for_status()

    @property
    def settings(self) -> MapSettings:
        return MapSettings(monitor=Monitor(self.i0, lower_limit=1000.0), beam_wait_s=0.01)

    def plan(self, detector: EdgeDetector, service: AgentService, points: int = 100):
        return adaptive_map(detector, self.motors, service, points, settings=self.settings)


@pytest.fixture(scope="module")
def beamline(triton, tmp_path_factory) -> Iterator[Beamline]:
    folder = tmp_path_factory.mktemp("beamline")
    with served(folder) as made:
        yield made


@contextmanager
def served(folder: Path, model: str = "identity") -> Iterator[Beamline]:
    with ExitStack() as stack:
        simulated = stack.enter_context(child("simulate", ["--sample-seed", str(SEED)], folder))
        config = CONFIG.format(protocol="stream-v2", address=simulated["stream"], memory_mib=16)
        config = config.replace('model = "identity"', f'model = "{model}"')
        addresses = stack.enter_context(data_plane(config, folder))
        http = simulated["http"]
        motors = [SimulatedMotor(axis, http, axis) for axis in ("x", "y")]
        i0, simplon = SimulatedMonitor("i0", http, 0.02), SimplonClient(http)
        for device in (*motors, i0, simplon):
            stack.callback(device.close)
        for axis in ("x", "y"):
            httpx.put(f"{http}/simulator/api/1.0/stage/{axis}/speed", json={"value": 20.0}).raise_for_status()
        yield Beamline(http, dict(addresses), motors, i0, simplon)


@pytest.fixture(autouse=True)
def _as_at_the_start(beamline) -> None:
    beamline.put("faults", {})
    beamline.put("beam", 1.0)


@pytest.fixture
def engine():
    with run_engine() as made:
        yield made


@pytest.fixture
def agent():
    return PathAgent(SPACE, snake_raster(SPACE, 2, 3))


def path_of(documents: Documents) -> list[tuple[float, float]]:
    return [(one["data"]["x"], one["data"]["y"]) for one in documents.events("primary")]


def check_run(documents: Documents, agent: PathAgent) -> None:
    """Each point of the path has one event, at its place, and the agent has the very same."""
    documents.check()
    np.testing.assert_allclose(path_of(documents), snake_raster(SPACE, 2, 3), atol=1e-6)
    uid = documents.of("start")[0]["uid"]
    events = documents.events("primary")
    assert [one.id for one in agent.observations] == [f"{uid}/{one['seq_num']}" for one in events]
    for one, event in zip(agent.observations, events, strict=True):
        assert one.value == pytest.approx(event["data"]["eiger_value"] / event["data"]["i0"])


def test_a_run_is_one_series_and_each_point_its_own_images(beamline, engine, agent):
    documents, detector = Documents(), beamline.detector()
    with AgentService(agent) as service:
        result = engine(beamline.plan(detector, service), documents)
    assert result.exit_status == "success"
    check_run(documents, agent)
    events = [one["data"] for one in documents.events("primary")]
    assert [one["eiger_first_image"] for one in events] == [0, 3, 6, 9, 12, 15]
    assert len({one["eiger_series_id"] for one in events}) == 1
    (series,) = documents.events("series")
    assert series["data"]["series_verdict"] == "complete"
    assert series["data"]["series_images"] == series["data"]["series_published"] == 18
    assert (series["data"]["series_doubt"], series["data"]["series_problems"]) == ("", "")
    truth = httpx.get(f"{beamline.http}/simulator/api/1.0/series").json()["value"]
    assert (truth["images"], truth["triggers"]) == (18, 6)
    assert truth["series_unique_id"] == series["data"]["series_uid"]
    assert beamline.simplon.state() == "idle"
    assert {one.name for one in threading.enumerate() if "eiger" in one.name} == set()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"lose": [4]}, "images 4 never reached `edge serve`"),
        ({"short_triggers": [1]}, "images 5 never reached `edge serve`"),
        ({"silent_commands": ["trigger"]}, "no answer within"),
    ],
)
def test_a_point_that_is_not_whole_is_measured_again_in_a_new_series(beamline, engine, agent, fault, reason):
    documents, detector = Documents(), beamline.detector()
    beamline.put("faults", fault)

    def repair(name: str, document: Any) -> None:
        if name == "event" and "rejection_reason" in document["data"]:
            beamline.put("faults", {})

    with AgentService(agent) as service:
        engine(beamline.plan(detector, service), [documents, repair])
    check_run(documents, agent)
    (rejected,) = documents.events("rejected")
    assert reason in rejected["data"]["rejection_reason"]
    first, second = (one["data"] for one in documents.events("series"))
    assert reason in first["series_doubt"]
    assert second["series_verdict"] == "complete"
    assert (
        second["series_images"]
        == second["series_published"]
        == FRAMES * sum(one["data"]["eiger_series_id"] == second["series_id"] for one in documents.events("primary"))
    )


def test_beam_that_comes_back(beamline, engine, agent):
    documents, detector = Documents(), beamline.detector()

    def weather(name: str, document: Any) -> None:
        if name == "event" and "rejection_reason" in document["data"]:
            beamline.put("beam", 1.0)
        elif name == "event" and "i0" in document["data"] and document["seq_num"] == 2:
            beamline.put("beam", 0.0)

    with AgentService(agent) as service:
        engine(beamline.plan(detector, service), [documents, weather])
    check_run(documents, agent)
    (rejected,) = documents.events("rejected")
    assert rejected["data"]["rejection_beam_lost"] is True
    (series,) = documents.events("series")
    assert (series["data"]["series_images"], series["data"]["series_verdict"]) == (21, "complete")


def test_pauses_while_points_are_measured(beamline, engine, agent):
    """The RunEngine is paused while triggers are on their way, and repeats them: no image changes its point."""
    documents, detector = Documents(), beamline.detector()
    triggers = 0

    def pause(message: Any) -> None:
        nonlocal triggers
        if message.command == "trigger" and message.obj.name == "eiger":
            triggers += 1
            if triggers % 3 == 1:
                tasks.append(engine.loop.create_task(engine._request_pause_coro(False)))

    tasks: list[Any] = []
    engine.msg_hook = pause
    with AgentService(agent) as service:
        with pytest.raises(RunEngineInterrupted):
            engine(beamline.plan(detector, service), documents)
        while engine.state == "paused":
            beamline.motors[0].set(0.3).wait(10)  # somebody moves by hand
            try:
                engine.resume()
            except RunEngineInterrupted:
                continue
    check_run(documents, agent)
    assert len(tasks) > 1
    (series,) = documents.events("series")
    assert series["data"]["series_verdict"] == "complete"
    assert series["data"]["series_images"] > 18


def test_an_aborted_run_leaves_the_detector_idle_and_the_account_closed(beamline, engine, agent):
    documents, detector = Documents(), beamline.detector()

    def give_up(message: Any) -> None:
        if message.command == "save" and len(agent.observations) == 2:
            tasks.append(engine.loop.create_task(engine._abort_coro("enough")))

    tasks: list[Any] = []
    engine.msg_hook = give_up
    with AgentService(agent) as service, pytest.raises(RunEngineInterrupted):
        engine(beamline.plan(detector, service), documents)
    documents.check()
    assert documents.of("stop")[0]["exit_status"] == "abort"
    assert beamline.simplon.state() == "idle"
    (series,) = documents.events("series")
    assert series["data"]["series_verdict"] == "complete"


def test_words_for_what_is_wired_wrongly(beamline, engine, agent):
    with AgentService(agent) as service:
        with pytest.raises(DetectorError, match="`edge serve` has no source 'eiger9m'; it has 'det'"):
            engine(beamline.plan(beamline.detector(source="eiger9m"), service))
        assert beamline.simplon.state() == "idle"
        with pytest.raises(DetectorError, match=r"nobody answers at tcp://127\.0\.0\.1:9 "):
            engine(beamline.plan(beamline.detector(handshake="tcp://127.0.0.1:9"), service))
        with pytest.raises(LimitError, match="x cannot go to 5"):
            beamline.motors[0].set(5.0)
    with pytest.raises(DetectorError, match="is this the right address"):
        SimulatedMotor("x", "http://127.0.0.1:9", "x")


def test_a_data_plane_that_dies_ends_the_run_in_time_and_in_words(engine, agent, tmp_path):
    documents = Documents()
    with served(tmp_path) as beamline:
        detector = beamline.detector(patience=Patience(ready_s=1.0, announce_s=1.0, results_s=1.0, end_s=1.0))

        def kill(name: str, document: Any) -> None:
            if name == "event" and "i0" in document["data"] and document["seq_num"] == 2:
                os.kill(beamline.addresses["pid"], signal.SIGKILL)

        with AgentService(agent) as service, pytest.raises(PointFailed, match="nobody answers at") as caught:
            engine(beamline.plan(detector, service), [documents, kill])
        assert caught.value.__cause__ is not None
        documents.check()
        assert len(documents.events("primary")) == len(agent.observations) == 2
        assert {one["data"]["series_verdict"] for one in documents.events("series")} == {"unknown"}
        wait_until(lambda: beamline.simplon.state() == "idle", "the disarm")


def test_an_agent_maps_bragg_intensity_and_the_numbers_are_those_of_the_sample(engine, tmp_path):
    """The whole loop: photons, peaks found by the model, intensities per monitor count, a surrogate that learns."""
    documents = Documents()
    exposure = Exposure(FRAMES, 0.05)
    agent = GaussianProcessAgent(SPACE, options=Options(start_points=6, candidates=100, points=12))
    with served(tmp_path, "peaks") as beamline:
        plane = DataPlane(beamline.addresses["handshake"], "det", "check", timeout_s=10.0)
        detector = EdgeDetector("eiger", beamline.simplon, plane, BraggIntensity("check"), exposure)
        with AgentService(agent) as service:
            engine(beamline.plan(detector, service, points=12), documents)
    documents.check()
    assert len(agent.observations) == len(documents.events("primary")) == 12
    sample = bragg_sample(SEED)
    for event in documents.events("primary"):
        data = event["data"]
        truth = float(sample.total(data["x"], data["y"])) * exposure.duration_s
        assert data["eiger_intensity"] == pytest.approx(
            truth, rel=0.1, abs=5 * np.sqrt(data["eiger_intensity_variance"])
        )
    asked = [one["data"] for one in documents.events("suggestions")]
    assert asked[0]["suggestion_acquisition"] == "start" and asked[-1]["suggestion_surrogate_version"] > 0
    assert not any(one["suggestion_fallback"] for one in asked)
    assert documents.events("series")[0]["data"]["series_verdict"] == "complete"
