"""Writes a capture: the raw messages of one source, in a ring of segments with a quota (`streams.recording.segments`).

What `append` wrote is the kernel's when it returns: it survives a killed process, and a power cut as far as `sync`
came.
"""

import fcntl
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from streams.messages import Part
from streams.recording.reader import facts_of
from streams.recording.ring import OpenSegment, Ring
from streams.recording.segments import Facts, Kind, Place, RecordingError

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""How long after a failed write the next one is tried."""

MAX_UNSYNCED = 16
"""Full segments that wait for `sync`; the oldest beyond is closed without."""


class CaptureWriter:
    """Appends to the capture of one source, always in a new segment. A context manager.

    Args:
        folder: of the capture; made where it is not there.
        facts: what is recorded. Host and time are filled in.
        quota_bytes: when all segments together would exceed it, whole oldest ones are removed, never the one that is
            being written. A message larger than a segment is one record all the same.
        clock: seconds, monotonic.

    Raises:
        RecordingError: the folder cannot be written, another writer has it, or it holds a capture of something else.
    """

    def __init__(
        self, folder: Path, facts: Facts, quota_bytes: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = folder
        self.messages = self.bytes = 0  # that were written by this writer; bytes of their records
        self.lost = 0  # messages that the disk did not take
        self._lost_unsaid = 0  # of them, those that no mark in the capture tells of
        self._clock = clock
        self._failed_at: float | None = None  # when the disk refused last
        self._refusal = ""  # and why
        self._gone = False  # somebody removed the segment's file, as `sync` found
        self._unsynced: deque[int] = deque()  # descriptors of full segments
        self._lock = threading.Lock()  # over descriptors: two threads use them
        self._lock_fd = _locked(folder)
        try:
            _check_facts(folder, facts)
            facts = msgspec.structs.replace(facts, host=facts.host or socket.gethostname())
            self._ring = Ring(folder, facts, quota_bytes)
            self._segment: OpenSegment | None = self._ring.begin()
            self.began = Place(self._ring.number, 0)
            """Where what this writer writes begins."""
        except BaseException as error:
            os.close(self._lock_fd)
            if isinstance(error, OSError):
                raise RecordingError(_refusal(folder, error)) from error
            raise

    def __enter__(self) -> "CaptureWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def place(self) -> Place:
        """Where the next message will stand, or before: for a mark's `from`."""
        segment = self._segment
        return Place(self._ring.number, segment.size) if segment is not None else Place(self._ring.number + 1, 0)

    @property
    def failing(self) -> bool:
        """Whether the last write was refused: messages are being lost."""
        return self._failed_at is not None

    @property
    def removed_segments(self) -> int:
        """By the quota."""
        return self._ring.removed

    def append(self, parts: Sequence[Part], received_ns: int) -> None:
        """Record one message, whole or not at all; `received_ns` is the wall clock.

        Raises:
            RecordingError: it is not recorded, but counted in `lost`. Where the disk refuses, one a second is tried,
                and a mark `{"lost": n}` stands where they are missing.
        """
        try:
            self.bytes += self._put(Kind.MESSAGE, parts, received_ns)
            self.messages += 1
        except RecordingError:
            self.lost += 1
            self._lost_unsaid += 1
            raise

    def mark(self, facts: Mapping[str, Any]) -> None:
        """Note something behind the last message. Recovery begins where the last mark with `"from": [segment, offset]`
        says, or behind the last one with `"open": []` and no `from`.

        Raises:
            RecordingError: it is not, as in `append`.
        """
        self._put(Kind.MARK, [msgspec.json.encode(facts)], time.time_ns())

    def sync(self) -> None:
        """Wait until the disk has what was appended before. From any one thread; it may take long.

        Raises:
            RecordingError: the disk refused; what was appended is in the files all the same, while there is power.
        """
        with self._lock:
            waiting = list(self._unsynced)
            self._unsynced.clear()
            if self._segment is not None:
                waiting.append(os.dup(self._segment.fd))
                self._gone = self._segment.removed
        error = _sync_all(waiting, self.folder)
        if error is not None:
            raise RecordingError(_refusal(self.folder, error)) from error

    def close(self) -> None:
        """Bring it to the disk and let the next writer in. Never raises."""
        if self._lock_fd < 0:
            return
        self._retire()
        try:
            self.sync()
        except RecordingError as error:
            log.error("%s", error)
        os.close(self._lock_fd)
        self._lock_fd = -1

    def _put(self, kind: Kind, parts: Sequence[Part], time_ns: int) -> int:
        """The bytes that were written."""
        if self._failed_at is not None and self._clock() - self._failed_at < RETRY_S:
            raise RecordingError(self._refusal)
        try:
            segment = self._room_for(sum(map(len, parts)))
            if self._lost_unsaid:
                segment.append(Kind.MARK, [msgspec.json.encode({"lost": self._lost_unsaid})], time_ns)
                self._lost_unsaid = 0
            written = segment.append(kind, parts, time_ns)
            self._failed_at = None
            return written
        except ValueError as error:
            raise RecordingError(f"a message is not recorded in {self.folder}: {error}") from error
        except OSError as error:
            self._failed_at, self._refusal = self._clock(), _refusal(self.folder, error)
            if self._segment is not None and not self._segment.intact:
                self._retire()
            raise RecordingError(self._refusal) from error

    def _room_for(self, size: int) -> OpenSegment:
        """The segment to write `size` bytes into; the ring has room for them."""
        segment = self._segment
        if segment is not None and (self._gone or segment.is_full(size, self._ring.segment_bytes)):
            self._retire()
            segment = None
        if segment is None:
            segment = self._ring.begin()
            with self._lock:
                self._segment, self._gone = segment, False
        self._ring.make_room(segment, size)
        return segment

    def _retire(self) -> None:
        """Nothing more goes into the current segment."""
        with self._lock:
            segment, self._segment = self._segment, None
            if segment is None:
                return
            self._unsynced.append(segment.finish())
            while len(self._unsynced) > MAX_UNSYNCED:
                os.close(self._unsynced.popleft())
        self._ring.retire(segment)


def _locked(folder: Path) -> int:
    """A descriptor that holds the lock of a folder, which is made where it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
    except OSError as error:
        raise RecordingError(_refusal(folder, error)) from error
    return fd


def _check_facts(folder: Path, new: Facts) -> None:
    there = facts_of(folder)
    if there is not None and (there.source, there.protocol) != (new.source, new.protocol):
        raise RecordingError(
            f"{folder} holds a capture of source {there.source!r} by {there.protocol}, not of {new.source!r} by "
            f"{new.protocol}; record into another folder, or remove this one"
        )


def _sync_all(descriptors: Sequence[int], folder: Path) -> OSError | None:
    """Bring them and the folder's list of files to the disk and close them; the first error."""
    failed: OSError | None = None
    try:
        descriptors = [*descriptors, os.open(folder, os.O_RDONLY | os.O_CLOEXEC)]
    except OSError as error:
        failed = error
    for fd in descriptors:
        try:
            os.fsync(fd)
        except OSError as error:
            failed = failed or error
        finally:
            os.close(fd)
    return failed


def _refusal(folder: Path, error: OSError) -> str:
    if isinstance(error, BlockingIOError):
        return f"another process records into {folder}; stop it (`fuser {folder}/lock` names it) or use another folder"
    return f"cannot record in {folder}: {error.strerror}; free space there, make it writable, or use another folder"
