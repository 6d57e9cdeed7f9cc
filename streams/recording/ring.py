"""The segments of a capture as its writer holds them: one that is written, older ones that the quota removes."""

import contextlib
import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from streams.messages import Part
from streams.recording import records
from streams.recording.segments import (
    ENTRY_BYTES,
    FORMAT,
    INDEX_MAGIC,
    MAX_ENTRIES,
    Entry,
    Facts,
    Kind,
    index_of,
    pack,
    segment_name,
    segments,
)

SEGMENT_BYTES = 64 << 20
LEAST_SEGMENT_BYTES = 4096
SEGMENTS = 8
"""A full ring has at least as many: so much of it goes at a time."""

INDEX_BUFFER_BYTES = 4096
"""Entries that a killed process leaves out of its index; the reader finds their records all the same."""


class OpenSegment:
    """A segment that is being written. An index that cannot be written ends there: it is a help, not a record.

    Raises:
        OSError: it cannot be made; nothing of it stays.
    """

    def __init__(self, path: Path, facts: Facts) -> None:
        self.path, self.entries = path, 0
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._index: int | None = None
        self._waiting = bytearray(INDEX_MAGIC)
        try:
            self.size = records.append(self.fd, [FORMAT.magic], 0)
            self.append(Kind.FACTS, [msgspec.json.encode(facts)], facts.created_ns)
            with contextlib.suppress(OSError):
                self._index = os.open(index_of(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        except BaseException:
            os.close(self.fd)
            with contextlib.suppress(OSError):
                path.unlink()
            raise

    def append(self, kind: Kind, parts: Sequence[Part], time_ns: int) -> int:
        """Write one record, whole or not at all; its bytes.

        Raises:
            OSError: the disk refused.
            ValueError: it is larger than a record can be.
        """
        start = self.size
        self.size = records.append(self.fd, pack(kind, parts, time_ns, start), start)
        self.entries += 1
        self._waiting += Entry(start, self.size - start, time_ns, kind).pack()
        if len(self._waiting) >= INDEX_BUFFER_BYTES:
            self._flush_index()
        return self.size - start

    def is_full(self, size: int, limit: int) -> bool:
        """Whether `size` bytes more belong into the next one; never where nothing but facts is in it."""
        return self.entries > 1 and (self.size + size > limit or self.entries > MAX_ENTRIES - 2)

    @property
    def intact(self) -> bool:
        """Whether the file still is what we wrote; not so where a failed write could not be taken back."""
        try:
            return os.fstat(self.fd).st_size == os.lseek(self.fd, 0, os.SEEK_CUR) == self.size
        except OSError:
            return False

    @property
    def removed(self) -> bool:
        """Whether somebody removed the file under us."""
        return os.fstat(self.fd).st_nlink == 0

    def finish(self) -> int:
        """Close the index; the segment's descriptor, still open, is the caller's."""
        self._flush_index()
        if self._index is not None:
            os.close(self._index)
            self._index = None
        return self.fd

    def _flush_index(self) -> None:
        try:
            if self._index is not None and os.write(self._index, self._waiting) < len(self._waiting):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            if self._index is not None:
                os.close(self._index)
            self._index = None
        self._waiting.clear()


class Ring:
    """The numbers and sizes of the segments in a folder, and the quota over them. One at a time.

    Raises:
        RecordingError, OSError: the folder cannot be read.
    """

    def __init__(self, folder: Path, facts: Facts, quota_bytes: int) -> None:
        self.segment_bytes = min(SEGMENT_BYTES, max(quota_bytes // SEGMENTS, LEAST_SEGMENT_BYTES))
        self.removed = 0  # segments, by the quota
        self._folder, self._facts, self._quota = folder, facts, quota_bytes
        there = segments(folder)
        for index in folder.glob("*.idx"):
            if index.with_suffix(".cap") not in there.values():
                index.unlink(missing_ok=True)
        self._old = {number: _size(path) for number, path in there.items()}  # the oldest first
        self._old_bytes = sum(self._old.values())
        self.number = max(there, default=0)  # of the newest

    def begin(self) -> OpenSegment:
        """The next segment.

        Raises:
            OSError: it cannot be made.
        """
        self._folder.mkdir(exist_ok=True)  # where it was removed under us
        facts = msgspec.structs.replace(self._facts, created_ns=time.time_ns())
        segment = OpenSegment(self._folder / segment_name(self.number + 1), facts)
        self.number += 1
        return segment

    def retire(self, segment: OpenSegment) -> None:
        """`segment` is one of the old ones now."""
        self._old[self.number] = size = _size(segment.path)
        self._old_bytes += size

    def make_room(self, segment: OpenSegment, size: int) -> None:
        """Remove old segments until `size` bytes more in `segment` keep the quota, or none is left.

        Raises:
            OSError: one cannot be removed.
        """
        needed = segment.size + size + (segment.entries + 1) * ENTRY_BYTES
        while self._old and self._old_bytes + needed > self._quota:
            number = next(iter(self._old))
            path = self._folder / segment_name(number)
            path.unlink(missing_ok=True)
            index_of(path).unlink(missing_ok=True)
            self._old_bytes -= self._old.pop(number)
            self.removed += 1


def _size(segment: Path) -> int:
    """Bytes of a segment and its index; 0 where they are gone."""
    size = 0
    for path in (segment, index_of(segment)):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
    return size
