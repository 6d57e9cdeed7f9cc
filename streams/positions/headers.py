"""Where the sample was: scan positions joined to images by their ids. One that is not known is told, never guessed.

Positions come by one of three ways:

* in the frame's own metadata (`header_reader`): detectors let the user attach data to every image (`user_data` of
  Stream V2, `image_appendix` of SIMPLON, attributes of areaDetector, channels of bsread);
* in a file, a row an image (`streams.positions.table`);
* in the stream of a position box, several samples a frame (`streams.positions.samples`, `streams.positions.armings`).

Whichever it is, the answer for one image is a `Verdict`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec

MAX_AXES = 16
MAX_NAME_CHARS = 64
LARGEST = 2**63
"""No motor is farther away, in any unit; integers beyond what a float holds would not even compare."""


class Why(StrEnum):
    """Why a result has no position."""

    ABSENT = "absent"  # not in the header of the frame, or not as finite numbers
    NO_FILE = "no_file"  # the file of the series cannot be read
    BEYOND = "beyond"  # the file has no row for the image
    NOT_FINITE = "not_finite"  # a number that is none
    GAP = "gap"  # samples of the frame were lost on the way
    NO_DATASET = "no_dataset"  # the stream does not carry one of the axes
    STOPPED = "stopped"  # the box was disarmed before the frame
    RESTARTED = "restarted"  # the box was armed anew before the frame: its sample numbers mean other frames
    LATE_START = "late_start"  # the box was armed when images had arrived: no telling which its first sample is of
    UNANNOUNCED = "unannounced"  # the start of the series was missed
    NOT_ARMED = "not_armed"  # the box was not seen armed and waiting before the first image
    EVICTED = "evicted"  # its samples came so long ago that they were given up
    RECOVERED = "recovered"  # the image comes from a capture, which holds no samples of the box
    LATE = "late"  # not within the time that results wait
    OVERFLOW = "overflow"  # more results waited than memory is given to
    SHUTDOWN = "shutdown"  # stopped while the result waited


class Known(msgspec.Struct, frozen=True, gc=False):
    """The position by axis name."""

    position: dict[str, float]


class Awaited(msgspec.Struct, frozen=True, gc=False):
    """It may still come."""


class Missing(msgspec.Struct, frozen=True, gc=False):
    """It will not come."""

    reason: Why


Verdict: TypeAlias = Known | Awaited | Missing

AWAITED = Awaited()

Reader: TypeAlias = Callable[[Any], dict[str, float] | None]
"""From the metadata of a frame to its position."""


class AxisOf(msgspec.Struct, frozen=True):
    """Where one axis is found, and how its numbers become positions: `number * factor + offset`."""

    name: str
    path: tuple[str, ...]  # keys into the metadata; of a stream or a file, the one name of the dataset
    factor: float = 1.0
    offset: float = 0.0

    def value(self, number: float) -> float:
        """The position that `number` stands for."""
        return number * self.factor + self.offset


def position_in(user_data: Any) -> dict[str, float] | None:
    """The position by axis name, or None where `user_data` holds none that can be trusted.

    A position with a value that is no finite number is none at all: it is never taken in part.
    """
    if not isinstance(user_data, Mapping):
        return None
    position = user_data.get("position")
    if not isinstance(position, Mapping) or not 0 < len(position) <= MAX_AXES:
        return None
    read: dict[str, float] = {}
    for axis, value in position.items():
        number = finite(value)
        if not isinstance(axis, str) or len(axis) > MAX_NAME_CHARS or number is None:
            return None
        read[axis] = number
    return read


def header_reader(axes: Sequence[AxisOf] = ()) -> Reader:
    """What reads positions from the metadata of frames: each axis at its path; without axes, `position_in`."""
    if not axes:
        return position_in

    def read(user_data: Any) -> dict[str, float] | None:
        position: dict[str, float] = {}
        for axis in axes:
            found = user_data
            for key in axis.path:
                found = found.get(key) if isinstance(found, Mapping) else None
            number = finite(found)
            scaled = None if number is None else finite(axis.value(number))
            if scaled is None:
                return None
            position[axis.name] = scaled
        return position

    return read


def finite(value: Any) -> float | None:
    """`value` as a float where it is a number that a motor can have."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if abs(value) > LARGEST or not math.isfinite(value):
        return None
    return float(value)
