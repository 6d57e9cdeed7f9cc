"""Who owns what in /dev/shm. Standard library only: the guardian process imports nothing else.

An owner claims a prefix, `edge-<pid>-<8 hex digits>`, by holding a lock on `<prefix>.lock`. Every entry of
that owner starts with the prefix. The kernel drops the lock when the last holder dies, however it dies, so a
lock that can be taken proves that the owner is gone. A process id alone proves nothing: ids are reused, and
containers that share /dev/shm do not share them.
"""

import contextlib
import fcntl
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

SHM_FOLDER = Path("/dev/shm")
LOCK_SUFFIX = ".lock"
PREFIX = re.compile(r"edge-\d+-[0-9a-f]{8}")


@dataclass(frozen=True)
class Claim:
    """A prefix that is ours for as long as `lock_fd` is open here or in a child that inherited it."""

    prefix: str
    lock_fd: int
    folder: Path

    def release(self) -> None:
        """Remove every entry of the prefix and give it up."""
        remove_entries(self.prefix, self.folder)
        lock_path(self.prefix, self.folder).unlink(missing_ok=True)
        os.close(self.lock_fd)


def claim(folder: Path = SHM_FOLDER) -> Claim:
    """Take a new prefix in `folder`. Raises OSError where the folder cannot be written."""
    while True:
        prefix = f"edge-{os.getpid()}-{secrets.token_hex(4)}"
        path = lock_path(prefix, folder)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # A sweep by another process may take the lock, and then the file, between our open and our lock.
        if _try_lock(fd) and _is_same_file(fd, path):
            return Claim(prefix, fd, folder)
        path.unlink(missing_ok=True)
        os.close(fd)


def sweep_stale(folder: Path = SHM_FOLDER) -> None:
    """Remove the entries of owners that are gone; nobody else's are touched."""
    for prefix in stale_prefixes(folder):
        _sweep_one(prefix, folder)


def stale_prefixes(folder: Path = SHM_FOLDER) -> list[str]:
    """Prefixes that have a lock file which nobody holds."""
    names = sorted(path.name.removesuffix(LOCK_SUFFIX) for path in folder.glob(f"edge-*{LOCK_SUFFIX}"))
    return [name for name in names if PREFIX.fullmatch(name) and not is_owned(name, folder)]


def is_owned(prefix: str, folder: Path = SHM_FOLDER) -> bool:
    """Whether somebody still holds `prefix`. A lock file of another user counts as held, even where we may open it."""
    try:
        fd = os.open(lock_path(prefix, folder), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError:  # another user's, or no file at all
        return True
    try:
        return os.fstat(fd).st_uid != os.geteuid() or not _try_lock(fd)
    finally:
        os.close(fd)


def remove_entries(prefix: str, folder: Path = SHM_FOLDER) -> None:
    """Unlink every entry of `prefix` but the lock, which goes last.

    Memory that is still mapped somewhere stays valid there; only the name goes.
    """
    lock = prefix + LOCK_SUFFIX
    for path in folder.glob(f"{prefix}*"):
        if path.name != lock:
            path.unlink(missing_ok=True)


def keep_private(prefix: str, folder: Path = SHM_FOLDER) -> None:
    """Take every entry of `prefix` from other users; the memory that Triton makes is readable for all by itself."""
    for path in folder.glob(f"{prefix}*"):
        with contextlib.suppress(FileNotFoundError):
            path.chmod(0o600)


def _sweep_one(prefix: str, folder: Path) -> None:
    path = lock_path(prefix, folder)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if _try_lock(fd) and _is_same_file(fd, path):
            with contextlib.suppress(OSError):  # somebody else put an entry of theirs there: it stays
                remove_entries(prefix, folder)
                path.unlink(missing_ok=True)
    finally:
        os.close(fd)


def lock_path(prefix: str, folder: Path = SHM_FOLDER) -> Path:
    """The file whose lock says that `prefix` is in use."""
    return folder / (prefix + LOCK_SUFFIX)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
