"""The files of a capture: bytes <-> what they say. A capture is a folder that holds what one source received.

    000001.cap, 000002.cap, ...   segments: records (`records.py`), each a head and the parts of a message
    000001.idx, ...               their indexes: where each record stands, so that none is read to be counted
    lock                          held by the one writer

The head of a record is its kind (u8) and its time (i64, wall clock in nanoseconds), little-endian. A segment begins
with a record of facts, so that it can be read when older ones are gone. An index is `INDEX_MAGIC`, then an entry a
record; it may be missing, torn or of another file: then the segment itself is read.
"""

import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import msgspec

from streams.messages import Part
from streams.recording.records import Damage as Hole
from streams.recording.records import Format, Record

FORMAT = Format(b"EDGECAP1", max_parts=1 << 15, max_payload_bytes=(1 << 32) - 1, placed=True)
HEAD = struct.Struct("<Bq")

INDEX_MAGIC = b"EDGEIDX1"
ENTRY = struct.Struct("<QQqB3x")
"""Place of a record, its length in the file, its time, its kind; then the CRC32 (zlib) of these."""
CHECKSUM = struct.Struct("<I")
ENTRY_BYTES = ENTRY.size + CHECKSUM.size
MAX_ENTRIES = 1 << 16
"""Records of one segment, and so what reading an index may cost."""

VERSION = 1
NAME = re.compile(r"(\d{6,12})\.cap")


class RecordingError(RuntimeError):
    """A capture cannot be written or read; the text says which, why, and what to do."""


class Kind(IntEnum):
    """What a record of a capture is."""

    FACTS = 0  # JSON: `Facts`
    MESSAGE = 1  # the parts of one ZeroMQ message, exactly as received
    MARK = 2  # JSON: what the writer noted between two messages


class Facts(msgspec.Struct, frozen=True):
    """What a capture is of. `edge replay` and recovery read it."""

    source: str
    protocol: str  # a name in `streams.codecs.DECODERS`
    socket: Literal["pull", "sub", "req"] = "pull"  # how it was received
    options: Mapping[str, Any] = {}  # of the decoder
    program: str = ""  # that wrote it
    host: str = ""
    created_ns: int = 0  # of the segment, wall clock
    version: int = VERSION


class Place(NamedTuple):
    """Where a record of a capture begins; places are in the order in which messages came."""

    segment: int
    offset: int  # bytes


@dataclass(frozen=True)
class Message:
    """One message as it was received; the parts are views into memory of its own."""

    place: Place
    received_ns: int  # wall clock
    parts: list[memoryview]


@dataclass(frozen=True)
class Mark:
    """What the writer noted behind the messages before it."""

    place: Place
    marked_ns: int
    facts: dict[str, Any]


@dataclass(frozen=True)
class Damage:
    """Bytes that hold no whole record."""

    place: Place
    length: int
    torn: bool  # at the end of a segment: its writer was killed there, or is writing now


class Entry(NamedTuple):
    """A record as the index tells of it: bytes [offset, offset + length) of the segment."""

    offset: int
    length: int
    time_ns: int
    kind: int

    def pack(self) -> bytes:
        """Its bytes in an index."""
        entry = ENTRY.pack(*self)
        return entry + CHECKSUM.pack(zlib.crc32(entry))


def pack(kind: Kind, parts: Sequence[Part], time_ns: int, at: int) -> list[Part]:
    """The bytes of a record at byte `at` of a segment; the parts are not copied.

    Raises:
        ValueError: the message is larger than a record can be, 4 GiB.
    """
    return FORMAT.pack([HEAD.pack(kind, time_ns), *parts], at)


def head_of(record: Record) -> tuple[int, int] | None:
    """Kind and time of a record; None where it has no head."""
    head = record.parts[0]
    return HEAD.unpack(head) if len(head) == HEAD.size else None


def segment_name(number: int) -> str:
    """The file of a segment."""
    return f"{number:06}.cap"


def segments(folder: Path) -> dict[int, Path]:
    """The segments of a capture by number, the oldest first; empty where there is no capture.

    Raises:
        RecordingError: the folder cannot be read.
    """
    try:
        names = [(match, path) for path in folder.iterdir() if (match := NAME.fullmatch(path.name))]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RecordingError(f"cannot read {folder}: {error.strerror}; name the folder of a capture") from error
    return dict(sorted((int(match[1]), path) for match, path in names))


def index_of(segment: Path) -> Path:
    """Where the index of a segment is, if anywhere."""
    return segment.with_suffix(".idx")


def begin(file: BinaryIO, size: int) -> int:
    """Where the records of a segment begin: behind the magic, or at 0 where that is damaged."""
    file.seek(0)
    magic = file.read(len(FORMAT.magic))
    return len(magic) if magic == FORMAT.magic and size >= len(magic) else 0


def entries(file: BinaryIO, size: int, index: Path | None) -> Iterator[Entry | Hole]:
    """What a segment of `size` bytes holds, in order: by its index as far as that fits, the rest by reading it.

    Raises:
        OSError: the segment cannot be read.
    """
    at = begin(file, size)
    for entry in _indexed(file, size, index) if index is not None else ():
        yield entry
        at = entry.offset + entry.length
    for found in FORMAT.scan(file, at, size):
        head = head_of(found) if isinstance(found, Record) else None
        if isinstance(found, Record) and head is not None:
            yield Entry(found.start, found.stop - found.start, head[1], head[0])
        else:
            yield Hole(found.start, found.stop)


def _indexed(file: BinaryIO, size: int, index: Path) -> list[Entry]:
    """The entries of an index that follow each other from the segment's first byte, up to one that does not.

    None at all where the first or the last of them is not in the segment: then it is another file's.
    """
    try:
        with index.open("rb") as into:
            raw = into.read(len(INDEX_MAGIC) + MAX_ENTRIES * ENTRY_BYTES)
    except OSError:
        return []
    at, found = len(FORMAT.magic), []
    if begin(file, size) != at or not raw.startswith(INDEX_MAGIC):
        return []
    for start in range(len(INDEX_MAGIC), len(raw) - ENTRY_BYTES + 1, ENTRY_BYTES):
        entry = Entry._make(ENTRY.unpack_from(raw, start))
        (checksum,) = CHECKSUM.unpack_from(raw, start + ENTRY.size)
        fits = entry.offset == at and entry.length > 0 and at + entry.length <= size
        if not fits or zlib.crc32(raw[start : start + ENTRY.size]) != checksum:
            break
        found.append(entry)
        at += entry.length
    return found if all(_there(file, size, entry) for entry in (found[:1] + found[-1:])) else []


def _there(file: BinaryIO, size: int, entry: Entry) -> bool:
    record = FORMAT.record_at(file, entry.offset, size)
    if record is None or record.stop - record.start != entry.length:
        return False
    return head_of(record) == (entry.kind, entry.time_ns)
