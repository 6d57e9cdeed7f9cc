"""The file in which `edge triton` says where its server is, and the token that opens it: for its own user only.

It is there only while that server is ready; it is replaced, never written in place, so it is never read half.
"""

import contextlib
import errno
import os
import tempfile
from pathlib import Path

import msgspec

LARGEST = 4096
"""Bytes; what is larger was written by somebody else."""


class Announcement(msgspec.Struct, frozen=True):
    """A server that is ready."""

    url: str  # host:port of its gRPC endpoint
    token: str  # opens the restricted calls
    pid: int  # of tritonserver
    id: str  # its own (--id): whoever else may answer at the url has another
    epoch: int  # counts the starts of this `edge triton`
    started: float  # seconds since 1970
    models: dict[str, str] = {}  # SHA-256 of the shipped graph of each model that it serves

    def __repr__(self) -> str:
        """Without the token: this may be logged."""
        return f"Announcement({self.id} at {self.url}, process {self.pid}, start {self.epoch})"


def write(path: Path, announcement: Announcement) -> None:
    """Replace `path`; mode 0600. Raises OSError where its folder cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # 0600 by itself
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.encode(announcement))
        os.replace(made, path)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise


def read(path: Path) -> Announcement | None:
    """What `path` announces; None where it is not there or is no announcement.

    Raises OSError where it is there and cannot be read, or is another user's, who would get our frames.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid not in (0, os.geteuid()):
                raise PermissionError(errno.EPERM, "it is another user's", str(path))
            return msgspec.json.decode(file.read(LARGEST), type=Announcement)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def withdraw(path: Path) -> None:
    """The server is ready no more."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
