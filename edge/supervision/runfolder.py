"""The folder of what runs: whose it is (`lock`), what runs (`state.json`), logs and sockets.

`state.json` is replaced as a whole. It is true while somebody holds the lock; of an `edge up` that was killed it
names the processes that may still be ending.
"""

import fcntl
import os
import socket
import time
from pathlib import Path
from typing import Any

import msgspec

LOCK_S = 1.0
"""How long an `edge status` that looks at the lock may stand in the way."""
MAX_STATE_BYTES = 1 << 20


class RunFolderError(RuntimeError):
    """The folder cannot be used; the text says why and what to do."""


class HeldError(RunFolderError):
    """Another `edge up` has the folder."""


class ServiceState(msgspec.Struct, frozen=True):
    """One service, as it was last known."""

    name: str
    state: str
    pid: int | None = None
    began: int = 0
    """Start time of `pid`, see `edge.supervision.processes.began`."""
    since: float = 0.0
    """Since when it is in this state, seconds since 1970."""
    restarts: int = 0
    reason: str = ""
    status: str = ""
    """What it says itself."""
    last_end: str = ""
    patience_s: float = 10.0
    log: str = ""
    facts: dict[str, Any] = {}
    """What it told when it was ready: its addresses."""


class UpState(msgspec.Struct, frozen=True):
    """What an `edge up` knows."""

    pid: int
    began: int
    boot: str
    config: str
    since: float
    services: tuple[ServiceState, ...]
    proposal: str = ""
    stopping: bool = False
    v: int = 1


def run_folder(configured: str) -> Path:
    """`up.folder`, else what systemd gives the service, else a folder in the cache for each host: homes are shared.

    Not `$XDG_RUNTIME_DIR`, which is removed when its user logs out: what runs may go on.
    """
    if configured:
        return Path(configured).absolute()
    # systemd.exec(5): several folders are separated by colons
    if given := os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]:
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "detector-edge" / f"run-{socket.gethostname()}"


def make(folder: Path) -> None:
    """Make the folder if need be.

    Raises:
        RunFolderError: others may write into it, and so take over what runs.
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise RunFolderError(
            f"the run folder {folder} is another user's, or others may write into it, and so take our services "
            f"over; `chmod go-w {folder}`, or set another up.folder"
        )


def take(folder: Path) -> int:
    """Make the folder if need be, and be its only `edge up` until the returned descriptor is closed.

    Raises:
        HeldError: another one is.
        RunFolderError: it cannot be made or written.
    """
    try:
        make(folder)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RunFolderError(f"cannot use the run folder {folder}: {error.strerror}; set up.folder") from error
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
        except OSError as error:
            os.close(descriptor)
            raise RunFolderError(f"cannot lock {folder / 'lock'}: {error.strerror}; set up.folder") from error
        os.close(descriptor)
        holder = read_state(folder)
        who = f" (pid {holder.pid}, {holder.config})" if holder else ""
        raise HeldError(f"another `edge up`{who} runs with the folder {folder}; stop it, or set another up.folder")


def is_held(folder: Path) -> bool:
    """Whether an `edge up` runs with this folder. Another user's lock file that may not be opened counts as held."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def read_state(folder: Path) -> UpState | None:
    """What was last written; None where there is nothing that can be read."""
    try:
        with (folder / "state.json").open("rb") as file:
            return msgspec.json.decode(file.read(MAX_STATE_BYTES), type=UpState)
    except (OSError, msgspec.MsgspecError, RecursionError):
        return None


def write_state(folder: Path, state: UpState) -> None:
    """Replace what is known. Raises OSError."""
    draft = folder / "state.json.new"
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=1))
    draft.replace(folder / "state.json")
