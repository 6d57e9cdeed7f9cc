"""Reads captures (format: `segments`): every whole record in order, what is damaged, and from where to go on."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from streams.recording.files import FIRST, LAST, entries_of, facts_in, item_of, mark_at, opened, segments_of
from streams.recording.records import Damage as Hole
from streams.recording.segments import (
    FORMAT,
    VERSION,
    Damage,
    Entry,
    Facts,
    Kind,
    Mark,
    Message,
    Place,
    RecordingError,
    begin,
    entries,
    index_of,
    segments,
)

Span: TypeAlias = tuple[float | None, float | None]
"""From A to before B; None: without that bound."""


@dataclass
class CaptureSummary:
    """What is in a capture."""

    facts: Facts | None = None  # None: no segment still has them whole
    segments: int = 0
    bytes: int = 0  # of the segments
    messages: int = 0
    marks: int = 0
    lost: int = 0  # messages that the disk did not take, as the writer noted
    first_ns: int | None = None  # received, wall clock
    last_ns: int | None = None
    damaged_bytes: int = 0  # before whole records of their segment
    torn_bytes: int = 0  # at the ends of segments
    missing_segments: int = 0  # between the oldest and the newest
    last_mark: dict[str, Any] = field(default_factory=dict)


def read_capture(
    folder: Path, start: Place | None = None, stop: Place | None = None
) -> Iterator[Message | Mark | Damage]:
    """Everything in a capture from `start` to before `stop`, in order. Memory: one record.

    Every checksum is verified. A segment that the ring removes meanwhile is left out. Reading may go on while the
    capture is written: the last record may then look torn.

    Raises:
        RecordingError: there is no capture, or it cannot be read.
    """
    start, stop = start or FIRST, stop or LAST
    for number, path in segments_of(folder).items():
        if not start.segment <= number <= stop.segment:
            continue
        with opened(path) as file:
            if file is None:
                continue
            size = os.fstat(file.fileno()).st_size
            at = max(begin(file, size), start.offset if number == start.segment else 0)
            upto = min(size, stop.offset) if number == stop.segment else size
            for found in FORMAT.scan(file, at, upto):
                item = item_of(found, number, size)
                if item is not None:
                    yield item


def survey(folder: Path, *, verify: bool = False) -> CaptureSummary:
    """Count what is in a capture: by its indexes, which takes a moment, or with `verify` by reading every byte.

    Raises:
        RecordingError: there is no capture, or it cannot be read.
    """
    found = CaptureSummary(facts=facts_of(folder))
    there = segments_of(folder)
    found.missing_segments = max(there) - min(there) + 1 - len(there)
    for number, path in there.items():
        with opened(path) as file:
            if file is None:
                continue
            size = os.fstat(file.fileno()).st_size
            found.segments += 1
            found.bytes += size
            for entry in entries(file, size, None if verify else index_of(path)):
                _count(found, entry, size)
                if isinstance(entry, Entry) and entry.kind == Kind.MARK:
                    _note(found, mark_at(file, entry, number, size))
    return found


def last_checkpoint(folder: Path) -> Place | None:
    """From where on something may not be accounted for, by the last mark that tells: None: none does.

    That is the place that a mark names as `"from"`, where the oldest series began that was not finished then, or behind
    a mark without one that says `"open": []`.

    Raises:
        RecordingError: the capture cannot be read.
    """
    for number, path in reversed(segments(folder).items()):
        for entry, mark in reversed(list(_marks({number: path}))):
            if (place := place_of(mark.facts.get("from"))) is not None:
                return min(place, mark.place)
            if mark.facts.get("open") == []:
                return Place(number, entry.offset + entry.length)
    return None


def read_marks(folder: Path, start: Place | None = None, stop: Place | None = None) -> Iterator[Mark]:
    """The marks in [start, stop), by the indexes: no message is read. Nothing where no capture is.

    Raises:
        RecordingError: the capture cannot be read.
    """
    for _, mark in _marks(segments(folder), start or FIRST, stop or LAST):
        yield mark


def facts_of(folder: Path) -> Facts | None:
    """What the capture in a folder is of, by its newest segment that still says so; None where there is none.

    Raises:
        RecordingError: the folder cannot be read, or its capture was written by a later version.
    """
    for path in reversed(segments(folder).values()):
        with opened(path) as file:
            if file is None:
                continue
            size = os.fstat(file.fileno()).st_size
            record = FORMAT.record_at(file, begin(file, size), size)
        facts = facts_in(record) if record is not None else None
        if facts is not None and facts.version > VERSION:
            raise RecordingError(
                f"{folder} was recorded by a later version ({facts.program}, format {facts.version}); update this one"
            )
        if facts is not None:
            return facts
    return None


def select(folder: Path, messages: Span = (None, None), seconds: Span = (None, None)) -> tuple[Place, Place]:
    """Where a subset of the messages begins, and where it ends: for `read_capture`.

    Args:
        messages: by number, the first in the capture is 0.
        seconds: by the time since the first of them was received.

    Raises:
        RecordingError: there is no capture, or it cannot be read.
    """
    start, stop, first_ns = None, Place(0, 0), None
    messages_in = (
        (place, entry) for place, _, _, entry in entries_of(segments_of(folder)) if entry.kind == Kind.MESSAGE
    )
    for number, (place, entry) in enumerate(messages_in):
        first_ns = entry.time_ns if first_ns is None else first_ns
        if _within(number, messages) and _within((entry.time_ns - first_ns) / 1e9, seconds):
            start = start or place
            stop = Place(place.segment, place.offset + entry.length)
    return start or stop, stop


def _marks(there: Mapping[int, Path], start: Place = FIRST, stop: Place = LAST) -> Iterator[tuple[Entry, Mark]]:
    for place, file, size, entry in entries_of(there, start, stop):
        mark = mark_at(file, entry, place.segment, size) if entry.kind == Kind.MARK else None
        if mark is not None:
            yield entry, mark


def place_of(told: Any) -> Place | None:
    """A place as a mark tells it: [segment, offset]; None where it is none."""
    try:
        return msgspec.convert(told, Place)
    except msgspec.ValidationError:
        return None


def _count(found: CaptureSummary, entry: Entry | Hole, size: int) -> None:
    if isinstance(entry, Hole):
        if entry.stop == size:
            found.torn_bytes += entry.stop - entry.start
        else:
            found.damaged_bytes += entry.stop - entry.start
    elif entry.kind == Kind.MESSAGE:
        found.messages += 1
        found.first_ns = entry.time_ns if found.first_ns is None else found.first_ns
        found.last_ns = entry.time_ns


def _note(found: CaptureSummary, mark: Mark | None) -> None:
    if mark is None:
        return
    lost = mark.facts.get("lost")
    if isinstance(lost, int):
        found.lost += lost
    else:
        found.marks += 1
        found.last_mark = mark.facts


def _within(value: float, span: Span) -> bool:
    return (span[0] is None or value >= span[0]) and (span[1] is None or value < span[1])
