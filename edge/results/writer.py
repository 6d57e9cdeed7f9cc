"""One series on one route on its way into a log; goes on when the disk was full for a while."""

import errno
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from edge.results.errors import ResultFileError
from edge.results.logfile import LogFile, is_over
from edge.results.names import series_stem, stem_of, timestamp
from streams.codecs.results import Result, SeriesStarted
from streams.messages import Part

logger = logging.getLogger(__name__)

RETRY_S = 1.0
"""How long after a failed write the next one is tried."""

MAX_NAMESAKES = 1000


LeftLogs = dict[str, list[Path]]
"""Logs that an earlier process left, by the part of their name that says which series it is."""


def left_logs(folder: Path) -> LeftLogs:
    """Those in `folder`. Looked for once: in a folder of many files it takes long."""
    found: LeftLogs = {}
    for path in sorted(folder.glob("*.log")):
        found.setdefault(stem_of(path.name), []).append(path)
    return found


def complete_series(folder: Path, left: LeftLogs) -> frozenset[str]:
    """Stems of the series that have a file and no log any more: it is complete."""
    return frozenset(stem_of(path.with_suffix(".log").name) for path in folder.glob("*.h5")) - left.keys() - {""}


def has_log_that_is_over(stem: str, left: LeftLogs) -> bool:
    """Whether what comes again of a series is in one of its logs. Reads them: asked only of series that do come."""
    return any(map(is_over, left.get(stem, [])))


class FinishedSeries:
    """Stands where a `SeriesWriter` would: what comes again is in its file already."""

    path = None
    not_logged = 0

    def append(self, parts: Sequence[Part], *, insist: bool = False) -> bool:
        """Nothing to write."""
        return True

    def sync(self) -> None:
        """Nothing to sync."""

    def close(self) -> None:
        """Nothing to close."""


class SeriesWriter:
    """Appends the notices of one series and route; a failure costs the results of that moment, not the series.

    Args:
        folder: where logs are.
        first: the notice that opened the series, or where that was left out its first result; and its parts.
        facts: what stands at the beginning of a new log.
        model_sha256: the weights that the route runs.
        left: the series goes on in one of these; what it asks for is taken out.
    """

    def __init__(
        self,
        folder: Path,
        first: SeriesStarted | Result,
        parts: Sequence[Part],
        facts: dict[str, object],
        model_sha256: str,
        left: LeftLogs,
    ) -> None:
        self.not_logged = 0
        self._folder, self._facts, self._left = folder, facts, left
        self._stem, self._since = series_stem(first, model_sha256), timestamp(first.published_ns)
        self._what = f"series {first.series_id} of {first.source} on {first.route}"
        self._start: Sequence[Part] = parts if isinstance(first, SeriesStarted) else ()
        self._file: LogFile | None = None
        self._begun, self._failed = not self._start, False
        self._not_before = 0.0

    @property
    def path(self) -> Path | None:
        """The log; None where none could be made."""
        return self._file.path if self._file else None

    def append(self, parts: Sequence[Part], *, insist: bool = False) -> bool:
        """Write one notice; whether it is in the log now. After a failure only `insist` (for the end) does not wait."""
        if not insist and time.monotonic() < self._not_before:
            self.not_logged += 1
            return False
        try:
            if self._file is None:
                self._file = self._open()
            if not self._begun and parts is not self._start:
                self._file.append(self._start)
            self._file.append(parts)
            self._begun = True
        except (OSError, ValueError) as error:
            self.not_logged += parts is not self._start and not insist
            self._fail(error)
            return False
        return True

    def sync(self) -> None:
        """Bring it to the disk."""
        try:
            if self._file:
                self._file.sync()
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Bring it to the disk and let go of it."""
        self.sync()
        if self._file:
            self._file.close()
        if self.not_logged:
            logger.warning("%s: %d results were published but are not in its file", self._what, self.not_logged)

    def _fail(self, error: OSError | ValueError) -> None:
        if isinstance(error, OSError):
            self._not_before = time.monotonic() + RETRY_S
        if not self._failed:
            self._failed = True
            logger.error(
                "cannot log results of %s in %s: %s; they are published all the same, but the file of this series "
                "will be incomplete. Free space in the folder, or make it writable; it is tried again each second",
                *(self._what, self._folder, error.strerror if isinstance(error, OSError) else error),
            )

    def _open(self) -> LogFile:
        for path in reversed(self._left.pop(self._stem, [])):
            try:
                file = LogFile(path, self._facts, resume=True)
            except (OSError, ResultFileError):  # its series is over, or another process writes it
                continue
            logger.info("%s goes on in %s", self._what, path.name)
            return file
        name = f"{self._since}-{self._stem}"
        for number in range(2, MAX_NAMESAKES):
            path = self._folder / f"{name}.log"
            try:
                if not path.with_suffix(".h5").exists():  # it would be replaced by the file of this log
                    return LogFile(path, self._facts)
            except FileExistsError:
                pass
            name = f"{self._since}-{self._stem}-{number}"
        raise FileExistsError(errno.EEXIST, f"{MAX_NAMESAKES} logs of this series exist already")
