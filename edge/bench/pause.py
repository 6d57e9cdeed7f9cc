"""How soon a pause is honoured, with everything at work: `adaptive_map` on a served and simulated beamline.

Theory of operation
-------------------
The RunEngine runs the plan in the calling thread and on its event loop. A second thread asks for pauses, each is
resumed a moment later. Runs follow each other until all pauses are made. A pause must not cost a point or count one
twice, so each run is checked by its documents as well.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from bluesky.callbacks.buffer import BufferingWrapper
from bluesky.callbacks.json_writer import JSONLinesWriter
from threadpoolctl import threadpool_limits

from edge.agent.messages import Observation
from edge.agent.service import AgentService
from edge.bench.activity import Watch
from edge.bench.heartbeat import Heartbeat
from edge.bench.pauser import Pause, Pauser
from edge.demo.map import EXPOSURE, Beamline, Options, adaptive_agent, beamline
from edge.experiment.callbacks import Fields, observation_of
from edge.experiment.series import SeriesRecord

LEAST_POINTS = 12
"""Of a run: what comes before and after the points is paused too, but not mostly that."""


@dataclass(frozen=True)
class Run:
    """One run of the plan, checked."""

    points: int
    observations: int
    rejected: int  # measurements that were repeated, other than by a pause
    series: tuple[SeriesRecord, ...]
    problems: tuple[str, ...]  # what is wrong with it; empty: nothing


@dataclass(frozen=True)
class Measured:
    """The pauses of all runs. Times in seconds, `stall_at_s` from the start as those of the pauses."""

    pauses: tuple[Pause, ...]
    runs: tuple[Run, ...]
    stall_s: float  # longest time between two beats on the RunEngine's event loop
    stall_at_s: float
    seconds: float  # from the first run's start to the last one's end


@dataclass(eq=False)  # a callback is hashed
class Documents:
    """A run from its documents: of the events of one number the last counts."""

    start: Mapping[str, Any] = field(default_factory=dict)
    primary: dict[int, Mapping[str, Any]] = field(default_factory=dict)  # data by seq_num
    stop: Mapping[str, Any] = field(default_factory=dict)
    _descriptor: str = ""

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take in a Bluesky document."""
        if name == "start":
            self.start = document
        elif name == "descriptor" and document["name"] == "primary":
            self._descriptor = document["uid"]
        elif name == "event" and document["descriptor"] == self._descriptor:
            self.primary[document["seq_num"]] = document["data"]
        elif name == "stop":
            self.stop = document


def measure(
    options: Options, pauses: int, starting: Callable[[Mapping[str, Any]], None], hear: Callable[[Pause], None]
) -> Measured:
    """Pause `pauses` times, at random moments of as many runs as it takes; `options.points` is for one run.

    Args:
        starting: called with the data plane's addresses when everything is up.
        hear: called after each pause, in another thread.

    Raises:
        ChildError, DetectorError, NoAnswer: it could not be run.
    """
    with ExitStack() as stack:
        devices = stack.enter_context(beamline(options, starting))
        stack.enter_context(threadpool_limits(1))  # this process shares the machine with Triton
        said = stack.enter_context((options.folder / "runengine.log").open("w"))
        stack.enter_context(redirect_stdout(said))  # the RunEngine prints at every pause
        services: list[AgentService] = []
        pauser = Pauser(
            devices.engine,
            Watch(EXPOSURE.duration_s),
            pauses,
            np.random.default_rng(options.seed),
            lambda: services[-1].learning,
            hear,
        )
        stack.enter_context(pauser)
        heart = stack.enter_context(Heartbeat(devices.engine.loop))
        runs: list[Run] = []
        while pauser.left and not (runs and runs[-1].problems):
            points = max(LEAST_POINTS, min(options.points, pauser.left))
            runs.append(_run(devices, options, len(runs), points, pauser, services))
        seconds = perf_counter() - pauser.began_s
        return Measured(
            tuple(pauser.made), tuple(runs), heart.worst_s, max(0.0, heart.worst_at_s - pauser.began_s), seconds
        )


def _run(
    devices: Beamline, options: Options, number: int, points: int, pauser: Pauser, services: list[AgentService]
) -> Run:
    documents = Documents()
    writer = BufferingWrapper(JSONLinesWriter(str(options.folder), f"run-{number}.jsonl"))
    agent = adaptive_agent(points, options.seed + number)
    with AgentService(agent) as service:
        services.append(service)
        plan = devices.plan(service, points, {"purpose": "bench pause"})
        try:
            pauser.run(lambda: devices.engine(plan, [writer, documents]))
        finally:
            writer.shutdown()
    return checked(documents, agent.observations, points, devices.detector.series)


def checked(
    documents: Documents, observations: Sequence[Observation], points: int, series: tuple[SeriesRecord, ...]
) -> Run:
    """The run that the documents tell of: did the agent get each of its events, and each once?"""
    problems: list[str] = []
    status = documents.stop.get("exit_status", "not ended")
    if status != "success":
        problems.append(f"the run is {status}: {documents.stop.get('reason', '')}")
    if len(documents.primary) != points:
        problems.append(f"{len(documents.primary)} of {points} points were measured")
    problems += _differences(documents, observations)
    incomplete = [one.series_id for one in series if one.verdict != "complete"]
    if incomplete or not series:
        problems.append(f"the ledger of series {incomplete} is not complete")
    rejected = documents.stop.get("num_events", {}).get("rejected", 0)
    return Run(len(documents.primary), len(observations), rejected, series, tuple(problems))


def _differences(documents: Documents, observations: Sequence[Observation]) -> list[str]:
    """Between the agent's observations and the definitive events."""
    ids = [one.id for one in observations]
    twice = {one for one in ids if ids.count(one) > 1}
    if not documents.start:
        return ["there is no start document"]
    fields, uid = Fields(**documents.start["observation"]), documents.start["uid"]
    events = {
        (wanted := observation_of(data, fields, f"{uid}/{number}", None)).id: _content(wanted)
        for number, data in documents.primary.items()
    }
    known = {one.id: _content(one) for one in observations}
    different = sorted(one for one in events.keys() | known.keys() if events.get(one) != known.get(one))
    return [
        *([f"the agent has observations twice: {sorted(twice)}"] if twice else []),
        *([f"observations and events differ: {different}"] if different else []),
    ]


def _content(one: Observation) -> tuple[dict[str, float], float, float]:
    return dict(one.position), one.value, one.variance
