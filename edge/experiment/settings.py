"""What a plan author may choose about a map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bluesky.protocols import HasHints, Readable


@dataclass(frozen=True)
class Monitor:
    """The beam monitor (I0) that the values are divided by.

    Attributes:
        device: Readable; triggered together with the detector where it can be triggered.
        lower_limit: a count below this, or none at all, means that there was no beam: the point is repeated.
        field: its event field, in counts; default: the first that it hints.
        reference: values are multiplied by it after the division, so that they keep a handy size.
    """

    device: Readable
    lower_limit: float = 1.0
    field: str | None = None
    reference: float = 1.0


@dataclass(frozen=True)
class MapSettings:
    """Everything of an adaptive map that has a default.

    Attributes:
        monitor: see Monitor; None: values are taken as they are.
        value_field: event field of the value; default: the first that the detector hints.
        variance_field: of its variance; default: the value's field and "_variance".
        attempts: how often a point is measured at most, until it is good.
        suggest_timeout_s: how long the beam may wait for the agent, seconds; then a fallback position is taken.
        beam_wait_s: pause before a point is repeated because the beam was lost, seconds. Suspenders are better: they
            hold the plan for as long as it takes (see the how-to).
        fallback: positions computed beforehand, used in their order where the agent is late or fails.
        axes: name of the actuator for each axis of the agent; default: actuators are named as the axes.
    """

    monitor: Monitor | None = None
    value_field: str | None = None
    variance_field: str | None = None
    attempts: int = 3
    suggest_timeout_s: float = 10.0
    beam_wait_s: float = 1.0
    fallback: Sequence[Mapping[str, float]] = ()
    axes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"a point needs one attempt at least, not {self.attempts}")
        if not self.suggest_timeout_s > 0 or self.beam_wait_s < 0:
            raise ValueError("suggest_timeout_s is above 0 and beam_wait_s not below 0")

    def described(self) -> dict[str, Any]:
        """For the start document."""
        monitor = self.monitor
        return {
            "attempts": self.attempts,
            "suggest_timeout_s": self.suggest_timeout_s,
            "beam_wait_s": self.beam_wait_s,
            "fallback_points": len(self.fallback),
            "monitor": None
            if monitor is None
            else {"name": monitor.device.name, "lower_limit": monitor.lower_limit, "reference": monitor.reference},
        }


def first_hinted(device: Readable) -> str:
    """The event field that matters most of `device`; where it hints none its name, which is a signal's only field."""
    fields = device.hints.get("fields", []) if isinstance(device, HasHints) else []
    return str(fields[0]) if fields else device.name
