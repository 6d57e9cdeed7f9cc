"""DECTRIS SIMPLON stream V1 ("legacy"): JSON headers and binary parts in one multipart message.

Specification: SIMPLON API 1.8, 5.4.3. A message is known by the `htype` of its first part:
    dheader-1.0      [configuration] [array header, array]... [header_appendix]   the detector was armed
    dimage-1.0       dimage_d-1.0, pixels, dconfig-1.0 [, image_appendix]         one exposure
    dseries_end-1.0  disarmed, cancelled or aborted

What real detectors and their simulators do beyond the text:
  * `shape` is [width, height];
  * booleans of the configuration are 0 and 1 in older firmware, true and false in newer;
  * the configuration, and arrays after it, may come as messages of their own;
  * header_detail "none" sends no configuration, so nothing but the series number is known;
  * replayed captures carry stale hashes, so `hash` is not looked at.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from streams.codecs.limits import ITEMSIZES, MAX_ID, MAX_JSON_BYTES, SeriesNames, check_raw, image_bytes
from streams.messages import (
    DEFAULT_CHANNEL,
    CodecError,
    Compression,
    Frame,
    Message,
    Part,
    SeriesEnd,
    SeriesStart,
)

_Struct = TypeVar("_Struct", bound=msgspec.Struct)

_ARRAYS = ("dflatfield-1.0", "dpixelmask-1.0", "dcountrate_table-1.0")
_TYPES = {"uint8": "u1", "uint16": "u2", "uint32": "u4"}
_SCHEMES = {"": (Compression.NONE, 0), "lz4": (Compression.LZ4_BLOCK, 0), "-lz4": (Compression.LZ4_BLOCK, 0)}
_SCHEMES |= {f"bs{bits}{dash}lz4": (Compression.BSLZ4, bits // 8) for bits in (8, 16, 32) for dash in ("", "-")}
_ENCODINGS = {
    name + end: (compression, element_size, end or "<")
    for name, (compression, element_size) in _SCHEMES.items()
    for end in ("<", ">", "")
    if name or end
}
"""The grammar [bs<BIT>][[-]lz4][<|>], spelled out: compression, bytes of a shuffled element (0: none), byte order."""


class _Head(msgspec.Struct, gc=False):
    """Any JSON part that has an `htype`; the configuration has none."""

    htype: str = ""
    series: int = -1
    frame: int = -1
    header_detail: str = ""


class _ImageHead(msgspec.Struct, gc=False):
    htype: str
    shape: tuple[int, ...]  # (width, height)
    type: str
    encoding: str
    size: int | None = None


class _Config(msgspec.Struct, gc=False):
    """What we read of the detector's configuration; the rest travels as it is."""

    data_collection_date: str | None = None
    nimages: int | None = None
    ntrigger: int | None = None
    trigger_mode: str | None = None
    x_pixels_in_detector: int | None = None
    y_pixels_in_detector: int | None = None
    bit_depth_image: int | None = None


