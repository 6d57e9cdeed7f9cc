"""The append-only log of results: bytes <-> records. No clock, no thread; the file is handed in.

A log is `MAGIC`, then records one after another. A record is

    4 bytes  MARK
    u32      length of the payload
    u32      CRC32 (zlib) of the length's four bytes and the payload
    payload  u16 number of parts, u32 length of each part, the parts themselves

all little-endian. The parts are those of one message of `streams.codecs.results`; a record of a single part holds
facts about the log as a JSON object. A record is whole or it does not count: the reader believes no length before
it has compared it with the bytes that are there, and no byte before the checksum. After damage it goes on at the
next whole record, so that one bad sector costs what stood in it and nothing more.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from edge.results.errors import ResultFileError
from streams.codecs.results import MAX_ARRAYS
from streams.messages import Part

MAGIC = b"EDGELOG1"
MARK = b"\xf5Rec"
HEAD = struct.Struct("<4sII")
LENGTH = struct.Struct("<I")
COUNT = struct.Struct("<H")

MAX_PARTS = 2 + MAX_ARRAYS
MAX_PAYLOAD_BYTES = 1 << 30
"""A float32 image of 16k x 16k pixels; the length field could say four times as much."""

MAX_FALSE_MARKS = 256
"""After damage: places that look like a record and are none, before the rest of the file is given up."""

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Record:
    """A whole record and where it stands: bytes [start, stop) of the file."""

    start: int
    stop: int
    parts: list[memoryview]


@dataclass(frozen=True)
class Damage:
    """Bytes [start, stop) that hold no whole record. Where `stop` is the end of the file it may be a torn write."""

    start: int
    stop: int


def pack(parts: Sequence[Part]) -> list[Part]:
    """The bytes of one record, to be written in this order; the parts are not copied.

    Raises:
        ValueError: more parts or bytes than a reader would believe.
    """
    lengths = struct.pack(f"<H{len(parts)}I", len(parts), *map(len, parts))
    total = len(lengths) + sum(map(len, parts))
    if not 0 < len(parts) <= MAX_PARTS or total > MAX_PAYLOAD_BYTES:
        raise ValueError(f"no record of {len(parts)} parts and {total} bytes; at most {MAX_PAYLOAD_BYTES} bytes")
    checksum = zlib.crc32(lengths, zlib.crc32(LENGTH.pack(total)))
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return [HEAD.pack(MARK, total, checksum) + lengths, *parts]


def read(file: BinaryIO, upto: int | None = None) -> Iterator[Record | Damage]:
    """Everything in a log, in order: its records, and the stretches between them that are none.

    What is appended while it is read is left out, and what stands behind `upto`. Memory: one record.

    Raises:
        ResultFileError: it is no log.
        OSError: it cannot be read.
    """
    size = file.seek(0, os.SEEK_END)
    size = size if upto is None else min(size, upto)
    file.seek(0)
    magic = file.read(len(MAGIC))
    if not MAGIC.startswith(magic):
        raise ResultFileError("not a log of results: it does not begin as one")
    if len(magic) < len(MAGIC):
        if magic:
            yield Damage(0, size)
        return
    at = len(MAGIC)
    while at < size:
        record = _record_at(file, at, size)
        if record is None:
            stop = _next_record(file, at + 1, size)
            yield Damage(at, stop)
            at = stop
        else:
            yield record
            at = record.stop


def _record_at(file: BinaryIO, at: int, size: int) -> Record | None:
    file.seek(at)
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    mark, length, checksum = HEAD.unpack(head)
    stop = at + HEAD.size + length
    if mark != MARK or length > MAX_PAYLOAD_BYTES or stop > size:
        return None
    payload = file.read(length)
    if len(payload) < length or zlib.crc32(payload, zlib.crc32(LENGTH.pack(length))) != checksum:
        return None
    parts = _split(memoryview(payload))
    return None if parts is None else Record(at, stop, parts)


def _split(payload: memoryview) -> list[memoryview] | None:
    if len(payload) < COUNT.size:
        return None
    (count,) = COUNT.unpack_from(payload)
    at = COUNT.size + count * LENGTH.size
    if not 0 < count <= MAX_PARTS or len(payload) < at:
        return None
    parts = []
    for length in struct.unpack_from(f"<{count}I", payload, COUNT.size):
        parts.append(payload[at : at + length])
        at += length
    return parts if at == len(payload) else None


def _next_record(file: BinaryIO, at: int, size: int) -> int:
    """Where the first whole record at or behind `at` begins; `size` where there is none."""
    for _ in range(MAX_FALSE_MARKS):
        at = _find_mark(file, at, size)
        if at == size or _record_at(file, at, size) is not None:
            return at
        at += 1
    return size


def _find_mark(file: BinaryIO, at: int, size: int) -> int:
    while at < size:
        file.seek(at)
        chunk = file.read(CHUNK_BYTES)
        found = chunk.find(MARK)
        if found >= 0:
            return min(at + found, size)
        if len(chunk) < CHUNK_BYTES:
            return size
        at += len(chunk) - len(MARK) + 1
    return size
