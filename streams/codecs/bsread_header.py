"""The headers of bsread messages: bsr_m-1.1 and bsr_d-1.1."""

import hashlib
import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from streams.codecs.compression import HEADER, unpacked
from streams.codecs.limits import ITEMSIZES, MAX_ID, MAX_JSON_BYTES, MAX_NAME_CHARS, wire_dtype
from streams.messages import CodecError, Compression, Part

MAX_CHANNELS = 2000
"""Channels of a message: two parts each."""

COMPRESSIONS = {"none": Compression.NONE, "lz4": Compression.LZ4_BLOCK, "bitshuffle_lz4": Compression.BSLZ4}

_NUMBERS = {"bool": "|b1"} | {
    f"{word}{8 * size}": f"{kind}{size}"
    for word, kind in (("uint", "u"), ("int", "i"), ("float", "f"))
    for size in (1, 2, 4, 8)
    if (word, size) != ("float", 1)
}


class Main(msgspec.Struct, frozen=True):
    """What we read of the main header."""

    pulse_id: int
    hash: str | None
    dh_compression: str
    taken_s: float | None


class Channel(msgspec.Struct, frozen=True):
    """One channel of the data header."""

    name: str
    type: str
    axes: tuple[int, ...]  # slowest first, as NumPy has them
    dtype: str  # as NumPy writes it, with byte order; empty for texts
    compression: str  # "none", "lz4", "bitshuffle_lz4"
    modulo: int
    offset: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of an image."""
        height, width = self.axes
        return height, width

    @property
    def is_scalar(self) -> bool:
        return all(length == 1 for length in self.axes)

    @property
    def is_image(self) -> bool:
        """Two axes of integers that images can have."""
        return len(self.axes) == 2 and self.dtype in ITEMSIZES and not self.is_scalar


class _Timestamp(msgspec.Struct):
    sec: int | None = None
    epoch: int | None = None  # older senders
    ns: int = 0


class _Main(msgspec.Struct):
    htype: str
    pulse_id: int
    hash: str | None = None
    dh_compression: str | None = None
    global_timestamp: _Timestamp | None = None


class _Channel(msgspec.Struct):
    name: str
    type: str | None = None
    shape: list[int] | None = None
    encoding: str | None = None
    compression: str | None = None
    modulo: int | None = None
    offset: int | None = None


class _Data(msgspec.Struct):
    htype: str
    channels: list[_Channel]


def main_header(part: Part) -> Main:
    """Read the first part of a message.

    Raises:
        CodecError: it is none.
    """
    found = _json(part, _Main)
    if not found.htype.startswith("bsr_m-1."):
        raise CodecError("unsupported", f"a message of type {found.htype[:40]}")
    if not 0 <= found.pulse_id <= MAX_ID:
        raise CodecError("malformed", "pulse_id is no number of a pulse")
    stamp = found.global_timestamp
    seconds = None if stamp is None else stamp.sec if stamp.sec is not None else stamp.epoch
    if seconds is not None and stamp is not None and max(abs(seconds), abs(stamp.ns)) > MAX_ID:
        raise CodecError("malformed", "global_timestamp is no time")
    taken_s = None if stamp is None or seconds is None else seconds + stamp.ns / 1e9
    return Main(found.pulse_id, found.hash, found.dh_compression or "none", taken_s)


def read_channels(part: Part, compression: str, digest: str | None = None) -> tuple[Channel, ...]:
    """Read the data header, which `compression` may have packed.

    Args:
        digest: its MD5 as the main header has it; None: not to be looked at.

    Raises:
        CodecError: it is none, it is not that of its digest, or beyond the limits.
    """
    plain = unpack(part, compression, 1, MAX_JSON_BYTES)
    if digest is not None and digest.lower() not in (_md5(part), _md5(plain)):
        raise CodecError(
            "corrupt",
            "a data header is not that of its hash; set the option verify_hash = false if the sender's is no MD5",
        )
    found = _json(plain, _Data)
    if not found.htype.startswith("bsr_d-1."):
        raise CodecError("unsupported", f"a data header of type {found.htype[:40]}")
    if len(found.channels) > MAX_CHANNELS:
        raise CodecError("too_large", f"{len(found.channels)} channels")
    return tuple(_channel(each) for each in found.channels)


def image_channels(channels: Sequence[Channel], wanted: Sequence[str]) -> tuple[Channel, ...]:
    """The channels that are images: those `wanted`, or all that can be.

    Raises:
        CodecError: there are none, or they have no ids in common.
    """
    found = tuple(each for each in channels if each.is_image and (not wanted or each.name in wanted))
    missing = set(wanted) - {each.name for each in found}
    if missing:
        raise CodecError("unsupported", f"channel {sorted(missing)[0][:40]!r} of the option channels is no image")
    if not found:
        raise CodecError("unsupported", "no channel is an image: two axes of integers with up to 32 bits")
    if len({(each.modulo, each.offset) for each in found}) > 1:
        raise CodecError(
            "unsupported",
            "image channels of different modulo or offset have no ids in common; name those of one in the option "
            "channels",
        )
    return found


def _channel(found: _Channel) -> Channel:
    name, kind = found.name, found.type or "float64"
    if not 0 < len(name) <= MAX_NAME_CHARS:
        raise CodecError("malformed", "a channel with a name that is empty or too long")
    axes = tuple(reversed(found.shape if found.shape is not None else [1]))
    if len(axes) > 8 or not all(0 <= length <= 2**31 for length in axes):
        raise CodecError("malformed", f"channel {name[:64]!r} of an impossible shape")
    order = ">" if found.encoding == "big" else "<"
    number = _NUMBERS.get(kind)
    if number is None and kind != "string":
        raise CodecError("unsupported", f"channel {name[:64]!r} of type {kind[:40]!r}")
    dtype = "" if number is None else number if number[0] == "|" else f"{order}{number}"
    if kind in ("uint8", "int8"):
        dtype = wire_dtype(kind)
    modulo, offset = found.modulo or 1, found.offset or 0
    if not 1 <= modulo <= MAX_ID or abs(offset) > MAX_ID:
        raise CodecError("malformed", f"channel {name[:64]!r} of modulo {modulo}")
    return Channel(name, kind, axes, dtype, (found.compression or "none").lower(), modulo, offset)


def unpack(part: Part, compression: str, itemsize: int, limit: int) -> Part:
    """The bytes of something small: a header, a number, a text. Images are for `streams.codecs.compression`.

    Raises:
        CodecError: it does not hold what it says, or more than `limit` bytes.
    """
    if compression == "none":
        return part
    kind = COMPRESSIONS.get(compression)
    if kind is None:
        raise CodecError("unsupported", f"compression {compression[:40]!r}")
    blob = memoryview(part).cast("B")
    if len(blob) < (4 if kind is Compression.LZ4_BLOCK else HEADER.size):
        raise CodecError("truncated", f"{len(blob)} bytes of {compression}")
    if kind is Compression.LZ4_BLOCK:
        # senders write the size little-endian, readers take it in the channel's byte order
        size = min(struct.unpack_from(order, blob)[0] for order in ("<I", ">I"))
        blob = blob[4:]
    else:
        size = HEADER.unpack_from(blob)[0]
    if size > limit:
        raise CodecError("too_large", f"{size} bytes in {compression}, the limit is {limit}")
    return unpacked(blob, kind, size, itemsize)


def _md5(part: Part) -> str:
    return hashlib.md5(part, usedforsecurity=False).hexdigest()


def _json(part: Part, kind: type[Any]) -> Any:
    if len(part) > MAX_JSON_BYTES:
        raise CodecError("too_large", f"a JSON part of {len(part)} bytes")
    try:
        return msgspec.json.decode(part, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError("malformed", f"{kind.__name__.strip('_')} header: {error}") from None
