"""Adaptive mapping: an agent chooses where a Bluesky plan measures, by what Triton finds in the frames.

Everything is as at a beamline, each part in a process of its own: a detector and motors behind HTTP (`edge simulate`),
frames over ZeroMQ to the data plane (`edge serve`), and here a RunEngine with the plan, the devices and the agent.
Afterwards the same plan measures the same sample along two paths that need no agent, for the same beam time.
"""

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from bluesky import RunEngine
from bluesky.callbacks.buffer import BufferingWrapper
from bluesky.callbacks.json_writer import JSONLinesWriter
from bluesky.plan_stubs import mv
from bluesky.utils import RunEngineInterrupted
from threadpoolctl import threadpool_limits

from edge.agent.messages import Agent
from edge.agent.optimizer import GaussianProcessAgent
from edge.agent.optimizer import Options as AgentOptions
from edge.agent.path import PathAgent, snake_raster, sobol_tour
from edge.agent.service import AgentService
from edge.agent.space import Axis, Space
from edge.demo.children import child, data_plane
from edge.demo.judgement import MapScan, largest_within, path_seconds
from edge.experiment.dataplane import DataPlane
from edge.experiment.detector import EdgeDetector, Exposure, Patience
from edge.experiment.measurement import BraggIntensity
from edge.experiment.plans import Plan, adaptive_map
from edge.experiment.responsive import responsive
from edge.experiment.settings import MapSettings, Monitor
from edge.experiment.simplon import SimplonClient
from edge.experiment.simulated import SimulatedMonitor, SimulatedMotor
from edge.simulate.beamline import MONITOR_RATE_HZ

CONFIG = """\
[[source]]
name = "detector"
protocol = "{protocol}"
address = "{address}"

[[route]]
name = "peaks"
model = "peaks"
pixel_bits = [16]

[server]
log_dir = {log_dir}

[results]
publish = "tcp://127.0.0.1:*"
handshake = "tcp://127.0.0.1:*"
folder = {results}
raw_frames = "../raw/series_{{series_id}}_master.h5"

[metrics]
address = "127.0.0.1:0"
"""

SPACE = Space((Axis("x", 0.0, 1.0, speed=1.0), Axis("y", 0.0, 1.0, speed=1.0)))
"""The sample in mm; the motors move both axes at once, at 1 mm/s."""

EXPOSURE = Exposure(frames=2, frame_time_s=0.05)

RESULTS_S = 40.0
"""Patience with the results of a point: a Triton that died is back within seconds."""

BEAM_LOST_BELOW = 0.5
"""Share of the usual monitor counts."""


@dataclass(frozen=True)
class Options:
    """How to run it."""

    seed: int  # of the sample, the noise and the agent
    points: int  # that the agent may choose
    protocol: str
    folder: Path  # for logs, documents, results and raw frames; exists
    triton_url: str | None = None


