"""Looks at the machine from outside: processes, ports, shared memory."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.inference.shm_names import SHM_FOLDER

PATIENCE_S = 60.0


def eventually(condition: Callable[[], object], what: str, within_s: float = PATIENCE_S) -> None:
    """Poll until `condition()` is true; fail with `what` after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within_s:.0f} s: {what}")
        time.sleep(0.02)


def process_runs(pid: int) -> bool:
    """Whether `pid` is a process that has not ended; a zombie has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def processes_named(prefix: str) -> list[int]:
    """Processes with `prefix` on their command line: tritonserver, its model processes, the guardian."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and process_runs(int(entry.name)):
            try:
                if prefix.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def port_open(port: int) -> bool:
    """Whether somebody listens on `port` of this host."""
    with socket.socket() as probing:
        return probing.connect_ex(("127.0.0.1", port)) == 0


def entries(prefix: str) -> list[str]:
    """Names in /dev/shm that start with `prefix`."""
    return sorted(path.name for path in SHM_FOLDER.glob(f"{prefix}*"))
