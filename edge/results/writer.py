"""One series on one route on its way into a log; goes on when the disk was full for a while."""

import errno
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from edge.results.errors import ResultFileError
from edge.results.logfile import LogFile
from edge.results.names import series_stem, timestamp
from streams.codecs.results import SeriesStarted
from streams.messages import Part

logger = logging.getLogger(__name__)

RETRY_S = 1.0
"""How long after a failed write the next one is tried."""

MAX_NAMESAKES = 1000


class SeriesWriter:
    """Appends the notices of one series and route; a failure costs the results of that moment, not the series.

    Args:
        folder: where logs are.
        started: the notice that opened the series, and its parts.
        facts: what stands at the beginning of a new log.
        model_sha256: the weights that the route runs.
    """

    def __init__(
        self, folder: Path, started: SeriesStarted, parts: Sequence[Part], facts: dict[str, object], model_sha256: str
    ) -> None:
        self.not_logged = 0
        self._folder, self._facts = folder, facts
        self._stem, self._since = series_stem(started, model_sha256), timestamp(started.published_ns)
        self._what = f"series {started.series_id} of {started.source} on {started.route}"
        self._start = parts
        self._file: LogFile | None = None
        self._begun = self._failed = False
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
        for path in sorted(self._folder.glob(f"*-{self._stem}*.log"), reverse=True):
            try:
                file = LogFile(path, self._facts, resume=True)
            except (OSError, ResultFileError):  # its series is over, or another process writes it
                continue
            logger.info("%s goes on in %s", self._what, path.name)
            return file
        name = f"{self._since}-{self._stem}"
        for number in range(2, MAX_NAMESAKES):
            try:
                return LogFile(self._folder / f"{name}.log", self._facts)
            except FileExistsError:
                name = f"{self._since}-{self._stem}-{number}"
        raise FileExistsError(errno.EEXIST, f"{MAX_NAMESAKES} logs of this series exist already")
