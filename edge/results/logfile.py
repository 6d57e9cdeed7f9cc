"""A log that is being written: locked, appended to whole records at a time, gone on with after a crash."""

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from edge.results import log
from edge.results.errors import ResultFileError
from edge.results.survey import facts_record
from streams.codecs.results import Notice, SeriesEnded, SeriesStarted, decode
from streams.messages import CodecError, Part
from streams.recording.records import append

CUT_SHORT = "shutdown"
"""Why a series was closed, or frames of one were given up, that edge serve may see again: it was stopped itself."""


class LogFile:
    """An open log, locked against other writers.

    Args:
        path: a new file, or a log to go on with behind its last whole record.
        facts: what stands at the beginning of a new log.

    Raises:
        OSError: it cannot be opened, locked or written.
    """

    def __init__(self, path: Path, facts: dict[str, object], *, resume: bool = False) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | (0 if resume else os.O_CREAT | os.O_EXCL), 0o644)
        self._dirty = False
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self._fd).st_nlink == 0:
                raise FileNotFoundError(errno.ENOENT, "the log was removed meanwhile")
            self._end = _unfinished(self._fd) if resume else 0
            os.ftruncate(self._fd, self._end)
            os.lseek(self._fd, self._end, os.SEEK_SET)
            if self._end == 0:
                self._write([log.MAGIC, *facts_record(facts)])
                sync(path.parent)
        except BaseException:
            if not resume:  # nothing is in it, and whoever tries again wants the name
                path.unlink(missing_ok=True)
            os.close(self._fd)
            raise

    def append(self, parts: Sequence[Part]) -> None:
        """Write one record, whole or not at all.

        Raises:
            OSError: the disk refused; the file is as it was.
            ValueError: the record is too large for a log.
        """
        self._write(log.pack(parts))

    def sync(self) -> None:
        """Wait until the disk has what was written."""
        if self._dirty:
            os.fsync(self._fd)
            self._dirty = False

    def close(self) -> None:
        os.close(self._fd)

    def _write(self, buffers: Sequence[Part]) -> None:
        self._dirty = True
        self._end = append(self._fd, buffers, self._end)


def is_over(path: Path) -> bool:
    """Whether nothing more belongs into a log: its series was closed, and all that was published of it is there."""
    try:
        with path.open("rb") as file:
            _unfinished(file.fileno())
    except FileExistsError:
        return True
    except (OSError, ResultFileError):
        return False
    return False


def _unfinished(fd: int) -> int:
    """Where the last whole record of a log ends that lacks something: edge serve ended, in order or not, while its
    series was running or had results on their way, or the disk did not take all of them.

    Raises:
        FileExistsError: it lacks nothing; what comes now is another acquisition.
        ResultFileError: it is no log.
    """
    end, closed, origin, results = 0, False, "", 0
    with os.fdopen(os.dup(fd), "rb") as file:
        for found in log.read(file):
            if isinstance(found, log.Damage):
                continue
            end = found.stop
            if len(found.parts) > 2:
                results += 1
                continue
            notice = _notice(found.parts)  # without arrays: of the series itself
            if isinstance(notice, SeriesStarted) and notice.origin != origin:
                origin, results = notice.origin, 0
            closed = _lacks_nothing(notice, results) if isinstance(notice, SeriesEnded) else closed
    if closed:
        raise FileExistsError(errno.EEXIST, "the series of this log is over")
    return end


def _lacks_nothing(ended: SeriesEnded, results: int) -> bool:
    """Args: results: how many are in the log since the last start of edge serve."""
    dropped, published = ended.account.get("dropped"), ended.account.get("published")
    given_up = isinstance(dropped, dict) and CUT_SHORT in dropped
    return ended.reason != CUT_SHORT and not given_up and results >= (published if isinstance(published, int) else 0)


def sync(path: Path) -> None:
    """Wait until the disk has a file's content, or a folder's list of files."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _notice(parts: Sequence[Part]) -> Notice | None:
    try:
        return decode(parts)[0]
    except CodecError:
        return None
