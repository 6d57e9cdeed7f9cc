"""What the kernel knows of processes: /proc, see `proc(5)`. Linux only, as everything that runs here."""

import ctypes
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
PR_SET_CHILD_SUBREAPER = 36
MAX_FILES = 1 << 19
"""systemd's own limit; some programs go through all numbers up to the limit, which may be a thousand million."""


def boot_id() -> str:
    """Another after each start of the machine: process ids and start times mean something within one only."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def began(pid: int) -> int | None:
    """When the process was started, in clock ticks since the machine was; None where it has ended.

    Together with the pid this names a process for ever, which the pid alone does not: pids are used again.
    """
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def signal_process(pid: int, ticks: int, number: int, group: bool = False) -> bool:
    """Send a signal to the process of that pid and start time, or to its group; False where it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if began(pid) != ticks:  # after the opening: what it names cannot change any more
            return False
        with suppress(ProcessLookupError):
            if group:
                os.killpg(pid, number)
            else:
                signal.pidfd_send_signal(descriptor, number)
        return True
    finally:
        os.close(descriptor)


def kill_session(leader: int) -> None:
    """SIGKILL to every process of a session, whatever its group.

    The leader must be ours and not yet waited for: so long its number cannot become another session's.
    """
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    for pid in _session(leader):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def adopt_orphans() -> None:
    """From now on processes whose parent ends become children of this one, which can then wait for them."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def children() -> list[int]:
    """Pids of the children of this process, adopted ones included; zombies too."""
    own = os.getpid()
    found = []
    for pid in _pids():
        fields = _stat(pid)
        if fields is not None and int(fields[1]) == own:
            found.append(pid)
    return found


def ended_child() -> int | None:
    """A child that has ended and is not yet waited for: its number, and its session's, are still its own."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None


def raise_file_limit() -> int:
    """As many open files as we may have, for this process and its children; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def forbid_core_files() -> None:
    """For this process and its children: keys, tokens and unpublished frames would be in them."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _session(leader: int) -> Iterator[int]:
    for pid in _pids():
        fields = _stat(pid)
        if fields is not None and int(fields[3]) == leader and fields[0] not in "ZX":
            yield pid


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third (state) on; the second may hold anything."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return None
