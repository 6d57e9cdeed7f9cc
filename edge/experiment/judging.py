"""Whether a scan point is good, judged by the readings that are held."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edge.experiment.callbacks import Fields, is_usable, normalised
from edge.experiment.errors import BeamLost, PointFailed
from edge.experiment.held import Held
from edge.experiment.mapping import MapDevices
from edge.experiment.settings import Monitor


@dataclass(frozen=True)
class Fault:
    """Why a point is not good."""

    reason: str
    beam_lost: bool = False
    cause: BaseException | None = None

    def error(self, position: Mapping[str, float], attempts: int) -> PointFailed:
        """What ends the plan after the last attempt."""
        where = ", ".join(f"{axis} = {value:g}" for axis, value in position.items())
        kind = BeamLost if self.beam_lost else PointFailed
        error = kind(f"the point at {where} was bad in {attempts} of {attempts} attempts; the last time: {self.reason}")
        error.__cause__ = self.cause
        return error


class Judge:
    """Judges one point after the other."""

    def __init__(self, devices: MapDevices, monitor: Monitor | None) -> None:
        self._devices, self._monitor = devices, monitor

    def fault(self) -> Fault | None:
        """What is wrong with the point that is held; None where it is good. Without beam nothing else matters."""
        devices = self._devices
        for held, readback in zip(devices.held_actuators, devices.fields.axes.values(), strict=True):
            if held.failure is not None:
                raise held.failure  # where it was measured is not known: no matter of another attempt
            _number(held, readback)
        counts = None
        if devices.held_monitor is not None and self._monitor is not None:
            held = devices.held_monitor
            if held.failure is not None:
                return _failed(held)
            counts = _number(held, devices.fields.monitor or "")
            limit = max(self._monitor.lower_limit, 0.0)
            if not (math.isfinite(counts) and counts >= limit and counts > 0):
                return Fault(f"{held.name} counted {counts:g}, less than {self._monitor.lower_limit:g}", beam_lost=True)
        if devices.held_detector.failure is not None:
            return _failed(devices.held_detector)
        return _value_fault(devices.held_detector, devices.fields, counts)


def _failed(held: Held) -> Fault:
    return Fault(f"{held.name}: {held.failure}", cause=held.failure)


def _value_fault(held: Held, fields: Fields, counts: float | None) -> Fault | None:
    value, variance = _number(held, fields.value), _number(held, fields.variance)
    if not is_usable(value, variance):
        return Fault(f"{held.name}: the value {value:g} with the variance {variance:g} is no measurement")
    if counts is not None and not is_usable(*normalised(value, variance, counts, fields.reference)):
        return Fault(f"{held.name}: the value {value:g} cannot be divided by {counts:g} counts of the monitor")
    return None


def _number(held: Held, field: str) -> float:
    """A field of a held reading.

    Raises:
        ValueError: the device has no such field.
    """
    reading = held.read()
    if field not in reading:
        raise ValueError(f"{held.name} has no event field {field!r}; it has {sorted(reading)} (see MapSettings)")
    return float(reading[field]["value"])
