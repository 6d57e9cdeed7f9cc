"""Every TCP port on which a family of processes listens, from what Linux tells (proc_net_tcp(5), proc(5))."""

import os
from pathlib import Path
from typing import NamedTuple

from edge.bench.chaos import processes
from edge.bench.chaos.processes import Process

LISTEN = "0A"
"""TCP_LISTEN in include/net/tcp_states.h."""


class Port(NamedTuple):
    """One."""

    number: int
    owner: Process


def listening(root: int) -> list[Port]:
    """Of all processes of the family, by number."""
    owners = {inode: each for each in processes.family(root) for inode in _sockets(each.pid)}
    found = {number: owners[inode] for inode, number in _listening().items() if inode in owners}
    return [Port(number, owner) for number, owner in sorted(found.items())]


def descriptors(root: int) -> int:
    """How many files and sockets the family has open."""
    return sum(len(_links(each.pid)) for each in processes.family(root))


def _listening() -> dict[int, int]:
    """Port by inode."""
    found: dict[int, int] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:  # a system without IPv6
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTEN:
                found[int(fields[9])] = int(fields[1].rpartition(":")[2], 16)
    return found


def _sockets(pid: int) -> list[int]:
    links = (link for link in _links(pid) if link.startswith("socket:["))
    return [int(link.removeprefix("socket:[").rstrip("]")) for link in links]


def _links(pid: int) -> list[str]:
    found: list[str] = []
    try:
        entries = list(os.scandir(f"/proc/{pid}/fd"))
    except OSError:
        return found
    for entry in entries:
        try:
            found.append(os.readlink(entry.path))
        except OSError:
            continue
    return found
