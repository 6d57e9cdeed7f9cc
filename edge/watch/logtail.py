"""What `edge serve` warns of, from its log as it grows: why frames failed stands nowhere else."""

import re
from pathlib import Path

MOST_BYTES = 1 << 16
"""Of the log read at a time."""

ALARMING = re.compile(r"\d\d:\d\d:\d\d (WARNING|ERROR|CRITICAL) ")


class LogTail:
    """The lines of a log that are warnings or worse, each once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""  # of a line that is being written

    def new(self) -> list[str]:
        """Those since the last call; none where the log cannot be read."""
        try:
            with self._path.open("rb") as log:
                log.seek(self._offset)
                read = log.read(MOST_BYTES)
        except OSError:
            return []
        self._offset += len(read)
        *whole, self._rest = (self._rest + read).split(b"\n")
        self._rest = self._rest[-MOST_BYTES:]
        return [line for line in (each.decode(errors="replace") for each in whole) if ALARMING.match(line)]
