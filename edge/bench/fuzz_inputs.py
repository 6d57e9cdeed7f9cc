"""Hostile messages, made from honest ones: every input follows from a seed and its number."""

import random
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from edge.bench.fuzz_documents import Format, Tree, changed

Parts: TypeAlias = Sequence[bytes]
"""One multipart message, or one file."""

MOST_PARTS = 400
MOST_BYTES = 1 << 18
"""Of an input."""

_NUMBERS = (0, 1, 2, 7, 8, 12, 127, 128, 255, 256, 8191, 8192, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40)
_NUMBERS += (2**62, 2**63 - 1, 2**63, 2**64 - 1)
_CODES = (">B", ">H", "<H", ">I", "<I", ">Q", "<Q")
_LAYOUTS = tuple((struct.Struct(code), 256 ** struct.calcsize(code)) for code in _CODES)
_OPENING = (
    b"[",
    b'{"a":',
    b"\x81",
    b"\xa1\x61\x61",
    b"\x9f",
    b"\xbf\x61\x61",
    b"\xc1",
    b"\xd9\xd9\xf7",
    b"\x91",
    b"\xdf",
)
"""What opens a level in JSON, CBOR and msgpack."""
_HUGE = (
    *(b"\x9b" + b"\xff" * 8, b"\x9b\0\0\0\0\x7f\xff\xff\xff", b"\xbb\x7f" + b"\xff" * 7, b"\x5b" + b"\xff" * 8),
    *(b"\x7b\0\0\0" + b"\xff" * 5, b"\x9a" + b"\xff" * 4, b"\xdd" + b"\xff" * 4, b"\xdf\x7f\xff\xff\xff"),
    *(b"\xdb" + b"\xff" * 4, b"\xc6" + b"\xff" * 4, b"\xc9" + b"\xff" * 5),
)
"""Arrays, maps, texts and byte strings of CBOR and msgpack that announce more than anybody has."""


class Corpus(NamedTuple):
    """What inputs are made of."""

    messages: Sequence[Parts]  # honest ones, in their order
    trees: Sequence[Sequence[Tree]]  # the documents in their parts; None: no document
    format: Format | None  # of the documents
    values: Sequence[Tree]  # to be put into documents


def corpus(messages: Sequence[Parts], format: Format | None, values: Sequence[Tree]) -> Corpus:
    """Honest messages with the documents that are in them."""
    return Corpus(messages, [[_tree(part, format) for part in parts] for parts in messages], format, values)


def inputs(seed: int, target: str, batch: int, made_of: Corpus, count: int) -> list[list[bytes]]:
    """The hostile messages of a batch: the same ones for the same arguments."""
    rng = random.Random(f"{seed}/{target}/{batch}")
    return [_input(rng, made_of) for _ in range(count)]


def _input(rng: random.Random, made_of: Corpus) -> list[bytes]:
    number = rng.randrange(len(made_of.messages))
    parts = list(made_of.messages[number])
    if rng.random() < 0.04:
        return parts  # an honest one, so that hostile ones meet a decoder in every state
    trees = made_of.trees[number]
    documents = [at for at, tree in enumerate(trees) if isinstance(tree, dict | list)]
    if documents and rng.random() < 0.5:
        at = rng.choice(documents)
        parts[at] = _rewritten(rng, parts[at], trees[at], made_of)
        if rng.random() < 0.7:
            return _bounded(parts)
    for _ in range(1 + int(rng.expovariate(1.2))):
        if rng.random() < 0.2:
            parts = rng.choice(OF_PARTS)(rng, parts, made_of)
        elif parts:
            at = rng.randrange(len(parts))
            parts[at] = rng.choice(OF_BYTES)(rng, parts[at], made_of)[:MOST_BYTES]
    return _bounded(parts)


def _bounded(parts: list[bytes]) -> list[bytes]:
    left, kept = MOST_BYTES, []
    for part in parts[:MOST_PARTS]:
        kept.append(part[:left])
        left -= len(kept[-1])
    return kept


def _tree(part: bytes, format: Format | None) -> Tree:
    try:
        return format.loads(part) if format else None
    except Exception:  # noqa: BLE001  pixels and texts: any library says in its own way that this is no document
        return None


def _rewritten(rng: random.Random, part: bytes, tree: Tree, made_of: Corpus) -> bytes:
    for _ in range(1 + int(rng.expovariate(1.5))):
        tree = changed(rng, tree, made_of.values)
    try:
        return made_of.format.dumps(tree) if made_of.format else part
    except Exception:  # noqa: BLE001  some values exist in no document of that format
        return flip(rng, part, made_of)


