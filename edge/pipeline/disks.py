"""Looks after the disks of captures and result files, in a thread: a network disk may not answer for seconds."""

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

LOOK_S = 1.0
ANSWER_S = 3.0
"""A disk that is silent for longer hangs: a network disk whose server is gone may do so for ever."""
LOW_BYTES = 16 << 20
"""Space below which a disk counts as full: a large image and what comes with it."""


class DiskWatch:
    """Says of each folder what is wrong with it. A context manager.

    Args:
        folders: by what they are for; a folder that is not there yet is made by whoever writes first.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        self._found: dict[str, str] = {}
        self._asked: tuple[str, float] | None = None  # what is being looked at, since when on the monotonic clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="disk-watch", daemon=True)

    def __enter__(self) -> "DiskWatch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()  # not joined: a disk that does not answer would hold the end up

    def problems(self) -> Mapping[str, str]:
        """What was wrong at the last look, by what the folder is for; and what does not answer to be looked at."""
        found, asked = self._found, self._asked
        if asked is not None and time.monotonic() - asked[1] > ANSWER_S:
            what = asked[0]
            return {**found, what: f"the disk of {self._folders[what]} does not answer"}
        return found

    def _run(self) -> None:
        while True:
            found = {}
            for what, folder in self._folders.items():
                self._asked = what, time.monotonic()
                found[what] = trouble(folder)
            self._asked = None
            self._found = {what: text for what, text in found.items() if text}
            if self._stop.wait(LOOK_S):
                return


def trouble(folder: Path, low_bytes: int = LOW_BYTES) -> str:
    """Why nothing more can be kept in `folder`; empty where it can."""
    try:
        disk = os.statvfs(folder)
    except FileNotFoundError:
        return f"{folder} is gone"
    except OSError as error:
        return f"{folder} cannot be reached: {error.strerror}"
    if disk.f_flag & os.ST_RDONLY or not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} cannot be written"
    free = disk.f_bavail * disk.f_frsize
    if free < low_bytes:
        return f"{folder} has {free / 2**20:.1f} MiB left"
    return ""
