"""The HTTP interface without HTTP: a method, a path and a body to a status and a JSON document.

Everything under detector/, stream/ and filewriter/ is named and shaped as in SIMPLON API 1.8; simulator/ is ours: the
beamline, and the faults.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec

from edge.http.messages import Answer
from edge.simulate.beamline import Beamline
from edge.simulate.detector import Detector
from edge.simulate.faults import read_orders
from edge.simulate.machine import COMMANDS
from edge.simulate.parameters import Parameter
from edge.simulate.refusal import Refused

VERSION, SIMULATOR_VERSION = "1.8.0", "1.0"
LOW_MM, HIGH_MM = 0.0, 1.0

TARGET = Parameter("target", "float", 0.0, "mm", LOW_MM, HIGH_MM)
SPEED = Parameter("speed", "float", 1.0, "mm/s", 0.001, 1000.0)
COUNT_TIME = Parameter("count", "float", 1.0, "s", 0.0, 60.0)
BEAM = Parameter("beam", "float", 1.0, "", 0.0, 10.0)


class Api:
    """Answers requests, from any thread. `closing` cuts short what waits."""

    def __init__(
        self,
        detector: Detector,
        beamline: Beamline,
        closing: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._detector, self._beamline, self._closing, self._clock = detector, beamline, closing, clock

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Never raises for what a client sent: what is refused has a status of its own and changes nothing."""
        steps = path.partition("?")[0].strip("/").split("/")
        try:
            match steps:
                case ["detector" | "stream" | "filewriter", "api", "version"] if method == "GET":
                    return Answer({"value": VERSION, "value_type": "string", "access_mode": "r"})
                case ["detector" | "stream" | "filewriter" as subsystem, "api", "1.8.0", "command", *rest]:
                    return self._command(subsystem, method, rest, body)
                case ["detector" | "stream" | "filewriter" as subsystem, "api", "1.8.0", "config", *rest]:
                    return Answer(self._config(subsystem, method, rest, body))
                case ["detector" | "stream" | "filewriter" as subsystem, "api", "1.8.0", "status", *rest]:
                    _only(method, "GET")
                    return Answer(self._status(subsystem, rest))
                case ["simulator", "api", "1.0", *rest]:
                    return Answer(self._simulator(method, rest, body))
                case _:
                    raise _unknown(path)
        except Refused as error:
            return Answer({"error": str(error)}, error.status)

    def _command(self, subsystem: str, method: str, rest: list[str], body: bytes) -> Answer:
        commands = {"detector": COMMANDS, "stream": ("initialize",), "filewriter": ()}[subsystem]
        if rest == ["keys"]:
            _only(method, "GET")
            return Answer(list(commands))
        if len(rest) != 1 or rest[0] not in commands:
            raise _unknown("/".join(rest))
        _only(method, "PUT")
        if body.strip():
            raise Refused(HTTPStatus.BAD_REQUEST, f"{rest[0]} takes no value in trigger_mode ints; send no body")
        if subsystem == "stream":
            self._detector.initialize_stream()
            return Answer({})
        silent = rest[0] in self._detector.orders.silent_commands
        try:
            return Answer(self._detector.command(rest[0]), silent=silent)
        except Refused as error:
            return Answer({"error": str(error)}, error.status, silent)

    def _config(self, subsystem: str, method: str, rest: list[str], body: bytes) -> Any:
        settings = self._detector.settings[subsystem]
        if method == "GET" and rest in ([], ["keys"]):
            return (
                {name: settings.describe(name) for name in settings.parameters} if not rest else [*settings.parameters]
            )
        if len(rest) != 1:
            raise _unknown("/".join(rest))
        if method == "GET":
            return settings.describe(rest[0])
        _only(method, "PUT")
        return self._detector.put(subsystem, rest[0], _value(body))

    def _status(self, subsystem: str, rest: list[str]) -> Any:
        values = self._statuses(subsystem)
        if rest in ([], ["keys"]):
            return list(values)
        if len(rest) != 1 or rest[0] not in values:
            raise _unknown("/".join(rest))
        value = values[rest[0]]
        kind = "uint" if isinstance(value, int) else "string"
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return {"value": value, "value_type": kind, "access_mode": "r", "state": "normal", "time": now}

    def _statuses(self, subsystem: str) -> Mapping[str, Any]:
        detector = self._detector
        tally, plan = detector.tally, detector.armed
        is_open = detector.state in ("ready", "acquire")
        mode = detector.settings[subsystem]["mode"] if subsystem != "detector" else ""
        active = "disabled" if mode == "disabled" else "acquire" if is_open else "ready"
        match subsystem:
            case "detector":
                uid = plan.acquisition.series_uid if plan else ""
                return {"state": detector.state, "series_unique_id": uid}
            case "stream":
                return {"state": active, "dropped": tally.dropped}
            case _:
                return {"state": "error" if tally.file_error else active, "error": tally.file_error}

    def _simulator(self, method: str, rest: list[str], body: bytes) -> Any:
        match method, rest:
            case "GET", ["stage", "x" | "y" as axis]:
                pass
            case "PUT", ["stage", "x" | "y" as axis]:
                self._beamline.move(axis, TARGET.read(_value(body)), self._clock())
            case "PUT", ["stage", "x" | "y" as axis, "speed"]:
                self._beamline.set_speed(axis, SPEED.read(_value(body)), self._clock())
            case "PUT", ["stage", "x" | "y" as axis, "stop"]:
                self._beamline.stop(axis, self._clock())
            case _:
                return {"value": self._instrument(method, rest, body)}
        return self._axis(axis)

    def _instrument(self, method: str, rest: list[str], body: bytes) -> Any:
        match method, rest:
            case "PUT", ["monitor", "count"]:
                return self._count(COUNT_TIME.read(_value(body)))
            case "GET", ["beam"]:
                return self._beamline.beam.intensity
            case "PUT", ["beam"]:
                self._beamline.set_beam(BEAM.read(_value(body)), self._clock())
                return self._beamline.beam.intensity
            case "GET", ["faults"]:
                return msgspec.to_builtins(self._detector.orders)
            case "PUT", ["faults"]:
                self._detector.orders = read_orders(_value(body))
                return msgspec.to_builtins(self._detector.orders)
            case "GET", ["series"]:
                return self._truth()
            case _, ["monitor", "count"] | ["beam"] | ["faults"] | ["series"] | ["stage", "x" | "y", *_]:
                raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not possible here")
            case _:
                raise _unknown("/".join(rest))

    def _axis(self, axis: str) -> dict[str, Any]:
        motion, now = self._beamline.stage[axis], self._clock()
        moves = {"value": motion.position(now), "target": motion.target, "moving": motion.moving(now)}
        return moves | {"speed": motion.speed, "low": LOW_MM, "high": HIGH_MM, "unit": "mm"}

    def _count(self, seconds: float) -> int:
        began = self._clock()
        before = self._beamline.beam.dose_at(began)
        if self._closing.wait(seconds):
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "the simulator is stopping")
        return self._beamline.counts(self._beamline.beam.dose_at(began + seconds) - before)

    def _truth(self) -> dict[str, Any]:
        """What became of the last series, whatever arrived of it."""
        plan = self._detector.armed
        if plan is None:
            return {}
        names = {"series_id": plan.acquisition.series_id, "series_unique_id": plan.acquisition.series_uid}
        return names | {"arm_date": plan.acquisition.arm_date} | asdict(self._detector.tally)


def _value(body: bytes) -> Any:
    """Of `{"value": ...}`.

    Raises:
        Refused: the body is no such document.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f'the body is not JSON ({error}); send {{"value": ...}}') from error
    if not isinstance(document, dict) or set(document) != {"value"}:
        raise Refused(HTTPStatus.BAD_REQUEST, 'the body must be {"value": ...}')
    return document["value"]


def _only(method: str, allowed: str) -> None:
    if method != allowed:
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not possible here; use {allowed}")


def _unknown(path: str) -> Refused:
    return Refused(HTTPStatus.NOT_FOUND, f"there is nothing at {path[:100]!r}; GET .../config/keys lists parameters")
