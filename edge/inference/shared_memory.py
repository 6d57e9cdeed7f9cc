"""Memory that the inference server maps too: POSIX shared memory, opened through /dev/shm.

Not `multiprocessing.shared_memory`: before Python 3.13 its resource tracker unlinks a segment when any
process that attached to it exits (python/cpython#82300), and it does not reserve the pages, so that a full
/dev/shm becomes a SIGBUS at the first write instead of an error here.
"""

import errno
import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from edge.inference import shm_names
from edge.inference.errors import SharedMemoryError
from edge.inference.shm_names import SHM_FOLDER


class Region:
    """`nbytes` bytes of shared memory, zeroed, all of them reserved.

    `view` is a writable uint8 array [nbytes]; slices and reshapes of it stay valid after `close` until
    they are dropped. `name` is the file name in /dev/shm and the name to use in a `Span`.
    """

    def __init__(self, name: str, nbytes: int, folder: Path = SHM_FOLDER) -> None:
        """Create the region. Raises SharedMemoryError where there is no room or the name is taken."""
        if nbytes < 1:
            raise SharedMemoryError(f"shared memory {name}: {nbytes} bytes asked for")
        self.name = name
        self.nbytes = nbytes
        self._path = folder / name
        self._map = _create(self._path, nbytes)
        self.view: np.ndarray = np.frombuffer(self._map, np.uint8)
        self._open = True

    def close(self) -> None:
        """Unlink the name at once; the memory goes with the last view of it. Idempotent."""
        if not self._open:
            return
        self._open = False
        self._path.unlink(missing_ok=True)
        self.view = np.empty(0, np.uint8)
        try:
            self._map.close()
        except BufferError:
            return  # somebody still holds a view: its own end unmaps the memory


class Namespace:
    """A prefix in /dev/shm that is ours, and the regions made under it.

    Entries of owners that died are removed on the way in. Regions outlive the server process: a restarted
    server gets the same memory registered again.
    """

    def __init__(self, folder: Path = SHM_FOLDER) -> None:
        """Claim a prefix. Raises SharedMemoryError where `folder` cannot be written."""
        self._folder = folder
        self._regions: list[Region] = []
        try:
            shm_names.sweep_stale(folder)
            self._claim: shm_names.Claim | None = shm_names.claim(folder)
        except OSError as error:
            raise SharedMemoryError(f"{folder} cannot be used for shared memory: {error.strerror}") from error
        self.prefix = self._claim.prefix

    @property
    def lock_fd(self) -> int:
        """Descriptor of the lock; a child that inherits it keeps the prefix ours until it exits too."""
        if self._claim is None:
            raise SharedMemoryError(f"{self.prefix} is closed")
        return self._claim.lock_fd

    def region(self, label: str, nbytes: int) -> Region:
        """Make the region `<prefix>-r-<label>`. Raises SharedMemoryError where there is no room for it."""
        if self._claim is None:
            raise SharedMemoryError(f"{self.prefix} is closed")
        region = Region(f"{self.prefix}-r-{label}", nbytes, self._folder)
        self._regions.append(region)
        return region

    def close(self) -> None:
        """Close all regions, remove what else carries the prefix, give the prefix up. Idempotent."""
        if self._claim is None:
            return
        for region in self._regions:
            region.close()
        self._claim.release()
        self._claim = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _create(path: Path, nbytes: int) -> mmap.mmap:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SharedMemoryError(f"shared memory {path}: {error.strerror}") from error
    try:
        os.posix_fallocate(fd, 0, nbytes)
        # Map all pages now: the first frame of a series shall not pay for page faults.
        return mmap.mmap(fd, nbytes, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise SharedMemoryError(_no_room(path, nbytes, error)) from error
    finally:
        os.close(fd)


def _no_room(path: Path, nbytes: int, error: OSError) -> str:
    if error.errno not in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG):
        return f"shared memory {path}: {error.strerror}"
    space = os.statvfs(path.parent)
    free = space.f_bavail * space.f_frsize
    return (
        f"{path.parent} has {free >> 20} MiB free, {-(-nbytes >> 20)} MiB needed: use fewer or smaller slots, or "
        f"enlarge it (mount -o remount,size=..., docker --shm-size, a Memory emptyDir in Kubernetes)"
    )