@dataclass
class Progress:
    """The run so far, from its documents."""

    strategy: str
    points: int  # that are planned
    value_field: str
    start_s: float = 0.0  # the first suggestion is there, the motors are about to move
    times_s: list[float] = field(default_factory=list)  # when each point was measured
    positions: list[tuple[float, float]] = field(default_factory=list)  # (x, y) read back, mm
    values: list[float] = field(default_factory=list)
    stop: Mapping[str, Any] = field(default_factory=dict)
    _streams: dict[str, str] = field(default_factory=dict)

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take in a Bluesky document."""
        stream = self._streams.get(document.get("descriptor", ""), "")
        if name == "descriptor":
            self._streams[document["uid"]] = document["name"]
        elif name == "event" and stream == "suggestions":
            self.start_s = self.start_s or document["time"]
        elif name == "event" and stream == "primary":
            data, at = document["data"], document["seq_num"] - 1  # a point measured again has the same number
            del self.positions[at:], self.values[at:], self.times_s[at:]
            self.positions.append((data["x"], data["y"]))
            self.values.append(data[self.value_field])
            self.times_s.append(document["time"])
        elif name == "stop":
            self.stop = document


class Beamline:
    """The devices and the RunEngine."""

    def __init__(self, http: str, handshake: str, documents: Path) -> None:
        self.motors = [SimulatedMotor(axis.name, http, axis.name) for axis in SPACE.axes]
        self.monitor = SimulatedMonitor("i0", http, EXPOSURE.frames * EXPOSURE.frame_time_s)
        self.detector = EdgeDetector(
            "detector",
            SimplonClient(http),
            DataPlane(handshake, "detector", "peaks"),
            BraggIntensity(),
            EXPOSURE,
            Patience(results_s=RESULTS_S),
        )
        self.engine = RunEngine({}, context_managers=[])
        self._documents = documents

    def close(self) -> None:
        for device in (*self.motors, self.monitor):
            device.close()

    def plan(self, service: AgentService, points: int, md: Mapping[str, Any]) -> Plan:
        """A map of `points` points at most, where the agent of `service` suggests."""
        usual = MONITOR_RATE_HZ * EXPOSURE.duration_s
        settings = MapSettings(
            monitor=Monitor(self.monitor, lower_limit=BEAM_LOST_BELOW * usual),
            fallback=[SPACE.mapping(position) for position in SPACE.sobol(points, seed=1)],
        )
        return adaptive_map(self.detector, self.motors, service, points, settings=settings, md=md)

    def measure(self, strategy: str, agent: Agent, points: int, hear: Callable[[Progress], None]) -> MapScan:
        """One run: `points` points at most, where `agent` suggests; the motors start at the origin.

        Raises whatever ends the plan.
        """
        progress = Progress(strategy, points, "detector_intensity")
        writer = JSONLinesWriter(str(self._documents), f"{strategy}.jsonl")

        def told(name: str, document: Mapping[str, Any]) -> None:
            writer(name, document)
            progress(name, document)
            hear(progress)

        with AgentService(agent) as service:
            self._run(mv(*(part for motor in self.motors for part in (motor, 0.0))))
            documents = BufferingWrapper(told)  # a disk or a terminal must not keep the RunEngine waiting
            try:
                self._run(self.plan(service, points, {"strategy": strategy}), documents)
            finally:
                documents.shutdown()
        return MapScan(
            strategy=strategy,
            observations=agent.observations,
            path=np.array(progress.positions).reshape(-1, len(SPACE.axes)),
            times_s=np.array(progress.times_s) - progress.start_s,
            exit_status=progress.stop["exit_status"],
            series=self.detector.series,
            suggest_ms=service.suggest_ms,
            rejected=progress.stop["num_events"].get("rejected", 0),
        )

    def _run(self, plan: Any, *subscribers: Callable[[str, Mapping[str, Any]], None]) -> None:
        try:
            with _pause_at_interrupt(self.engine):
                self.engine(plan, *subscribers)
        except RunEngineInterrupted:
            self.engine.abort("interrupted")
            raise KeyboardInterrupt from None


def run(
    options: Options, starting: Callable[[Mapping[str, Any]], None], hear: Callable[[Progress], None]
) -> Iterator[MapScan]:
    """Yield what the agent, a snake raster and a tour of Sobol points measured, each when it is finished.

    Args:
        starting: called with the data plane's addresses when everything is up.
        hear: called after every document.

    Raises:
        ChildError, DetectorError, NoAnswer: it could not be run.
    """
    # One thread: this process shares the machine with Triton, and products here are small.
    with beamline(options, starting) as devices, threadpool_limits(1):
        adaptive = devices.measure("adaptive", adaptive_agent(options.points, options.seed), options.points, hear)
        yield adaptive
        for strategy, path in rivals(adaptive, options.seed).items():
            yield devices.measure(strategy, PathAgent(SPACE, path), len(path), hear)


def rivals(adaptive: MapScan, seed: int) -> dict[str, np.ndarray]:
    """Paths [points, 2] of the beam time that `adaptive` took, at the time a point that it usually took."""
    origin = np.zeros((1, len(SPACE.axes)))
    budget = adaptive.beam_time_s
    a_point = float(np.median(np.diff(adaptive.times_s) - SPACE.travel_s(adaptive.path[:-1], adaptive.path[1:])))

    def timed(path: np.ndarray) -> tuple[float, np.ndarray]:
        travel_s = path_seconds(SPACE, np.vstack([origin, path]), 0.0)
        return a_point * len(path) + travel_s, path

    most = int(budget / a_point) + 1
    lines = range(2, int(np.sqrt(most)) + 3)
    grids = [(rows, columns) for rows in lines for columns in lines if max(rows, columns) <= 1.34 * min(rows, columns)]
    return {
        "raster": largest_within(budget, [timed(snake_raster(SPACE, *grid)) for grid in grids]),
        "sobol": _longest_tour(budget, most, seed, timed),
    }


def _longest_tour(
    budget: float, most: int, seed: int, timed: Callable[[np.ndarray], tuple[float, np.ndarray]]
) -> np.ndarray:
    """The Sobol tour with the most points that fits; found by bisection."""
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        fits = timed(sobol_tour(SPACE, middle, seed))[0] <= budget
        low, high = (middle, high) if fits else (low, middle - 1)
    return sobol_tour(SPACE, low, seed)


def adaptive_agent(points: int, seed: int) -> GaussianProcessAgent:
    """What chooses `points` points; for an `AgentService`, which trains it in a thread of its own."""
    options = AgentOptions(exposure_s=EXPOSURE.duration_s, points=points, training="deferred")
    return GaussianProcessAgent(SPACE, seed=seed, options=options)


@contextmanager
def _pause_at_interrupt(engine: RunEngine) -> Iterator[None]:
    """Ctrl-C pauses the plan, so that it can be aborted in order: an exception would tear the RunEngine apart."""
    before = signal.signal(signal.SIGINT, lambda *_: engine.request_pause(False))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def beamline(options: Options, starting: Callable[[Mapping[str, Any]], None]) -> Iterator[Beamline]:
    """A simulated beamline, the data plane for its detector, and the devices for them.

    Raises:
        ChildError, DetectorError, NoAnswer: it could not be started.
    """
    folder = options.folder
    seed = str(options.seed)
    arguments = ["--protocol", options.protocol, "--sample-seed", seed, "--seed", seed]
    with child("simulate", [*arguments, "--write", str(folder / "raw")], folder) as simulated:
        config = CONFIG.format(
            protocol=options.protocol,
            address=simulated["stream"],
            log_dir=json.dumps(str(folder)),  # a TOML basic string too
            results=json.dumps(str(folder / "results")),
        )
        with data_plane(config, folder, options.triton_url) as addresses:
            starting(addresses)
            devices = Beamline(simulated["http"], addresses["handshake"], folder)
            try:
                with responsive():
                    yield devices
            finally:
                devices.close()
