"""The form that all measured numbers are kept in: one JSON object with the machine, the command and rows.

{"machine": {"cpu": ..., "cores": 2, "load_average": [0.4, 0.6, 0.5], ...},
 "command": "edge bench pause --pauses 200",
 "rows": [{"name": "pause", "value": 3.1, "unit": "ms", "spread": [1.0, 18.2], "detail": "from when it was due"}]}
"""

import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np

Value: TypeAlias = bool | int | float | str | None


class Row(msgspec.Struct, frozen=True):
    """One number and what it means.

    `spread` is None or (low, high): the least and the greatest value, unless `detail` says what else, such as two
    percentiles. `detail` is a sentence, or plain types (maps, lists, numbers, texts) where there is more to tell.
    """

    name: str  # unique in its file, e.g. "phase_mae"
    value: Value  # None: there is none
    unit: str = ""  # "ms", "rad", "1" for counts and ratios, "" where it is no number
    spread: tuple[float, float] | None = None  # in units of the value
    detail: Any = None


def document(command: str, rows: Sequence[Row]) -> dict[str, Any]:
    """What a file holds, in plain types. Numbers that are not finite become None.

    Raises:
        ValueError: two rows share a name.
        TypeError: a value is not of plain types.
    """
    names = [row.name for row in rows]
    if len(set(names)) < len(names):
        raise ValueError(f"rows share a name: {sorted({name for name in names if names.count(name) > 1})}")
    found = {"machine": machine(), "command": command, "rows": list(rows)}
    return msgspec.json.decode(msgspec.json.encode(found, enc_hook=_plain))


def write(path: Path, rows: Sequence[Row], command: str | None = None) -> None:
    """Write rows, whole or not at all; `command` is the one that runs unless it is given.

    Raises:
        OSError: the file or its folder cannot be written.
        ValueError, TypeError: as from `document`.
    """
    content = msgspec.json.format(msgspec.json.encode(document(command or running_command(), rows)), indent=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content + b"\n")
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a row; give plain types or numpy scalars")


def running_command() -> str:
    """The command line of this process as a user types it."""
    return shlex.join(["edge", *sys.argv[1:]])


def by_name(kept: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of a document by their names."""
    return {row["name"]: row for row in kept["rows"]}


def machine() -> dict[str, Any]:
    """Where this runs. `cores` are those that this process may use; `load_average` is of 1, 5 and 15 minutes."""
    return {
        "cpu": _cpu() or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _cpu() -> str:
    """The name that Linux gives; "" elsewhere."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
