"""The processes of a running system: which they are, by what they were started as, and the memory that they hold."""

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

PROC = Path("/proc")
Role = Literal["up", "triton", "serve", "agent", "guardian", "tritonserver", "model", ""]
COMMANDS: dict[str, Role] = {"up": "up", "triton": "triton", "serve": "serve", "agent": "agent"}


class Process(NamedTuple):
    """One that lives."""

    pid: int
    parent: int
    began: int  # clock ticks since the boot: with `pid` it names the process for good
    role: Role
    argv: tuple[str, ...]


def family(root: int) -> list[Process]:
    """`root` and all that descends from it, zombies left out."""
    found = {each.pid: each for each in _all()}
    members = [found[root]] if root in found else []
    for each in members:
        members += [other for other in found.values() if other.parent == each.pid]
    return members


def role_of(argv: Sequence[str]) -> Role:
    """What a command line makes of a process."""
    name = os.path.basename(argv[0]) if argv else ""
    if name in ("tritonserver", "triton_python_backend_stub"):
        return "tritonserver" if name == "tritonserver" else "model"
    if "edge.inference.guardian" in argv[:5]:
        return "guardian"
    for at, word in enumerate(argv[:5]):
        if os.path.basename(word) == "edge" and at + 1 < len(argv):
            return COMMANDS.get(argv[at + 1], "")
    return ""


def with_role(root: int, role: Role) -> list[Process]:
    """Those of the family that have it, oldest first."""
    return sorted((each for each in family(root) if each.role == role), key=lambda each: each.began)


def send(process: Process, signum: int) -> bool:
    """Send a signal; False where it has ended."""
    with contextlib.suppress(ProcessLookupError):
        if alive(process):
            os.kill(process.pid, signum)
            return True
    return False


def alive(process: Process) -> bool:
    """Whether it is this very process still."""
    seen = _read(process.pid)
    return seen is not None and seen.began == process.began


def end_family(root: int, patience_s: float = 5.0) -> None:
    """Kill all of it, and wait until it is gone."""
    members = family(root)
    for each in members:
        send(each, signal.SIGKILL)
        send(each, signal.SIGCONT)
    deadline = time.monotonic() + patience_s
    while any(map(alive, members)) and time.monotonic() < deadline:
        time.sleep(0.05)


def memory_by_role(root: int) -> dict[str, int]:
    """What the processes hold by themselves, in bytes: proportional set size without shared memory, which `/dev/shm`
    tells."""
    found: Counter[str] = Counter()
    for each in family(root):
        found[each.role or "other"] += _own_bytes(each)
    return dict(found)


def folder_bytes(folder: Path) -> int:
    """What the files of a folder of a memory file system take."""
    total = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def _own_bytes(process: Process) -> int:
    try:
        text = (PROC / str(process.pid) / "smaps_rollup").read_text()
    except OSError:
        return 0
    kib = {line.partition(":")[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
    return 1024 * (kib.get("Pss", 0) - kib.get("Pss_Shmem", 0))


def _all() -> list[Process]:
    return [seen for entry in PROC.iterdir() if entry.name.isdigit() and (seen := _read(int(entry.name))) is not None]


def _read(pid: int) -> Process | None:
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        line = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return None
    if fields[0] in "ZX":
        return None
    argv = tuple(word.decode(errors="replace") for word in line.split(b"\0")[:-1])
    return Process(pid, int(fields[1]), int(fields[19]), role_of(argv), argv)
