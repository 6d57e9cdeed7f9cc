"""Motor and beam monitor of the simulated beamline (`edge simulate`). At a real one these are the beamline's own."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import httpx
import msgspec
from ophyd.status import Status
from ophyd.utils import LimitError

from edge.experiment.errors import DetectorError
from edge.experiment.http import JsonClient
from edge.experiment.waiting import settle

__all__ = ["DetectorError", "LimitError", "SimulatedMonitor", "SimulatedMotor"]


Answer = TypeVar("Answer")


class _Stage(msgspec.Struct, frozen=True):
    """One axis, as the simulator describes it."""

    value: float
    target: float
    moving: bool
    speed: float
    low: float
    high: float
    unit: str = "mm"


class _Counted(msgspec.Struct, frozen=True):
    value: float


@dataclass
class _Move:
    """A move that is running, for whoever ends it early."""

    target: float
    halted: threading.Event = field(default_factory=threading.Event)
    failed: bool = False


POLL_S = (0.005, 0.1)
"""Shortest and longest time between two looks at a moving stage."""
MARGIN_S = 5.0
"""Beyond the counting time, until a monitor has failed."""


class SimulatedMotor:
    """One axis of the simulated stage: Movable, Readable, Locatable, Stoppable, Checkable.

    Args:
        name: of the device and of its event field; best that of the agent's axis.
        base_url: the HTTP address of `edge simulate`.
        axis: "x" or "y".
        transport: stands in for the network in tests.

    Raises:
        DetectorError: nobody answers there.
    """

    parent = None

    def __init__(self, name: str, base_url: str, axis: str, transport: httpx.BaseTransport | None = None) -> None:
        self.name = name
        self._path = f"simulator/api/1.0/stage/{axis}"
        self._http = JsonClient(base_url, transport=transport)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._moving = _Move(0.0)
        stage = self._look()
        self.limits: tuple[float, float] = (stage.low, stage.high)
        self._units = stage.unit
        self._setpoint = stage.target
        self._readback, self._read_s = stage.value, time.time()

    def close(self) -> None:
        """End its thread and its connection."""
        self._moving.halted.set()
        self._worker.shutdown()
        self._http.close()

    def check_value(self, value: float) -> None:
        """Raises LimitError where the stage cannot go."""
        low, high = self.limits
        if not low <= value <= high:
            raise LimitError(f"{self.name} cannot go to {value:g}: its limits are {low:g} and {high:g}")

    def set(self, value: float) -> Status:
        """Move; the Status is done when the stage stands at `value`. A move that is still running is given up."""
        self.check_value(value)
        self._moving.halted.set()
        move = self._moving = _Move(value)
        self._setpoint = value
        return _done_by(self, self._worker, lambda: self._move(move))

    def stop(self, *, success: bool = False) -> None:
        """Stop where it is. The Status of the move fails, unless this is a `success` (the RunEngine says so)."""
        self._moving.failed = not success
        self._moving.halted.set()

    def locate(self) -> dict[str, float]:
        return {"setpoint": self._setpoint, "readback": self._readback}

    def read(self) -> dict[str, Any]:
        """Where it stood at the end of its last move."""
        return {self.name: {"value": self._readback, "timestamp": self._read_s}}

    def describe(self) -> dict[str, Any]:
        source = f"{self._http.base_url}/{self._path}"
        return {self.name: {"source": source, "dtype": "number", "shape": [], "units": self._units}}

    @property
    def hints(self) -> dict[str, Any]:
        return {"fields": [self.name]}

    def _move(self, move: _Move) -> None:
        """Runs in the worker."""
        stage = self._look() if move.halted.is_set() else self._stage(self._http.put(self._path, move.target))
        while stage.moving:
            left_s = abs(stage.target - stage.value) / max(stage.speed, 1e-9)
            if move.halted.wait(min(max(left_s, POLL_S[0]), POLL_S[1])):
                self._http.put(f"{self._path}/stop")
                stage = self._look()
                break
            stage = self._look()
        self._readback, self._read_s = stage.value, time.time()
        if move.failed:
            raise DetectorError(f"{self.name} was stopped at {stage.value:g} on its way to {move.target:g}")

    def _look(self) -> _Stage:
        return self._stage(self._http.get(self._path))

    def _stage(self, document: Any) -> _Stage:
        return _converted(document, _Stage, f"{self._http.base_url}/{self._path}")


class SimulatedMonitor:
    """The beam monitor of the simulated beamline, a scaler with a preset time: Triggerable, Readable.

    Args:
        name: of the device and of its event field.
        base_url: the HTTP address of `edge simulate`.
        preset_s: counting time of one trigger, seconds.
        transport: stands in for the network in tests.
    """

    parent = None

    def __init__(self, name: str, base_url: str, preset_s: float, transport: httpx.BaseTransport | None = None) -> None:
        self.name, self._preset_s = name, preset_s
        self._http = JsonClient(base_url, transport=transport)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._counts: float | None = None
        self._read_s = 0.0

    def close(self) -> None:
        """End its thread and its connection."""
        self._worker.shutdown()
        self._http.close()

    def trigger(self) -> Status:
        """Count for the preset time."""
        self._counts = None
        return _done_by(self, self._worker, self._count)

    def read(self) -> dict[str, Any]:
        """The last count.

        Raises:
            RuntimeError: there is none, its last trigger failed or is not done.
        """
        if self._counts is None:
            raise RuntimeError(f"{self.name} has counted nothing: trigger it first")
        return {self.name: {"value": self._counts, "timestamp": self._read_s}}

    def describe(self) -> dict[str, Any]:
        return {
            self.name: {"source": self._http.base_url, "dtype": "number", "shape": [], "units": "counts"},
        }

    @property
    def hints(self) -> dict[str, Any]:
        return {"fields": [self.name]}

    def _count(self) -> None:
        path = "simulator/api/1.0/monitor/count"
        answer = self._http.put(path, self._preset_s, self._preset_s + MARGIN_S)
        counted = _converted(answer, _Counted, f"{self._http.base_url}/{path}")
        self._counts, self._read_s = counted.value, time.time()


def _converted(document: Any, kind: type[Answer], url: str) -> Answer:
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise DetectorError(f"{url}: not what `edge simulate` answers ({error}); is this its HTTP address?") from error


def _done_by(device: object, worker: ThreadPoolExecutor, job: Callable[[], None]) -> Status:
    """A Status that ends as `job` does, which runs in `worker`."""
    status = Status(obj=device)
    worker.submit(job).add_done_callback(partial(settle, status))
    return status
