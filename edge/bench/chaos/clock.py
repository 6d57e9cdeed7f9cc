"""The clock of the system under test: right until it is stepped. How: `stepped/sitecustomize.py`."""

import mmap
import os
import struct
from pathlib import Path

STEPPED = Path(__file__).parent / "stepped"
"""Folder for PYTHONPATH."""


class Clock:
    """A file that says how far `time.time` of the processes with `environment` is off."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._said = mmap.mmap(file.fileno(), 8)
        self._path = path

    @property
    def environment(self) -> dict[str, str]:
        """What the processes need."""
        others = [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
        return {"PYTHONPATH": os.pathsep.join([str(STEPPED), *others]), "EDGE_BENCH_CLOCK": str(self._path)}

    def step(self, seconds: float) -> None:
        """From now on it is off by so much."""
        self._said[:8] = struct.pack("<q", int(seconds * 1e9))
