"""What Linux tells of a process in `/proc/PID` (proc(5)): CPU time and resident memory."""

import os
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Memory(NamedTuple):
    """Resident bytes of a process."""

    resident: int  # all of it
    anonymous: int  # heap and stacks
    shared: int  # mapped shared memory: the slots
    file: int  # programs and libraries


class NoProcess(RuntimeError):
    """It has ended."""


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads so far, those that ended included, in steps of 10 ms; not of its children.

    Raises:
        NoProcess: it has ended.
    """
    return parse_stat(_read(pid, "stat"))


def memory(pid: int) -> Memory:
    """What it holds now.

    Raises:
        NoProcess: it has ended.
    """
    return parse_status(_read(pid, "status"))


def parse_stat(text: str) -> float:
    """utime + stime of the text of `stat`, seconds. The name, in parentheses, may hold anything."""
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def parse_status(text: str) -> Memory:
    """The resident sizes in the text of `status`; 0 where there are none.

    Raises:
        NoProcess: it is a zombie, which has no memory.
    """
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if "VmRSS" not in fields:
        raise NoProcess("the process has ended")
    names = ("VmRSS", "RssAnon", "RssShmem", "RssFile")
    return Memory(*(1024 * int(fields.get(name, "0 kB").split()[0]) for name in names))


def _read(pid: int, name: str) -> str:
    try:
        return (PROC / str(pid) / name).read_text()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise NoProcess(f"process {pid} has ended") from error
