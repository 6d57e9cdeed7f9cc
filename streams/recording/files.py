"""Opens the segments of a capture and turns their records into messages, marks and damage."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from streams.recording.records import Damage as Hole
from streams.recording.records import Record
from streams.recording.segments import (
    FORMAT,
    Damage,
    Entry,
    Facts,
    Kind,
    Mark,
    Message,
    Place,
    RecordingError,
    entries,
    head_of,
    index_of,
    segment_name,
    segments,
)

FIRST, LAST = Place(0, 0), Place(1 << 62, 0)
"""Before and behind every record."""


def entries_of(
    there: Mapping[int, Path], start: Place = FIRST, stop: Place = LAST
) -> Iterator[tuple[Place, BinaryIO, int, Entry]]:
    """The records in [start, stop) by the index: place, segment and its size, entry."""
    for number, path in there.items():
        if not start.segment <= number <= stop.segment:
            continue
        with opened(path) as file:
            if file is None:
                continue
            size = os.fstat(file.fileno()).st_size
            for entry in entries(file, size, index_of(path)):
                if isinstance(entry, Entry) and start <= (place := Place(number, entry.offset)) < stop:
                    yield place, file, size, entry


def segments_of(folder: Path) -> dict[int, Path]:
    """As `streams.segments.segments`, of a folder that is to hold a capture.

    Raises:
        RecordingError: there is none.
    """
    found = segments(folder)
    if not found:
        raise RecordingError(f"{folder} holds no capture: there is no file like {segment_name(1)} in it")
    return found


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO | None]:
    """A segment for reading; None where the ring has removed it since it was listed."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror}") from error
    with file:
        try:
            yield file
        except OSError as error:
            raise RecordingError(f"cannot read {path}: {error.strerror}") from error


def item_of(found: Record | Hole, segment: int, size: int) -> Message | Mark | Damage | None:
    """What a record is; None for facts, and for kinds of a later version."""
    place = Place(segment, found.start)
    if isinstance(found, Hole):
        return Damage(place, found.stop - found.start, torn=found.stop == size)
    head = head_of(found)
    if head is None:
        return Damage(place, found.stop - found.start, torn=False)
    kind, time_ns = head
    if kind == Kind.MESSAGE:
        return Message(place, time_ns, found.parts[1:])
    return Mark(place, time_ns, _json(found)) if kind == Kind.MARK else None


def mark_at(file: BinaryIO, entry: Entry, segment: int, size: int) -> Mark | None:
    """The mark of an index entry; None where the bytes are none."""
    record = FORMAT.record_at(file, entry.offset, size)
    item = item_of(record, segment, size) if record is not None else None
    return item if isinstance(item, Mark) else None


def _json(record: Record) -> dict[str, Any]:
    try:
        return msgspec.json.decode(record.parts[1], type=dict[str, Any])
    except (IndexError, msgspec.MsgspecError, RecursionError):
        return {}


def facts_in(record: Record) -> Facts | None:
    """The facts that a record holds; None where it holds none."""
    head = head_of(record)
    if head is None or head[0] != Kind.FACTS or len(record.parts) < 2:
        return None
    try:
        return msgspec.json.decode(record.parts[1], type=Facts)
    except (msgspec.MsgspecError, RecursionError):
        return None
