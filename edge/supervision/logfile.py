"""The log of one service: a bounded file that the service writes itself, and a look at what it says that matters.

The service has the file, not a pipe of ours: it goes on writing when the supervisor is slow, or gone.
"""

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 16 << 20
"""Then it becomes `<name>.1`, and what that was is gone."""
READ_BYTES = 1 << 18
"""Read in one turn at most."""
MAX_LINE = 1_000
MATTERS = re.compile(r"^(\d\d:\d\d:\d\d )?(WARNING|ERROR|CRITICAL)\b|^\w*Error: |^Usage: ")
LAST_WORDS = re.compile(r"^(?:\d\d:\d\d:\d\d )?(?:ERROR|CRITICAL|\w*Error:)\s*(.*)")


class LogFile:
    """One service's log, from its present end on."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._at = path.stat().st_size if path.exists() else 0
        self._part = b""
        self.last_words = ""
        """The newest error in it since `opened`."""

    def opened(self) -> int:
        """A descriptor for the next process. Raises OSError."""
        self.last_words = ""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self.path, flags, 0o600)

    def matters(self) -> list[str]:
        """Warnings and errors that were written since the last call; printable, of bounded length."""
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < self._at:
                    self._at = 0  # somebody else emptied it
                file.seek(self._at)
                data = file.read(READ_BYTES)
        except OSError:
            return []
        self._at += len(data)
        *lines, self._part = (self._part + data).split(b"\n")
        self._part = self._part[:MAX_LINE]
        found = [printable(line[:MAX_LINE].decode(errors="replace")) for line in lines]
        for line in found:
            if match := LAST_WORDS.match(line):
                self.last_words = match[1]
        if size > self._max_bytes:
            self._turn_over()
        return [line for line in found if MATTERS.match(line)]

    def _turn_over(self) -> None:
        """The service keeps its descriptor (it appends), so the content is moved, not the file.

        What it writes in between is lost from the file; the copy takes milliseconds. What was not read yet is not told.
        """
        with suppress(OSError):  # no room for the old one: the bound holds nevertheless
            shutil.copyfile(self.path, self.path.with_name(f"{self.path.name}.1"))
        with suppress(OSError):  # somebody removed it just now, or it cannot be written: the next turn tries again
            os.truncate(self.path, 0)
            self._at = 0


def printable(text: str) -> str:
    """Without what would move a terminal's cursor: a log may quote what a stranger sent."""
    return "".join(char if char.isprintable() else "?" for char in text)