def flip(rng: random.Random, part: bytes, _: Any) -> bytes:
    """One to eight bits."""
    found = bytearray(part)
    for _ in range(rng.choice((1, 1, 2, 8)) if found else 0):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def set_bytes(rng: random.Random, part: bytes, _: Any) -> bytes:
    at = rng.randrange(len(part) + 1)
    return part[:at] + rng.randbytes(rng.choice((1, 2, 4, 16))) + part[at + 1 :]


def truncate(rng: random.Random, part: bytes, _: Any) -> bytes:
    return part[: rng.randrange(len(part) + 1)]


def append(rng: random.Random, part: bytes, _: Any) -> bytes:
    return part + (rng.randbytes(rng.choice((1, 4, 12, 200))) if rng.random() < 0.7 else part)


def splice(rng: random.Random, part: bytes, made_of: Corpus) -> bytes:
    """The beginning of this and the end of another."""
    other = rng.choice(rng.choice(made_of.messages) or [b""])
    return part[: rng.randrange(len(part) + 1)] + other[rng.randrange(len(other) + 1) :]


def lie(rng: random.Random, part: bytes, _: Any) -> bytes:
    """Another number where a length, a size or a count may be: mostly near the beginning."""
    layout, modulus = rng.choice(_LAYOUTS)
    reach = len(part) - layout.size
    if reach < 0:
        return part
    at = rng.randrange(min(reach, 16) + 1) if rng.random() < 0.6 else rng.randrange(reach + 1)
    number = rng.choice(_NUMBERS) + rng.choice((0, 0, 0, -1, 1))
    return part[:at] + layout.pack(number % modulus) + part[at + layout.size :]


def repeat(rng: random.Random, part: bytes, _: Any) -> bytes:
    """A stretch, many times."""
    at = rng.randrange(len(part) + 1)
    end = at + rng.choice((1, 2, 5, 30))
    return part[:end] + part[at:end] * rng.choice((1, 3, 50, 1000)) + part[end:]


def cut_out(rng: random.Random, part: bytes, _: Any) -> bytes:
    at = rng.randrange(len(part) + 1)
    return part[:at] + part[at + rng.choice((1, 1, 4, 12, 100)) :]


def nest(rng: random.Random, part: bytes, _: Any) -> bytes:
    """Levels in levels: before all, or inside."""
    at = rng.choice((0, rng.randrange(len(part) + 1)))
    levels = 20_000 if rng.random() < 0.004 else rng.choice((3, 33, 100, 600, 1100))
    return part[:at] + rng.choice(_OPENING) * levels + part[at:]


def announce(rng: random.Random, part: bytes, _: Any) -> bytes:
    """A container or a string that is larger than the message."""
    at = rng.choice((0, rng.randrange(len(part) + 1)))
    return part[:at] + rng.choice(_HUGE) + part[at:]


def noise(rng: random.Random, part: bytes, _: Any) -> bytes:
    """Nothing of it is left; one in thousands is large."""
    if rng.random() < 0.002:
        return rng.choice((b" ", b"[", b"0", b'"a')) * (MOST_BYTES // 2)
    return rng.randbytes(rng.choice((0, 1, 4, 40, 300)))


def drop(rng: random.Random, parts: list[bytes], _: Any) -> list[bytes]:
    at = rng.randrange(len(parts) + 1)
    return parts[:at] + parts[at + 1 :]


def double(rng: random.Random, parts: list[bytes], _: Any) -> list[bytes]:
    at = rng.randrange(len(parts) + 1)
    return parts[:at] + parts[at : at + 1] * rng.choice((2, 2, 3, 150)) + parts[at + 1 :]


def shuffle(rng: random.Random, parts: list[bytes], _: Any) -> list[bytes]:
    return rng.sample(parts, len(parts))


def foreign(rng: random.Random, parts: list[bytes], made_of: Corpus) -> list[bytes]:
    """A part of another message in the place of one."""
    other = list(rng.choice(made_of.messages))
    at = rng.randrange(len(parts) + 1)
    return parts[:at] + rng.sample(other, min(1, len(other))) + parts[at + 1 :]


def join(rng: random.Random, parts: list[bytes], made_of: Corpus) -> list[bytes]:
    """Two messages in one."""
    return parts + list(rng.choice(made_of.messages))


def empty(rng: random.Random, parts: list[bytes], _: Any) -> list[bytes]:
    return [b"" if rng.random() < 0.4 else part for part in parts]


Change: TypeAlias = Callable[[random.Random, bytes, Corpus], bytes]
OF_BYTES: tuple[Change, ...] = (
    flip,
    flip,
    set_bytes,
    truncate,
    append,
    splice,
    lie,
    lie,
    lie,
    repeat,
    cut_out,
    nest,
    announce,
    noise,
)
OF_PARTS = (drop, double, shuffle, foreign, join, empty)
