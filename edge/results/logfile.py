"""A log that is being written: locked, appended to whole records at a time, gone on with after a crash."""

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from edge.results import log
from edge.results.survey import facts_record
from streams.codecs.results import Notice, SeriesEnded, decode
from streams.messages import CodecError, Part

CUT_SHORT = "shutdown"
"""Why a series was closed that edge serve may see again: it was stopped itself (streams.series.CloseReason)."""


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
        left = [memoryview(buffer) for buffer in buffers if len(buffer)]
        try:
            while left:
                written = os.writev(self._fd, left[: os.sysconf("SC_IOV_MAX")])
                while left and written >= len(left[0]):
                    written -= len(left.pop(0))
                if left:
                    left[0] = left[0][written:]
        except OSError:
            os.ftruncate(self._fd, self._end)
            os.lseek(self._fd, self._end, os.SEEK_SET)
            raise
        self._end += sum(map(len, buffers))


def _unfinished(fd: int) -> int:
    """Where the last whole record of a log ends, its series still running when edge serve ended, in order or not.

    Raises:
        FileExistsError: the series was closed; what comes now is another acquisition.
        ResultFileError: it is no log.
    """
    end, closed = 0, False
    with os.fdopen(os.dup(fd), "rb") as file:
        for found in log.read(file):
            if isinstance(found, log.Damage):
                continue
            end = found.stop
            if len(found.parts) == 2:  # no arrays: a notice of the series itself
                notice = _notice(found.parts)
                closed = notice.reason != CUT_SHORT if isinstance(notice, SeriesEnded) else closed
    if closed:
        raise FileExistsError(errno.EEXIST, "the series of this log is over")
    return end


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
