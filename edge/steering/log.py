"""An experiment's log: what its agent was, suggested, was told and learned, appended before anybody is answered.

`streams.recording.records` with one part a record, a msgpack map; the first says what the agent is made of. What was
appended is on the disk when `append` returns. A record that was cut short by a crash was never answered, and is
dropped when the log is opened; a record that was damaged later costs what stood in it.
"""

import fcntl
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec

from edge.agent import past
from edge.agent.hyperparameters import Hyperparameters
from edge.agent.past import Past
from edge.steering.words import (
    Count,
    Definition,
    Id,
    Name,
    ObservationWords,
    SuggestionWords,
    pack,
    unpack,
)
from streams.messages import CodecError
from streams.recording.records import Damage, Format, RecordsError, append

LOG = logging.getLogger(__name__)

MAGIC = b"EDGEAGT1"
SUFFIX = ".agentlog"
FORMAT = Format(MAGIC, max_parts=1, max_payload_bytes=1 << 20, placed=True)
MOST_BYTES = 64 << 20
"""Of one log: some ten times what the most observations that an agent can hold need."""


class LogError(RuntimeError):
    """The log cannot be used; the text says why and what to do."""


class LogFull(LogError):
    """It takes no more."""


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """The first record."""

    experiment: Name
    definition: Definition


class Suggested(msgspec.Struct, frozen=True, tag="suggested"):
    """The answer to the request `key`."""

    key: Id
    suggestions: tuple[SuggestionWords, ...]


class Observed(msgspec.Struct, frozen=True, tag="observed"):
    observations: tuple[ObservationWords, ...]


class Abandoned(msgspec.Struct, frozen=True, tag="abandoned"):
    suggestion_ids: tuple[Id, ...]


class Learned(msgspec.Struct, frozen=True, tag="learned"):
    """As `edge.agent.past.Learned`."""

    version: Count
    trained_on: Count
    mean: float
    scale: float
    lengths: tuple[float, ...]
    white: float
    tour: Annotated[tuple[Count, ...], msgspec.Meta(max_length=10_000)]


Entry: TypeAlias = Suggested | Observed | Abandoned | Learned


class ExperimentLog:
    """The log of one experiment, open for appending; one process has it. For any thread.

    Args:
        path: a new file, or one to go on with behind its last whole record.
        experiment, definition: what stands at the beginning of a new log.

    Attributes:
        definition: what the agent of this log is made of.
        entries: what the log held when it was opened.

    Raises:
        LogError: it is no log of this experiment, or another process writes it.
        OSError: it cannot be opened, read or written.
    """

    def __init__(self, path: Path, experiment: str, definition: Definition) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            _lock(self._fd, path)
            begun, self.entries, self._end = _read(self._fd, path)
            os.ftruncate(self._fd, self._end)
            os.lseek(self._fd, self._end, os.SEEK_SET)
            if begun is None:
                begun = self._begin(Begun(experiment, definition))
            if begun.experiment != experiment:
                raise LogError(f"{path} is the log of {begun.experiment!r}: was it renamed?")
            self.definition = begun.definition
        except BaseException:
            os.close(self._fd)
            raise

    def append(self, entry: Entry | Begun) -> None:
        """Write one entry, whole or not at all, and wait until the disk has it.

        Raises:
            LogFull: the log takes no more.
            LogError: it was closed.
            OSError: the disk refused; the log is as it was.
        """
        with self._lock:
            if self._fd < 0:
                raise LogError(f"{self.path} was closed")
            if self._end > MOST_BYTES:
                raise LogFull(f"{self.path} has {self._end} bytes, the most there may be: begin another experiment")
            before, record = self._end, FORMAT.pack([pack(entry)], self._end)
            self._end = append(self._fd, record, before)
            try:
                os.fdatasync(self._fd)
            except OSError:
                self._end = before
                os.ftruncate(self._fd, before)
                os.lseek(self._fd, before, os.SEEK_SET)
                raise

    def close(self) -> None:
        """Nothing is appended any more, not by a thread that is late either."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _begin(self, begun: Begun) -> Begun:
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._end = append(self._fd, [MAGIC], 0)
        self.append(begun)
        folder = os.open(self.path.parent, os.O_RDONLY)  # the file's name must be on the disk, too
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return begun


def past_of(entries: Sequence[Entry]) -> Iterator[Past]:
    """What a `edge.agent.optimizer.GaussianProcessAgent` needs of a log."""
    for entry in entries:
        if isinstance(entry, Suggested):
            yield from (one.meant() for one in entry.suggestions)
        elif isinstance(entry, Observed):
            yield from (one.meant() for one in entry.observations)
        elif isinstance(entry, Abandoned):
            yield past.Abandoned(entry.suggestion_ids)
        else:
            believed = Hyperparameters(entry.mean, entry.scale, entry.lengths, entry.white)
            yield past.Learned(entry.version, entry.trained_on, believed, entry.tour)


def learned(now: past.Learned) -> Learned:
    """As an entry."""
    return Learned(now.version, now.trained_on, **msgspec.to_builtins(now.hyperparameters), tour=now.tour)


def read(path: Path) -> tuple[Begun | None, list[Entry]]:
    """All whole entries of a log, which may be in use; None where it does not tell what its agent is made of.

    Raises:
        LogError: it is no log.
        OSError: it cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        begun, entries, _ = _read(fd, path)
    finally:
        os.close(fd)
    return begun, entries


def _lock(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LogError(f"another process writes {path}: one service for each agent.folder") from None


def _read(fd: int, path: Path) -> tuple[Begun | None, list[Entry], int]:
    """What the log holds, and where its last whole record ends. Raises LogError where it is no log."""
    begun: Begun | None = None
    entries: list[Entry] = []
    end = 0
    try:
        with os.fdopen(os.dup(fd), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            for found in FORMAT.read(file):
                if isinstance(found, Damage):
                    _tell(found, path, size)
                    continue
                end = found.stop
                entry = unpack(found.parts[0], _ENTRY, FORMAT.max_payload_bytes)
                if isinstance(entry, Begun):
                    begun = begun or entry
                else:
                    entries.append(entry)
    except (RecordsError, CodecError) as error:
        raise LogError(f"{path} is no log of an agent ({error}): move it away to begin the experiment anew") from error
    if begun is None and entries:
        raise LogError(f"{path} does not tell any more what its agent is made of: move it away to begin anew")
    return begun, entries, end


def _tell(damage: Damage, path: Path, size: int) -> None:
    if damage.stop == size:
        LOG.warning("%s: its last %d bytes are no whole record and are cut off", path, damage.stop - damage.start)
    else:
        LOG.error("%s: bytes %d to %d are damaged; what stood there is lost", path, damage.start, damage.stop)


_ENTRY: Any = Begun | Suggested | Observed | Abandoned | Learned
