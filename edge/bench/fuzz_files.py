"""Readers of files that a stranger, a crash or a bad disk may have written: captures, logs of results, geometries."""

import io
import json
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from edge.bench import fuzz_seeds as seeds
from edge.bench.fuzz_documents import Format, Tree
from edge.bench.fuzz_inputs import Parts
from edge.bench.fuzz_target import Taken, Target
from edge.conditioning import geom
from edge.results import log
from edge.results.errors import ResultFileError
from streams.codecs import results
from streams.messages import CodecError, Part
from streams.recording import reader as captures
from streams.recording import records, segments

GEOMETRY = b"""; a detector of two panels
photon_energy = 9000 eV
clen = 0.1
adu_per_eV = 0.0001
res = 13333.3
data = /entry/data
dim0 = %
dim1 = ss
dim2 = fs
mask = /mask
mask_good = 0x0
mask_bad = 0xffff
rigid_group_a = q0,q1
rigid_group_collection_c = a
q0/min_fs = 0
q0/max_fs = 63
q0/min_ss = 0
q0/max_ss = 31
q0/fs = +1.0x +0.001y
q0/ss = -0.001x +1.0y
q0/corner_x = -70.5
q0/corner_y = 10
q1/min_fs = 0
q1/max_fs = 63
q1/min_ss = 32
q1/max_ss = 63
q1/dim0 = 1
q1/fs = -y
q1/ss = +x
q1/corner_x = 3
q1/corner_y = -40.25
q1/mask_edge_pixels = 1
q1/no_index = 0
badbeam/min_x = -5
badbeam/max_x = 5
badbeam/min_y = -5
badbeam/max_y = 5
badcorner/panel = q0
badcorner/min_fs = 0
badcorner/max_fs = 3
badcorner/min_ss = 0
badcorner/max_ss = 3
"""


def targets() -> dict[str, Target]:
    """All of them by name."""
    return {
        "captures": Target(_capture, lambda: _read_capture, _records(segments.FORMAT), (segments.RecordingError,)),
        "result-log": Target(_log, lambda: _read_log, _records(log.FORMAT), (ResultFileError,)),
        "geometry": Target(lambda: [[GEOMETRY]], lambda: _read_geometry, LINES, (geom.GeometryError,)),
    }


def _records(format: records.Format) -> Format:
    """Records as lists of parts: what is changed in them has a good checksum."""

    def loads(file: bytes) -> Tree:
        found = format.read(io.BytesIO(file))
        return [[bytes(part) for part in one.parts] for one in found if isinstance(one, records.Record)]

    def dumps(tree: Tree) -> bytes:
        file = bytearray(format.magic)
        for record in tree:
            for piece in format.pack([_bytes(part) for part in record], len(file)):
                file += piece
        return bytes(file)

    return Format(loads, dumps)


def _bytes(value: Tree) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, default=repr).encode()


def _text_of(tree: Tree) -> bytes:
    return "\n".join(f"{key} = {value}" for key, value in tree.items()).encode("utf-8", "replace")


LINES = Format(lambda file: dict(line.split(" = ", 1) for line in file.decode().splitlines()[1:]), _text_of)
"""`key = value`, a line each."""


def _capture() -> list[Parts]:
    """A segment and its index."""
    facts = json.dumps(
        {"source": "s", "protocol": "simplon-v1", "socket": "pull", "options": {}, "version": 1}
    ).encode()
    held = [(segments.Kind.FACTS, [facts]), *((segments.Kind.MESSAGE, one) for one in seeds.spoken("simplon-v1")[:6])]
    held += [(segments.Kind.MARK, [b'{"closed":"u","open":[]}']), (segments.Kind.MARK, [b'{"lost":3}'])]
    file, index = bytearray(segments.FORMAT.magic), bytearray(segments.INDEX_MAGIC)
    for number, (kind, parts) in enumerate(held):
        at, time_ns = len(file), 10**18 + number
        for piece in segments.pack(kind, parts, time_ns, at):
            file += piece
        index += segments.Entry(at, len(file) - at, time_ns, kind).pack()
    return [[bytes(file), bytes(index)], [bytes(file)]]


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="edge-fuzz-", dir=memory if memory.is_dir() else None)


def _read_capture(parts: Sequence[Part]) -> Taken:
    """All that is done with a capture: it is looked through, its marks are read, and it is replayed."""
    folder = Path(_folder().name)
    for name, part in zip(("000001.cap", "000001.idx"), (*parts, b"", b"")[:2], strict=True):
        (folder / name).write_bytes(part)
    captures.facts_of(folder)
    captures.survey(folder)
    captures.last_checkpoint(folder)
    captures.select(folder, (1, 3))
    size, damaged = 0, False
    for item in captures.read_capture(folder):
        damaged |= isinstance(item, segments.Damage)
        size += sum(map(len, item.parts)) if isinstance(item, segments.Message) else 0
    assert size <= sum(map(len, parts))
    return Taken(0, "damaged" if damaged else "")


def _log() -> list[Parts]:
    file = bytearray(log.MAGIC)
    for parts in ([b'{"source":"s","route":"peaks"}'], *seeds.notices()):
        for piece in log.pack(parts):
            file += piece
    return [[bytes(file)]]


def _read_log(parts: Sequence[Part]) -> Taken:
    reason = ""
    for part in parts:
        for record in log.read(io.BytesIO(part)):
            if isinstance(record, records.Record) and len(record.parts) > 1:  # one part: facts about the log
                try:
                    results.decode(record.parts)
                except CodecError as error:
                    reason = error.reason
    return Taken(0, reason)


def _read_geometry(parts: Sequence[Part]) -> Taken:
    for part in parts:
        geom.parse(str(part, "utf-8", "replace"))
    return Taken()
