"""Configuration parameters as data: names, types, units, limits, access. Names and shapes are SIMPLON's.

A description of a parameter is what the vendor's own client documents: "a dictionary that may contain the keys: value,
min, max, allowed_values, unit, value_type and access_mode" (DEigerClient, DECTRIS 2022).
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, TypeAlias

from edge.simulate.refusal import Refused

Kind: TypeAlias = Literal["bool", "float", "string", "uint"]
MAX_SHOWN_CHARS = 60
"""Of a refused value, in the message."""


@dataclass(frozen=True)
class Parameter:
    """One parameter. `low` and `high` are inclusive; `pattern` is what the whole of a string must match."""

    name: str
    kind: Kind
    default: Any
    unit: str = ""
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] = ()
    pattern: str = ""
    writable: bool = True

    def read(self, value: Any) -> Any:
        """The value as this parameter holds it, from a JSON document.

        Raises:
            Refused: wrong type, not finite, outside the limits, or read-only.
        """
        if not self.writable:
            raise Refused(HTTPStatus.FORBIDDEN, f"{self.name} is read-only")
        if not _is(self.kind, value):
            raise self._refused(value, f"a {self.kind} is needed")
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            raise self._refused(value, f"it must be {self.low:g} to {self.high:g} {self.unit}".rstrip())
        if self.allowed and value not in self.allowed:
            raise self._refused(value, f"allowed are {', '.join(self.allowed)}")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise self._refused(value, f"it must match {self.pattern}")
        return float(value) if self.kind == "float" else value

    def describe(self, value: Any) -> dict[str, Any]:
        """What GET answers."""
        described = {"value": value, "value_type": self.kind, "access_mode": "rw" if self.writable else "r"}
        optional = {"min": self.low, "max": self.high, "unit": self.unit, "allowed_values": list(self.allowed)}
        return described | {key: what for key, what in optional.items() if what not in (None, "", [])}

    def _refused(self, value: Any, rule: str) -> Refused:
        if isinstance(value, str):
            shown = repr(value[:MAX_SHOWN_CHARS])
        else:
            shown = f"{value!r:.{MAX_SHOWN_CHARS}}" if isinstance(value, bool | float) else _named(value)
        return Refused(HTTPStatus.BAD_REQUEST, f"{self.name} = {shown} is refused: {rule}")


def _named(value: Any) -> str:
    """A number that is not too long to be shown, or what else it is."""
    if isinstance(value, int):
        return str(value) if abs(value) < 2**64 else "a number of very many digits"
    return {dict: "an object", list: "a list", type(None): "null"}.get(type(value), "a value")


def _is(kind: Kind, value: Any) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "string":
        return isinstance(value, str)
    if isinstance(value, bool):
        return False
    if kind == "uint":
        return isinstance(value, int) and value >= 0
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


Coupling: TypeAlias = Callable[[Mapping[str, Any], str], Mapping[str, Any]]
"""What else changes when the named parameter was set, given all values."""


def uncoupled(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return {}


class Settings:
    """The values of one subsystem's parameters."""

    def __init__(self, parameters: Sequence[Parameter], coupling: Coupling = uncoupled) -> None:
        self.parameters = {parameter.name: parameter for parameter in parameters}
        self._coupling = coupling
        self._values = {parameter.name: parameter.default for parameter in parameters}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def describe(self, name: str) -> dict[str, Any]:
        """What GET answers for one parameter.

        Raises:
            Refused: there is no such parameter.
        """
        return self._known(name).describe(self._values[name])

    def put(self, name: str, value: Any) -> list[str]:
        """Set one parameter and those coupled to it; the names of all that changed, as PUT answers.

        Raises:
            Refused: nothing was changed.
        """
        taken = {**self._values, name: self._known(name).read(value)}
        taken |= self._coupling(taken, name)
        changed = sorted(key for key, now in taken.items() if now != self._values[key])
        self._values = taken
        return changed or [name]

    def _known(self, name: str) -> Parameter:
        parameter = self.parameters.get(name)
        if parameter is None:
            raise Refused(
                HTTPStatus.NOT_FOUND, f"there is no parameter {name[:MAX_SHOWN_CHARS]!r}; GET keys lists them"
            )
        return parameter
