"""A beamline in memory, for a real RunEngine: Statuses end at once or from a thread, the agent follows a script."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bluesky import RunEngine
from ophyd.status import Status

from edge.agent.messages import Observation, Suggestion
from edge.experiment.series import SeriesRecord


def ended(status: Status, error: Exception | None = None, threaded: bool = False) -> Status:
    """End `status`: now, or from a thread of its own."""

    def end() -> None:
        if error is None:
            status.set_finished()
        else:
            status.set_exception(error)

    if threaded:
        threading.Thread(target=end).start()
    else:
        end()
    return status


class Motor:
    """Movable and Readable. Stands a little beside where it was sent, as motors do."""

    parent = None
    OFFSET = 0.001

    def __init__(self, name: str, threaded: bool = False) -> None:
        self.name, self.threaded = name, threaded
        self.position = 0.0
        self.moves: list[float] = []
        self.stops = 0
        self.error: Exception | None = None

    def set(self, value: float) -> Status:
        self.moves.append(value)
        self.position = value + self.OFFSET
        return ended(Status(obj=self), self.error, self.threaded)

    def stop(self, success: bool = True) -> None:
        self.stops += 1

    def read(self) -> dict[str, Any]:
        return {self.name: {"value": self.position, "timestamp": 0.0}}

    def describe(self) -> dict[str, Any]:
        return {self.name: {"source": "memory", "dtype": "number", "shape": []}}

    @property
    def hints(self) -> dict[str, Any]:
        return {"fields": [self.name]}


class Detector:
    """Counts what `truth` says for the place where the motors are, and a bit more at each trigger.

    `script`: what to do instead at the n-th trigger: a value, or an exception for the Status to fail with.
    """

    parent = None

    def __init__(self, motors: Sequence[Motor], threaded: bool = False) -> None:
        self.name, self.motors, self.threaded = "det", motors, threaded
        self.script: dict[int, Any] = {}
        self.triggers = 0
        self.staged = 0
        self.stage_error: Exception | None = None
        self.series: tuple[SeriesRecord, ...] = ()
        self._value = math.nan
        self._variance = math.nan

    def stage(self) -> Status:
        self.staged += 1
        return ended(Status(obj=self), self.stage_error, self.threaded)

    def unstage(self) -> Status:
        self.staged = 0
        self.series = tuple(SeriesRecord(n, f"uid-{n}", 10 * n, "", "complete") for n in (1, 2))
        return ended(Status(obj=self), threaded=self.threaded)

    def trigger(self) -> Status:
        wanted = self.script.get(self.triggers)
        self.triggers += 1
        self._value = sum((n + 1) * motor.position for n, motor in enumerate(self.motors)) + self.triggers
        self._variance = float(self.triggers)
        if isinstance(wanted, Exception):
            return ended(Status(obj=self), wanted, self.threaded)
        if wanted is not None:
            self._value, self._variance = wanted
        return ended(Status(obj=self), threaded=self.threaded)

    def read(self) -> dict[str, Any]:
        return {
            "det_value": {"value": self._value, "timestamp": 0.0},
            "det_value_variance": {"value": self._variance, "timestamp": 0.0},
        }

    def describe(self) -> dict[str, Any]:
        return {key: {"source": "memory", "dtype": "number", "shape": []} for key in self.read()}

    @property
    def hints(self) -> dict[str, Any]:
        return {"fields": ["det_value"]}


class Counter:
    """A beam monitor; `counts` by trigger, then 1000."""

    parent = None

    def __init__(self, counts: Sequence[float] = (), threaded: bool = False) -> None:
        self.name, self.counts, self.threaded = "i0", list(counts), threaded
        self.failing: dict[int, Exception] = {}
        self.triggers = 0
        self.now = 0.0

    def trigger(self) -> Status:
        error = self.failing.get(self.triggers)
        self.triggers += 1
        self.now = self.counts.pop(0) if self.counts else 1000.0
        return ended(Status(obj=self), error, self.threaded)

    def read(self) -> dict[str, Any]:
        return {"i0": {"value": self.now, "timestamp": 0.0}}

    def describe(self) -> dict[str, Any]:
        return {"i0": {"source": "memory", "dtype": "number", "shape": []}}

    @property
    def hints(self) -> dict[str, Any]:
        return {"fields": ["i0"]}


class ScriptedAgent:
    """What AgentService is to a plan: answers at once, unless told to keep the answer to the n-th request."""

    def __init__(self, points: int = 100) -> None:
        self.left = points
        self.requests: dict[str, Future[list[Suggestion]]] = {}
        self.kept: dict[int, Future[list[Suggestion]]] = {}
        self.keep: set[int] = set()
        self.fail: dict[int, Exception] = {}
        self.refused: set[int] = set()  # by number of ingest
        self.ingests = 0
        self.ingested: list[Observation] = []
        self.abandoned: list[str] = []
        self.pending: set[str] = set()
        self.asked = threading.Event()

    def request(self, key: str, n: int = 1) -> "Future[list[Suggestion]]":
        if key in self.requests:
            return self.requests[key]
        number = len(self.requests)
        future = self.requests[key] = Future()
        if number in self.keep:
            self.kept[number] = future
            self.asked.set()
        elif number in self.fail:
            future.set_exception(self.fail[number])
        else:
            future.set_result(self.suggestions(number))
        return future

    def suggestions(self, number: int) -> list[Suggestion]:
        if number >= self.left:
            return []
        position = {"x": 0.1 * (number + 1), "y": 0.05 * (number + 1)}
        self.pending.add(f"s{number}")
        return [Suggestion(f"s{number}", position, 0.5, 3, len(self.ingested), len(self.pending) - 1, "variance")]

    def ingest(self, observations: Sequence[Observation]) -> "Future[None]":
        done: Future[None] = Future()
        self.ingests += 1
        if self.ingests - 1 in self.refused:
            done.set_exception(ValueError("x = 7 is outside 0..1"))
            return done
        self.ingested += observations
        self.pending -= {one.suggestion_id for one in observations}
        done.set_result(None)
        return done

    def abandon(self, suggestion_ids: Sequence[str]) -> "Future[None]":
        self.abandoned += suggestion_ids
        self.pending -= set(suggestion_ids)
        done: Future[None] = Future()
        done.set_result(None)
        return done


@dataclass(eq=False)
class Documents:
    """All documents of a run, in their order."""

    all: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        self.all.append((name, dict(document)))

    def of(self, name: str) -> list[dict[str, Any]]:
        return [document for kind, document in self.all if kind == name]

    def events(self, stream: str) -> list[dict[str, Any]]:
        """Definitive events: of those with one number the later."""
        descriptors = {one["uid"] for one in self.of("descriptor") if one["name"] == stream}
        definitive = {one["seq_num"]: one for one in self.of("event") if one["descriptor"] in descriptors}
        return [definitive[number] for number in sorted(definitive)]

    def check(self) -> None:
        """The run is well-formed: opened once, closed once, events of known descriptors, numbered without holes."""
        kinds = [name for name, _ in self.all]
        assert kinds[0] == "start" and kinds.count("start") == 1
        assert kinds[-1] == "stop" and kinds.count("stop") == 1
        known = set()
        for name, document in self.all:
            if name == "descriptor":
                assert document["name"] not in {one["name"] for one in known_documents(self, known)}
                known.add(document["uid"])
            elif name == "event":
                assert document["descriptor"] in known
        for stream in {one["name"] for one in self.of("descriptor")}:
            numbers = [one["seq_num"] for one in self.events(stream)]
            assert numbers == list(range(1, len(numbers) + 1))


def known_documents(documents: Documents, uids: set[str]) -> list[dict[str, Any]]:
    return [one for one in documents.of("descriptor") if one["uid"] in uids]


@contextmanager
def run_engine() -> Iterator[RunEngine]:
    """A RunEngine that takes no signals; its loop and thread end with it."""
    engine = RunEngine({}, call_returns_result=True, context_managers=[])
    try:
        yield engine
    finally:
        engine.loop.call_soon_threadsafe(engine.loop.stop)
        engine._th.join()
        engine.loop.close()


class Interruption:
    """Message hook that has something done to the RunEngine at the n-th message, while the message is worked on.

    The loop's thread runs the hook, where RE.request_pause and RE.abort would wait for themselves: so the coroutines
    that they run are started instead, and come to their turn at the message's first await, or right after it.
    """

    def __init__(self, engine: RunEngine, at: Sequence[int], what: Callable[[], Any]) -> None:
        self._engine, self._at, self._what = engine, set(at), what
        self.messages: list[Any] = []
        self._tasks: list[Any] = []

    def __call__(self, message: Any) -> None:
        if len(self.messages) in self._at:
            task = self._engine.loop.create_task(self._what())
            task.add_done_callback(lambda done: done.exception())
            self._tasks.append(task)
        self.messages.append(message)
