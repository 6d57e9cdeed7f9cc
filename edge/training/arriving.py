"""Which files of a folder are complete: those that nobody has written to for a while. Pure: it is told the time."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

UNFINISHED = (".part", ".tmp", ".partial", ".lock", ".new")
"""Endings under which programs write what they rename when it is whole."""


class FileFacts(msgspec.Struct, frozen=True):
    """What tells one state of a file from another."""

    name: str
    size: int
    mtime_ns: int


class Arriving:
    """The files of one folder.

    Args:
        still_s: how long a file must not have changed.
        done: files that were dealt with before; one that has changed since is a new one.
    """

    def __init__(self, still_s: float, done: Iterable[FileFacts] = ()) -> None:
        self._still_s = still_s
        self._done = set(done)
        self._since: dict[FileFacts, float] = {}

    def complete(self, found: Iterable[FileFacts], now: float) -> list[FileFacts]:
        """Those that have not changed for long enough and were not dealt with, the oldest first."""
        waiting = {file for file in found if file not in self._done and is_candidate(file)}
        self._since = {file: self._since.get(file, now) for file in waiting}
        ready = [file for file, since in self._since.items() if now - since >= self._still_s]
        return sorted(ready, key=lambda file: (file.mtime_ns, file.name))

    def finish(self, file: FileFacts) -> None:
        """It was dealt with."""
        self._done.add(file)
        self._since.pop(file, None)


def is_candidate(file: FileFacts) -> bool:
    """Whether it may be a scan: neither empty, nor hidden, nor by its name unfinished, which can be written down."""
    return has_name(file) and file.size > 0 and not file.name.startswith(".") and not file.name.endswith(UNFINISHED)


def has_name(file: FileFacts) -> bool:
    """Whether its name is text: any bytes may be a file's name, but no log can keep them."""
    return not any("\ud800" <= letter <= "\udfff" for letter in file.name)


def look(folder: Path) -> list[FileFacts]:
    """The files that are in `folder` now. Raises OSError where it cannot be read."""
    found = []
    for path in folder.iterdir():
        try:
            status = path.stat()
        except OSError:  # removed or renamed a moment ago, or a link that leads nowhere
            continue
        if path.is_file():
            found.append(FileFacts(path.name, status.st_size, status.st_mtime_ns))
    return found
