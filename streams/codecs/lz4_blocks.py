"""Where compressed bytes end, for senders that do not say: a raw LZ4 block, and bitshuffled ones in a row."""

import struct

_LENGTH = struct.Struct(">I")


def shuffled_length(blob: memoryview, total: int, block: int, itemsize: int) -> int:
    """Bytes of the HDF5 filter 32008 framing without its header that hold `total` bytes; all where they hold other.

    After full blocks of `block` bytes comes one of as many times eight elements as are left, then the other elements
    as they are (kiyo-masui/bitshuffle, bshuf_h5filter.c).
    """
    unit = 8 * itemsize
    tail = total % unit
    at = 0
    for _ in range(-(-(total - tail) // block)):
        if at + _LENGTH.size > len(blob):
            return len(blob)
        at += _LENGTH.size + _LENGTH.unpack_from(blob, at)[0]
    return min(at + tail, len(blob))


def lz4_block_length(blob: memoryview, total: int) -> int:
    """Bytes of the raw LZ4 block at the start of `blob` that holds `total` bytes; all of them where it holds other.

    Walks the sequences of the block (lz4/lz4, doc/lz4_Block_format.md), which takes some 40 ms for a megabyte.
    """
    at = held = 0
    try:
        while True:
            token, at = blob[at], at + 1
            literals, at = _lz4_length(blob, at, token >> 4)
            at, held = at + literals, held + literals
            if held >= total:
                return at if held == total and at <= len(blob) else len(blob)
            match, at = _lz4_length(blob, at + 2, token & 15)
            held += match + 4
    except IndexError:
        return len(blob)


def _lz4_length(blob: memoryview, at: int, length: int) -> tuple[int, int]:
    if length == 15:
        more = 255
        while more == 255:
            more, at = blob[at], at + 1
            length += more
    return length, at
