"""The receiving end of systemd's notify protocol (`sd_notify(3)`): who said what."""

import os
import shutil
import socket
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edge.supervision import runfolder
from edge.supervision.logfile import printable

MAX_DATAGRAM = 4096
MAX_PATH = 107
"""`unix(7)`: 108 bytes, the last one is NUL."""
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: `struct ucred`
MAX_AT_ONCE = 256
"""Datagrams taken in one turn: a service that floods does not keep the supervisor from its work."""


class Inbox:
    """A socket in `folder`, or in a folder of its own where that path is too long for a socket.

    The kernel says who sent each datagram (SO_PASSCRED): nobody can speak for another process.
    """

    def __init__(self, folder: Path) -> None:
        self._own: Path | None = None
        if len(bytes(folder / "notify")) > MAX_PATH:
            folder = self._own = Path(tempfile.mkdtemp(prefix="edge-up-"))
        self.address = folder / "notify"
        self._socket = _bound(self.address)

    @property
    def reachable(self) -> bool:
        """Whether it still is where it was made: somebody may have removed the folder."""
        return os.path.exists(self.address)  # False, too, where it cannot be looked for

    def renew(self) -> None:
        """Be there again. Raises OSError, RunFolderError where that cannot be: somebody else may have made it."""
        runfolder.make(self.address.parent)
        made = _bound(self.address)
        self._socket.close()
        self._socket = made

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> Iterator[tuple[int, dict[str, str]]]:
        """What has come: the sender's pid, and its words by name."""
        for _ in range(MAX_AT_ONCE):
            try:
                data, ancillary, _, _ = self._socket.recvmsg(MAX_DATAGRAM, socket.CMSG_SPACE(CREDENTIALS.size))
            except BlockingIOError:
                return
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(value) == CREDENTIALS.size:
                    yield CREDENTIALS.unpack(value)[0], words(data)

    def close(self) -> None:
        """Remove the socket."""
        self._socket.close()
        self.address.unlink(missing_ok=True)
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)


def _bound(address: Path) -> socket.socket:
    address.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        made.bind(str(address))
        address.chmod(0o600)
    except BaseException:
        made.close()
        raise
    return made


def words(data: bytes) -> dict[str, str]:
    """`NAME=value` lines of a datagram, printable; everything else in it is ignored."""
    lines = data.decode(errors="replace").split("\n")
    return {name: printable(value) for name, equals, value in (line.partition("=") for line in lines) if equals}
