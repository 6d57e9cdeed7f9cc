"""From Event documents to observations.

The agent is told what the documents say, not what passed through the plan: so the agent and whoever reads the run
later know the same. An event that is emitted again under the same number (the RunEngine rewound) replaces the earlier.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.agent.messages import Observation


@dataclass(frozen=True)
class Fields:
    """Which event fields make an observation.

    Attributes:
        axes: by axis of the agent: the field of the actuator's readback.
        value, variance: of the measured value.
        monitor: counts to divide by; None: not divided.
        reference: multiplies after the division.
    """

    axes: Mapping[str, str]
    value: str
    variance: str
    monitor: str | None = None
    reference: float = 1.0


def normalised(value: float, variance: float, monitor: float, reference: float = 1.0) -> tuple[float, float]:
    """Value and variance per `monitor` counts, times `reference`.

    With the value v of variance V, the monitor's counts m of variance m (Poisson), both independent, and the factor
    r, first-order propagation of y = r v / m gives var y = (r/m)^2 (V + (v/m)^2 m) = r^2 (V / m^2 + v^2 / m^3).
    """
    scale = reference / monitor
    return value * scale, scale**2 * (variance + value**2 / monitor)


def observation_of(
    data: Mapping[str, Any], fields: Fields, observation_id: str, suggestion_id: str | None
) -> Observation:
    """The observation that an event's `data` holds.

    Raises:
        KeyError: a field is missing.
    """
    value, variance = float(data[fields.value]), float(data[fields.variance])
    if fields.monitor is not None:
        value, variance = normalised(value, variance, float(data[fields.monitor]), fields.reference)
    position = {axis: float(data[field]) for axis, field in fields.axes.items()}
    return Observation(observation_id, position, value, variance, suggestion_id)


def is_usable(value: float, variance: float) -> bool:
    """Whether a value and its variance can be observed at all."""
    return math.isfinite(value) and math.isfinite(variance) and variance >= 0


class PrimaryEvents:
    """Callback for one run: keeps its uid and its latest event of stream "primary"."""

    def __init__(self) -> None:
        self.run_uid = ""
        self._descriptor = ""
        self._latest: Mapping[str, Any] | None = None

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        if name == "start" and not self.run_uid:
            self.run_uid = document["uid"]
        elif name == "descriptor" and document["run_start"] == self.run_uid and document["name"] == "primary":
            self._descriptor = document["uid"]
        elif name == "event" and document["descriptor"] == self._descriptor:
            self._latest = document

    def observation(self, fields: Fields, suggestion_id: str | None) -> Observation:
        """Of the latest event; to be called when a checkpoint has made it definitive. Its id is "<run uid>/<seq_num>".

        Raises:
            LookupError: there was no event yet, or it lacks a field.
        """
        if self._latest is None:
            raise LookupError(f"run {self.run_uid} has no event in stream primary yet")
        observation_id = f"{self.run_uid}/{self._latest['seq_num']}"
        return observation_of(self._latest["data"], fields, observation_id, suggestion_id)
