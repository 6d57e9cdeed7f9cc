"""Checksummed records in an append-only file: bytes <-> records. No clock, no thread; the file is handed in.

A file is its format's magic, then records one after another. A record is

    4 bytes  MARK
    u32      length of the payload
    u32      CRC32 (zlib) of the length's four bytes and the payload; see `Format.placed`
    payload  u16 number of parts, u32 length of each part, the parts themselves

all little-endian. A record is whole or it does not count: the reader believes no length before it has compared it with
the bytes that are there, and no byte before the checksum. After damage it goes on at the next whole record, so that
one bad sector costs what stood in it and nothing more.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from streams.messages import Part

MARK = b"\xf5Rec"
HEAD = struct.Struct("<4sII")
LENGTH = struct.Struct("<I")
COUNT = struct.Struct("<H")

MAX_FALSE_MARKS = 256
"""After damage: places that look like a record and are none, before the rest of the file is given up."""

CHUNK_BYTES = 1 << 20


class RecordsError(ValueError):
    """Not a file of the format that was asked for."""


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


@dataclass(frozen=True)
class Format:
    """What one kind of file begins with and may hold."""

    magic: bytes
    max_parts: int  # at most 65535
    max_payload_bytes: int = 1 << 30  # below 4 GiB
    placed: bool = False
    """Checksums begin with the place of their record (modulo 2^32). So a copy of a whole record inside another
    record, or in a sector that the disk put elsewhere, is never taken for one."""

    def pack(self, parts: Sequence[Part], at: int = 0) -> list[Part]:
        """The bytes of one record, to be written in this order at byte `at`; the parts are not copied.

        Raises:
            ValueError: more parts or bytes than a reader would believe.
        """
        sizes = [len(part) for part in parts]
        total = COUNT.size + LENGTH.size * len(parts) + sum(sizes)
        if not 0 < len(parts) <= self.max_parts or total > self.max_payload_bytes:
            raise ValueError(
                f"no record of {len(parts)} parts and {total} bytes; "
                f"at most {self.max_parts} parts and {self.max_payload_bytes} bytes"
            )
        lengths = struct.pack(f"<H{len(parts)}I", len(parts), *sizes)
        checksum = zlib.crc32(lengths, self._checksum(total, at))
        for part in parts:
            checksum = zlib.crc32(part, checksum)
        return [HEAD.pack(MARK, total, checksum) + lengths, *parts]

    def read(self, file: BinaryIO, upto: int | None = None) -> Iterator[Record | Damage]:
        """Everything in a file, in order: its records, and the stretches between them that are none.

        What is appended while it is read is left out, and what stands behind `upto`. Memory: one record.

        Raises:
            RecordsError: it does not begin with the magic.
            OSError: it cannot be read.
        """
        size = file.seek(0, os.SEEK_END)
        size = size if upto is None else min(size, upto)
        file.seek(0)
        magic = file.read(len(self.magic))
        if not self.magic.startswith(magic):
            raise RecordsError("it does not begin as one")
        if len(magic) == len(self.magic):
            yield from self.scan(file, len(magic), size)
        elif magic:
            yield Damage(0, size)

    def scan(self, file: BinaryIO, start: int, stop: int) -> Iterator[Record | Damage]:
        """As `read`, of the bytes [start, stop); the magic does not matter.

        Raises:
            OSError: it cannot be read.
        """
        at = start
        while at < stop:
            record = self.record_at(file, at, stop)
            if record is None:
                found = self._next_record(file, at + 1, stop)
                yield Damage(at, found)
                at = found
            else:
                yield record
                at = record.stop

    def record_at(self, file: BinaryIO, at: int, size: int) -> Record | None:
        """The record at byte `at`; None where none is, or none that ends within `size`."""
        file.seek(at)
        head = file.read(HEAD.size)
        if len(head) < HEAD.size:
            return None
        mark, length, checksum = HEAD.unpack(head)
        stop = at + HEAD.size + length
        if mark != MARK or length > self.max_payload_bytes or stop > size:
            return None
        payload = file.read(length)
        if len(payload) < length or zlib.crc32(payload, self._checksum(length, at)) != checksum:
            return None
        parts = self._split(memoryview(payload))
        return None if parts is None else Record(at, stop, parts)

    def _checksum(self, length: int, at: int) -> int:
        return zlib.crc32(LENGTH.pack(length), at & 0xFFFFFFFF if self.placed else 0)

    def _split(self, payload: memoryview) -> list[memoryview] | None:
        if len(payload) < COUNT.size:
            return None
        (count,) = COUNT.unpack_from(payload)
        at = COUNT.size + count * LENGTH.size
        if not 0 < count <= self.max_parts or len(payload) < at:
            return None
        parts = []
        for length in struct.unpack_from(f"<{count}I", payload, COUNT.size):
            parts.append(payload[at : at + length])
            at += length
        return parts if at == len(payload) else None

    def _next_record(self, file: BinaryIO, at: int, size: int) -> int:
        """Where the first whole record at or behind `at` begins; `size` where there is none."""
        for _ in range(MAX_FALSE_MARKS):
            at = _find_mark(file, at, size)
            if at == size or self.record_at(file, at, size) is not None:
                return at
            at += 1
        return size


def append(fd: int, buffers: Sequence[Part], end: int) -> int:
    """Write `buffers` at the end of a file, which is at byte `end`, whole or not at all; the new end.

    One system call where the kernel takes it whole: what was written survives the process. `fd` stands at `end`.

    Raises:
        OSError: the disk refused; the file is as it was.
    """
    left = [memoryview(buffer) for buffer in buffers if len(buffer)]
    try:
        while left:
            written = os.writev(fd, left[: os.sysconf("SC_IOV_MAX")])
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if left:
                left[0] = left[0][written:]
    except OSError:
        os.ftruncate(fd, end)
        os.lseek(fd, end, os.SEEK_SET)
        raise
    return end + sum(map(len, buffers))


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
