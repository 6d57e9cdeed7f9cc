"""A mount namespace of one's own: small file systems in memory for the data and for `/dev/shm`, which can be filled up.

The mounts are seen by the processes that are started in it alone (mount_namespaces(7)); everybody else reaches them
through `/proc/PID/root`. Without privileges a user namespace is made with it (user_namespaces(7)), where that is
allowed.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

SHM = Path("/dev/shm")  # what it is
SCRIPT = """
mount -t tmpfs -o size="$2",mode=700 edge-bench "$1" || exit 1
mount -t tmpfs -o size="$3",mode=1777 edge-bench /dev/shm || exit 1
echo mounted
exec cat >/dev/null
"""
CHUNK = bytes(1 << 20)


class NoMounts(RuntimeError):
    """This machine does not let us; the text says why."""


class Mounts:
    """`data`, a folder that is empty, and `/dev/shm`, as file systems of their own for what `prefix` starts.

    Raises:
        NoMounts: not permitted, or `unshare` is not there.
    """

    def __init__(self, data: Path, data_mib: int, shm_mib: int) -> None:
        self._data = data
        self._user = [] if os.geteuid() == 0 else ["-r"]
        if shutil.which("unshare") is None or shutil.which("nsenter") is None:
            raise NoMounts("`unshare` and `nsenter` (util-linux) are not there")
        line = ["unshare", *self._user, "-m", "--propagation", "private", "sh", "-c", SCRIPT]
        self._holder = subprocess.Popen(
            [*line, "mounts", str(data), f"{data_mib}m", f"{shm_mib}m"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None and self._holder.stderr is not None
        if self._holder.stdout.readline() != "mounted\n":
            said = self._holder.stderr.read().strip()
            self.__exit__(None, None, None)
            raise NoMounts(f"private mounts are not permitted here: {said}")

    @property
    def prefix(self) -> Sequence[str]:
        """Begins the command line of what is to live in it; the process id stays that of the command."""
        user = ["-U", "--preserve-credentials"] if self._user else []
        return ["nsenter", "-t", str(self._holder.pid), *user, "-m", "--"]

    def seen(self, path: Path) -> Path:
        """Where we find what they call `path`."""
        return Path(f"/proc/{self._holder.pid}/root") / path.relative_to("/")

    @contextmanager
    def full(self, folder: Path, room: int = 0) -> Iterator[None]:
        """A file takes all but `room` bytes of the file system of `folder` for as long as this lasts."""
        path = self.seen(folder) / "filler.of.the.bench"
        try:
            with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(CHUNK):
                    continue
            with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(CHUNK[:4096]):
                    continue
            if room:
                os.truncate(path, max(0, path.stat().st_size - room))
            yield
        finally:
            path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in (self._holder.stdin, self._holder.stdout, self._holder.stderr):
            if pipe is not None:
                pipe.close()
        try:
            self._holder.wait(5)
        except subprocess.TimeoutExpired:
            self._holder.kill()
            self._holder.wait()