class SimplonV1Decoder:
    """Bytes to messages for one source. Remembers the names of the few series of late."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._names = SeriesNames()
        self._announced: int | None = None  # a series whose configuration has not come yet
        self._skip_next = False  # the next message is the array that the last one announced

    def decode(self, parts: Sequence[Part], received_ns: int) -> list[Message]:
        """Translate one multipart message; `received_ns` is the wall clock, used to name nameless series.

        Raises:
            CodecError: the message is not what the protocol allows.
        """
        if not parts:
            raise CodecError("truncated", "a message without parts")
        if self._skip_next:
            self._skip_next = False
            if len(parts) == 1 and not _htype(parts[0]):
                return []
        head = _json(parts[0], _Head)
        if head.htype == "dimage-1.0":
            frame = self._image(head, parts, received_ns)
            return [frame] if self._announced is None else [*self._flush(head.series), frame]
        if head.htype == "dheader-1.0":
            return self._header(head, parts, received_ns)
        if head.htype == "dseries_end-1.0":
            return [*self._flush(head.series), self._end(head)]
        if head.htype in _ARRAYS:
            self._skip_next = len(parts) == 1
            return []
        if head.htype:
            raise CodecError("unsupported", f"a message of type {head.htype[:40]}")
        return [self._late_configuration(parts, received_ns)]

    def closed(self, series_uid: str) -> None:
        """Nothing to forget: the detector numbers its series."""

    def _header(self, head: _Head, parts: Sequence[Part], received_ns: int) -> list[Message]:
        series_id = _identity(head.series, "series")
        if head.header_detail == "none":
            config, rest = None, parts[1:]
        elif len(parts) == 1:
            abandoned = self._flush(self._announced)
            self._names.begin(series_id, None, received_ns)  # for images, should they come first
            self._announced = series_id
            return abandoned
        else:
            config, rest = parts[1], parts[2:]
        start = self._start(series_id, config, rest, received_ns)
        if self._announced == series_id:  # announced anew
            self._announced = None
        return [*self._flush(self._announced), start]

    def _late_configuration(self, parts: Sequence[Part], received_ns: int) -> SeriesStart:
        """The configuration came as a message of its own."""
        if self._announced is None:
            raise CodecError("malformed", "a message without htype where no configuration was awaited")
        start = self._start(self._announced, parts[0], parts[1:], received_ns)
        self._announced = None
        return start

    def _flush(self, series_id: int | None) -> list[Message]:
        """Open a series whose configuration never came: its images are as good as any."""
        if series_id is None or series_id != self._announced:
            return []
        self._announced = None
        uid = self._names.known(series_id)
        if uid is None:
            return []
        return [self._opened(series_id, uid, _Config(), {}, None)]

    def _start(self, series_id: int, config: Part | None, rest: Sequence[Part], received_ns: int) -> SeriesStart:
        known, header = (_Config(), {}) if config is None else (_json(config, _Config), _json_object(config))
        user_data = _appendix_after_arrays(rest)
        uid = self._names.begin(series_id, known.data_collection_date, received_ns)
        return self._opened(series_id, uid, known, header, user_data)

    def _opened(self, series_id: int, uid: str, known: _Config, header: dict[str, Any], user_data: Any) -> SeriesStart:
        width, height = known.x_pixels_in_detector or 0, known.y_pixels_in_detector or 0
        dtype = f"uint{known.bit_depth_image}"
        return SeriesStart(
            source=self._source,
            series_uid=uid,
            series_id=series_id,
            expected=_expected(known),
            channels=(DEFAULT_CHANNEL,),
            shape=(height, width) if width > 0 and height > 0 else None,
            dtype=dtype if dtype in _TYPES else None,
            header=header,
            user_data=user_data,
        )

    def _image(self, head: _Head, parts: Sequence[Part], received_ns: int) -> Frame:
        if len(parts) < 3:
            raise CodecError("truncated", f"an image message of {len(parts)} parts")
        series_id, image_id = _identity(head.series, "series"), _identity(head.frame, "frame")
        image = _json(parts[1], _ImageHead)
        blob = parts[2]
        shape, dtype, compression = _image_claim(image, len(blob))
        return Frame(
            self._source,
            self._names.of_image(series_id, received_ns),
            series_id,
            image_id,
            DEFAULT_CHANNEL,
            shape,
            dtype,
            compression,
            blob,
            _appendix(parts[4]) if len(parts) > 4 else None,
        )

    def _end(self, head: _Head) -> SeriesEnd:
        series_id = _identity(head.series, "series")
        uid = self._names.known(series_id)
        if uid is None:
            raise CodecError("unknown_series", f"the end of series {series_id}, which was never heard of")
        return SeriesEnd(self._source, uid, series_id)


def _json(part: Part, kind: type[_Struct]) -> _Struct:
    if len(part) > MAX_JSON_BYTES:
        raise CodecError("too_large", f"a JSON part of {len(part)} bytes")
    try:
        return msgspec.json.decode(part, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError("malformed", f"{kind.__name__.strip('_')}: {error}") from None


def _json_object(part: Part) -> dict[str, Any]:
    """Any JSON object, its size checked before."""
    try:
        return msgspec.json.decode(part, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError("malformed", f"configuration: {error}") from None


def _identity(value: int, name: str) -> int:
    if not 0 <= value <= MAX_ID:
        raise CodecError("malformed", f"{name} is missing or no number of a {name}")
    return value


def _expected(config: _Config) -> int | None:
    """Images that the arm command asked for: external enabling makes one image a trigger."""
    nimages, ntrigger = config.nimages, config.ntrigger
    if config.trigger_mode in ("exte", "inte"):
        count = ntrigger
    else:
        count = None if nimages is None or ntrigger is None else nimages * ntrigger
    return count if count is not None and 0 <= count <= MAX_ID else None


def _image_claim(image: _ImageHead, found: int) -> tuple[tuple[int, int], str, Compression]:
    """Check what the header says of a blob of `found` bytes: shape (height, width), type, compression."""
    if image.htype != "dimage_d-1.0":
        raise CodecError("malformed", f"{image.htype[:40]} where dimage_d-1.0 belongs")
    encoding = _ENCODINGS.get(image.encoding)
    kind = _TYPES.get(image.type)
    if encoding is None or kind is None:
        raise CodecError("unsupported", f"encoding {image.encoding[:40]!r} of pixels {image.type[:40]!r}")
    if len(image.shape) == 3 and image.shape[2] == 1:
        width, height, _ = image.shape
    elif len(image.shape) == 2:
        width, height = image.shape
    else:
        raise CodecError("unsupported", f"an image of {len(image.shape)} dimensions")
    compression, element_size, order = encoding
    dtype = "|u1" if kind == "u1" else order + kind
    size = image_bytes((height, width), dtype)
    if element_size and element_size != ITEMSIZES[dtype]:  # every pixel would come out wrong
        raise CodecError("unsupported", f"encoding {image.encoding} for pixels {image.type}")
    if image.size is not None and image.size != found:
        reason = "truncated" if found < image.size else "malformed"
        raise CodecError(reason, f"an image part of {found} bytes where the header says {image.size}")
    if compression is Compression.NONE:
        check_raw(found, size)
    return (height, width), dtype, compression


def _appendix_after_arrays(parts: Sequence[Part]) -> Any:
    """The header appendix: the part that is neither an array header nor the array that follows one."""
    at = 0
    while at < len(parts) and _htype(parts[at]) in _ARRAYS:
        at += 2
    return _appendix(parts[at]) if at < len(parts) else None


def _htype(part: Part) -> str:
    """The `htype` of a part that may be anything, empty where it has none."""
    try:
        return msgspec.json.decode(part, type=_Head).htype
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def _appendix(part: Part) -> Any:
    """What the user attached: often JSON, but any text is allowed.

    Raises:
        CodecError: it is too large.
    """
    if len(part) > MAX_JSON_BYTES:
        raise CodecError("too_large", f"an appendix of {len(part)} bytes")
    try:
        return msgspec.json.decode(part)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return str(part, "utf-8", "replace")
