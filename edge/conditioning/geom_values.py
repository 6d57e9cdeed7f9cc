"""Values of a CrystFEL geometry file: numbers, indices, lengths and vectors out of text, checked and bounded.

Each raises `GeometryError` with the line where the text is no such value.
"""

import math
import re

import msgspec

MAX_PIXEL = 65535
"""Largest index of a pixel in a panel's data."""

MAX_COORDINATE = 1e6
"""Farthest point from the beam, in pixels."""

_TERM = re.compile(r"([+-]?)((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)?([xyz])")


class GeometryError(ValueError):
    """The file cannot be used; the text names the line."""


class Value(msgspec.Struct, frozen=True):
    """What stands behind an equals sign."""

    text: str
    line: int


def read_number(value: Value, key: str, most: float) -> float:
    """A number of at most `most` either side of 0."""
    try:
        number = float(value.text)
    except ValueError:
        number = math.nan
    if not abs(number) <= most:
        raise GeometryError(f"line {value.line}: {key} = {value.text[:40]!r} is no number up to {most:g}")
    return number


def read_coordinate(value: Value, key: str) -> float:
    """A place along x or y, in pixels from the beam."""
    return read_number(value, key, MAX_COORDINATE)


def read_index(value: Value, key: str) -> int:
    """The index of a pixel; "9.0" is one."""
    number = read_number(value, key, MAX_PIXEL)
    if number < 0 or number != int(number):
        raise GeometryError(f"line {value.line}: {key} = {value.text[:40]!r} is no index of a pixel")
    return int(number)


def read_length(value: Value | None) -> float | None:
    """Metres, from `0.2`, `200 mm` or `0.2 m`; None where it is a location in a file."""
    if value is None or value.text.startswith("/"):
        return None
    amount, _, unit = value.text.partition(" ")
    if unit.strip() not in ("", "m", "mm"):
        return None
    metres = read_number(Value(amount, value.line), "length", MAX_COORDINATE)
    return metres / 1000 if unit.strip() == "mm" else metres


def read_bits(value: Value | None) -> int:
    """A mask of 32 bits; none are set where it is not given."""
    if value is None:
        return 0
    try:
        return int(value.text[:20], 0) & 0xFFFFFFFF
    except ValueError as error:
        raise GeometryError(f"line {value.line}: {value.text[:40]!r} is no mask of bits like 0xff") from error


def read_truth(value: Value | None) -> bool:
    """Whether it is set and says so."""
    return value is not None and value.text.lower() in ("1", "true")


def read_vector(value: Value, key: str) -> tuple[float, float]:
    """The x and y of `-0.99x +0.01y +0.002z`, `x` or `-y`; z lies along the beam and moves nothing in the image."""
    text = "".join(value.text[:200].split())
    parts: dict[str, float] = {}
    at = 0
    while at < len(text):
        term = _TERM.match(text, at)
        if term is None:
            raise GeometryError(f"line {value.line}: {key} = {value.text[:60]!r} is not like '-0.01x +0.99y'")
        sign, digits, axis = term.groups()
        size = read_number(Value(digits or "1", value.line), key, 100.0)
        parts[axis] = parts.get(axis, 0.0) + (-size if sign == "-" else size)
        at = term.end()
    return parts.get("x", 0.0), parts.get("y", 0.0)
