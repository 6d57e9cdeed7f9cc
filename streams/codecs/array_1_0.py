"""PSI's array-1.0 as areaDetector's ZeroMQ plugin speaks it: a JSON header and an array, one image a message.

Specification: paulscherrerinstitute/htypes, array-1.0.md; the plugin is ADZMQ, NDPluginZMQ.cpp. There is no series, no
start and no end: images count from the start of the detector's driver, or from the last reset of its counter.

What the plugin does beyond the text:
  * before 1.4.0 `htype` was a list, and `shape` in the order x, y, z;
  * `ndattr` is written without escaping: quotes, control characters, nothing at all after a comma, `nan` and
    `Undefined` come raw. Such headers are read in pieces (`streams.codecs.lenient`), what cannot be told is left out;
  * `timeStamp` counts seconds from 1990 (EPICS);
  * "bslz4" has no header of 12 bytes, and a compressed image is sent with as many bytes as it has uncompressed, of
    which only the first mean something;
  * four bytes "STOP" are its own sign to end a receiver.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from streams.codecs.compression import HEADER
from streams.codecs.lenient import lenient_object
from streams.codecs.limits import (
    MAX_ID,
    MAX_JSON_BYTES,
    check_parts,
    check_raw,
    image_bytes,
    plain_name,
    wire_dtype,
)
from streams.codecs.lz4_blocks import lz4_block_length
from streams.codecs.opening import SeriesOpener
from streams.codecs.options import NoOptions, read_options
from streams.codecs.sending import with_position
from streams.messages import DEFAULT_CHANNEL, CodecError, Compression, Frame, Message, Part

EPICS_EPOCH_S = 631_152_000
"""1990-01-01 in seconds since 1970."""

STOP = b"STOP"

_ENCODINGS = {
    "": Compression.NONE,
    "none": Compression.NONE,
    "lz4": Compression.LZ4_BLOCK,
    "lz4hdf5": Compression.LZ4_HDF5,
    "bslz4": Compression.BSLZ4_BARE,
}
"""Codecs of areaDetector (ADCore, Codec.h); "jpeg" and "blosc" are for viewers and files."""


class _Header(msgspec.Struct, gc=False):
    htype: str | list[str]
    shape: list[int]
    type: str
    frame: int
    encoding: str = ""
    endianness: str | None = None
    endianess: str | None = None  # as the specification's example spells it
    time_stamp: float | None = msgspec.field(name="timeStamp", default=None)
    ndattr: dict[str, Any] = {}


class ArrayDecoder:
    """Bytes to messages for one source.

    Raises:
        OptionError: it has no options.
    """

    def __init__(self, source: str, **options: Any) -> None:
        read_options(NoOptions, options)
        self._source = source
        self._opener = SeriesOpener(source)

    def decode(self, parts: Sequence[Part], received_ns: int) -> list[Message]:
        """Translate one image; `received_ns` is the wall clock, which names series.

        Raises:
            CodecError: the message is not what the protocol allows.
        """
        check_parts(parts)
        if len(parts) == 1 and parts[0] == STOP:
            return []
        if len(parts) != 2:
            raise CodecError("malformed", f"an array-1.0 message has two parts, not {len(parts)}")
        header = _read(parts[0])
        shape, dtype = _claim(header)
        compression, blob = _blob(header.encoding, parts[1], image_bytes(shape, dtype))
        if not 0 <= header.frame <= MAX_ID:
            raise CodecError("malformed", "frame is no number of an image")
        seconds = math.nan if header.time_stamp is None else header.time_stamp
        taken_s = seconds + EPICS_EPOCH_S if math.isfinite(seconds) else None
        entered = self._opener.enter(
            header.frame, taken_s, received_ns, channels=(DEFAULT_CHANNEL,), shape=shape, dtype=plain_name(dtype)
        )
        frame = Frame(
            self._source,
            entered.uid,
            entered.series_id,
            header.frame,
            DEFAULT_CHANNEL,
            shape,
            dtype,
            compression,
            blob,
            with_position({"timestamp": taken_s, "ndattr": header.ndattr}, header.ndattr),
        )
        return [*entered.start, frame]

    def closed(self, series_uid: str) -> None:
        """The ledger closed this series; what comes next begins another."""
        self._opener.closed(series_uid)


def _read(part: Part) -> _Header:
    if len(part) > MAX_JSON_BYTES:
        raise CodecError("too_large", f"a header of {len(part)} bytes")
    try:
        return msgspec.json.decode(part, type=_Header)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # the plugin's defects: in pieces, then
    try:
        return msgspec.convert(lenient_object(part, "ndattr"), _Header)
    except (msgspec.ValidationError, UnicodeError) as error:  # a lone surrogate is no text
        raise CodecError("malformed", f"header: {error}") from None


def _claim(header: _Header) -> tuple[tuple[int, int], str]:
    """Shape (height, width) and pixel type that the header tells."""
    old = isinstance(header.htype, list)
    htype = header.htype[0] if isinstance(header.htype, list) and header.htype else header.htype
    if htype != "array-1.0":
        raise CodecError("unsupported", f"a message of type {str(htype)[:40]}")
    order = header.endianness or header.endianess or "little"
    if order not in ("little", "big"):
        raise CodecError("malformed", f"endianness {order[:40]!r}")
    shape = header.shape[::-1] if old else header.shape
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 2:
        raise CodecError("unsupported", f"an image of {len(shape)} dimensions")
    return (shape[0], shape[1]), wire_dtype(header.type, ">" if order == "big" else "<")


def _blob(encoding: str, part: Part, size: int) -> tuple[Compression, Part]:
    """How the image of `size` bytes is encoded, and its bytes."""
    compression = _ENCODINGS.get(encoding)
    if compression is None:
        raise CodecError("unsupported", f"compression {encoding[:40]}")
    blob = memoryview(part).cast("B")
    if compression is Compression.NONE:
        check_raw(len(blob), size)
    elif compression is Compression.LZ4_BLOCK and len(blob) == size:  # the bytes behind the block mean nothing
        blob = blob[: lz4_block_length(blob, size)]
    elif compression is Compression.BSLZ4_BARE and len(blob) >= HEADER.size and HEADER.unpack_from(blob)[0] == size:
        compression = Compression.BSLZ4  # not from areaDetector: the length of a first block is never zero
    return compression, blob
