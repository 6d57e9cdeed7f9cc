"""Where the sample was: scan positions that ride in a frame's own metadata, joined to it by its id.

Detectors let the user attach free data to every image (`user_data` of Stream V2, `image_appendix` of
SIMPLON). We read `{"position": {"<axis>": <number>, ...}}` from it.
"""

import math
from collections.abc import Mapping
from typing import Any

MAX_AXES = 16
MAX_NAME_CHARS = 64
LARGEST = 2**63
"""No motor is farther away, in any unit; integers beyond what a float holds would not even compare."""


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
        if not isinstance(axis, str) or len(axis) > MAX_NAME_CHARS or isinstance(value, bool):
            return None
        if not isinstance(value, int | float) or abs(value) > LARGEST or not math.isfinite(value):
            return None
        read[axis] = float(value)
    return read
