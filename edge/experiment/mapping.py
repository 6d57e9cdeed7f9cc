"""Who takes part in a map, and which event fields count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bluesky.protocols import Readable

from edge.experiment.callbacks import Fields
from edge.experiment.held import Held
from edge.experiment.settings import MapSettings, first_hinted


class Actuator(Protocol):
    """One motor: what of bluesky's Movable and Readable is used here."""

    @property
    def name(self) -> str: ...

    def set(self, value: float) -> Any: ...  # a Status

    def read(self) -> Any: ...

    def describe(self) -> Any: ...


@dataclass(frozen=True)
class MapDevices:
    """The devices of a map.

    Attributes:
        actuators: by axis of the agent.
        held_actuators, held_detector, held_monitor: as they are read (see Held).
        fields: what makes an observation.
    """

    detector: Any
    monitor: Any
    actuators: Mapping[str, Any]
    held_actuators: tuple[Held, ...]
    held_detector: Held
    held_monitor: Held | None
    fields: Fields

    @classmethod
    def of(cls, detector: Readable, actuators: Sequence[Actuator], settings: MapSettings) -> "MapDevices":
        """Resolve the names of axes and fields.

        Raises:
            ValueError: two devices have one name, or `settings.axes` names no actuator.
        """
        by_axis = _by_axis(actuators, settings.axes)
        monitor = settings.monitor
        value = settings.value_field or first_hinted(detector)
        readables = [*by_axis.values(), detector, *([monitor.device] if monitor else [])]
        names = [device.name for device in readables]
        if len(set(names)) < len(names):
            raise ValueError(f"two devices of the map have one name: {sorted(names)}")
        return cls(
            detector=detector,
            monitor=monitor.device if monitor else None,
            actuators=by_axis,
            held_actuators=tuple(Held(actuator) for actuator in by_axis.values()),
            held_detector=Held(detector),
            held_monitor=Held(monitor.device) if monitor else None,
            fields=Fields(
                axes={axis: first_hinted(actuator) for axis, actuator in by_axis.items()},
                value=value,
                variance=settings.variance_field or f"{value}_variance",
                monitor=None if monitor is None else monitor.field or first_hinted(monitor.device),
                reference=1.0 if monitor is None else monitor.reference,
            ),
        )

    def check_axes(self, position: Mapping[str, float]) -> None:
        """Raises ValueError where a suggested position is not one of these actuators."""
        if position.keys() != self.actuators.keys():
            raise ValueError(
                f"the agent suggests positions on the axes {sorted(position)}, the actuators are "
                f"{sorted(self.actuators)}; name them alike, or say which is which (MapSettings.axes)"
            )

    @property
    def all(self) -> tuple[Any, ...]:
        """To stage, in this order."""
        return (*self.actuators.values(), *([self.monitor] if self.monitor is not None else []), self.detector)

    @property
    def held(self) -> tuple[Held, ...]:
        """To trigger and read."""
        monitor = () if self.held_monitor is None else (self.held_monitor,)
        return (*self.held_actuators, *monitor, self.held_detector)

    @property
    def triggered(self) -> tuple[Held, ...]:
        """To trigger: never an actuator."""
        return tuple(held for held in self.held[len(self.held_actuators) :] if held.triggerable)


def start_document(devices: MapDevices, agent: object, points: int, settings: MapSettings) -> dict[str, Any]:
    """The plan's part of the start document. All of it survives JSON."""
    motors: list[str] = [actuator.name for actuator in devices.actuators.values()]
    measured = [devices.detector, *([devices.monitor] if devices.monitor is not None else [])]
    return {
        "plan_name": "adaptive_map",
        "plan_args": {
            "detector": devices.detector.name,
            "actuators": motors,
            "agent": type(agent).__name__,
            "points": points,
            "settings": settings.described(),
        },
        "motors": motors,
        "detectors": [device.name for device in measured],
        "num_points": points,
        "observation": {
            "axes": dict(devices.fields.axes),
            "value": devices.fields.value,
            "variance": devices.fields.variance,
            "monitor": devices.fields.monitor,
            "reference": devices.fields.reference,
        },
        # So that BestEffortCallback and its kind know what to plot against what.
        "hints": {"dimensions": [([field], "primary") for field in devices.fields.axes.values()]},
    }


def _by_axis(actuators: Sequence[Any], axes: Mapping[str, str]) -> dict[str, Any]:
    """Actuators by axis of the agent."""
    unknown = set(axes.values()) - {actuator.name for actuator in actuators}
    if unknown:
        raise ValueError(f"`axes` names {sorted(unknown)}, but the actuators are {[one.name for one in actuators]}")
    axis_of = {name: axis for axis, name in axes.items()}
    return {axis_of.get(actuator.name) or actuator.name: actuator for actuator in actuators}
