"""DECTRIS Stream V2: one CBOR document a message, all channels of an exposure together.

Specification: dectris/documentation, stream_v2/README.md and cbor/dectris-compression-tag.md; RFC 8746 for the
arrays. An image is
    40([[height, width], 69(56500(["bslz4", 2, h'...']))])
that is: a row-major array, of little-endian uint16, of the bytes that a compressed byte string stands for.

Taken though the specification does not have it: messages without the self-described tag 55799, tags on plain values,
column-major arrays, series without a unique id.
"""

from collections.abc import Sequence
from typing import Any

from streams.codecs import cbor
from streams.codecs.limits import ITEMSIZES, MAX_ID, MAX_NAME_CHARS, SeriesNames, check_raw, image_bytes
from streams.messages import (
    CodecError,
    Compression,
    Frame,
    Message,
    Part,
    SeriesEnd,
    SeriesStart,
)

MAX_CHANNELS = 64

_TYPES = {
    64: "|u1", 65: ">u2", 66: ">u4", 68: "|u1", 69: "<u2", 70: "<u4",
    72: "|i1", 73: ">i2", 74: ">i4", 77: "<i2", 78: "<i4",
}  # fmt: skip
"""RFC 8746, 2.1: the typed arrays that are images. The 64-bit and floating ones are no counts."""

_ALGORITHMS = {"bslz4": Compression.BSLZ4, "lz4": Compression.LZ4_HDF5, "bszstd": Compression.BSZSTD}
_IMAGE_DTYPES = ("uint8", "uint16", "uint32")


class StreamV2Decoder:
    """Bytes to messages for one source."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._names = SeriesNames()

    def decode(self, parts: Sequence[Part], received_ns: int) -> list[Message]:
        """Translate one message; `received_ns` is the wall clock, used to name nameless series.

        Raises:
            CodecError: the message is not what the protocol allows.
        """
        if len(parts) != 1:
            raise CodecError("malformed", f"a Stream V2 message has one part, not {len(parts)}")
        document = _untagged(cbor.loads(parts[0]))
        if not isinstance(document, dict):
            raise CodecError("malformed", "the CBOR document is no map")
        kind = _untagged(document.get("type"))
        if kind == "image":
            return self._image(document, received_ns)
        if kind == "start":
            return [self._start(document, received_ns)]
        if kind == "end":
            return [self._end(document)]
        raise CodecError("unsupported", f"a message of type {str(kind)[:40]}")

    def closed(self, series_uid: str) -> None:
        """Nothing to forget: the detector names its series."""

    def _start(self, document: dict[Any, Any], received_ns: int) -> SeriesStart:
        series_id = _count(document, "series_id")
        date = _untagged(document.get("arm_date"))
        width, height = (_optional_count(document, key) for key in ("image_size_x", "image_size_y"))
        header = cbor.plain(document)
        user_data = header.pop("user_data", None)
        uid = _unique_id(document) or self._names.begin(series_id, date if isinstance(date, str) else None, received_ns)
        return SeriesStart(
            source=self._source,
            series_uid=uid,
            series_id=series_id,
            expected=_optional_count(document, "number_of_images"),
            channels=_channels(document),
            shape=(height, width) if height and width else None,
            dtype=_image_dtype(document),
            header=header,
            user_data=user_data,
        )

    def _image(self, document: dict[Any, Any], received_ns: int) -> list[Message]:
        series_id, image_id = _count(document, "series_id"), _count(document, "image_id")
        uid = _unique_id(document) or self._names.of_image(series_id, received_ns)
        data = _untagged(document.get("data"))
        if not isinstance(data, dict) or len(data) > MAX_CHANNELS:
            raise CodecError("malformed", "the image message has no map of channels")
        user_data = cbor.plain(document.get("user_data"))
        frames: list[Message] = []
        for channel, array in data.items():
            shape, strides, dtype, compression, blob = _array(array)
            frames.append(
                Frame(
                    self._source,
                    uid,
                    series_id,
                    image_id,
                    _name(channel),
                    shape,
                    dtype,
                    compression,
                    blob,
                    user_data,
                    strides,
                )
            )
        return frames

    def _end(self, document: dict[Any, Any]) -> SeriesEnd:
        series_id = _count(document, "series_id")
        uid = _unique_id(document) or self._names.known(series_id)
        if uid is None:
            raise CodecError("unknown_series", f"the end of series {series_id}, which was never heard of")
        return SeriesEnd(self._source, uid, series_id)


def _untagged(value: Any) -> Any:
    """The value inside any tags: the self-described one, dates, and whatever a later version adds."""
    while isinstance(value, cbor.Tag):
        value = value.value
    return value


def _optional_count(document: dict[Any, Any], key: str) -> int | None:
    value = _untagged(document.get(key))
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= MAX_ID:
        raise CodecError("malformed", f"{key} is no count")
    return value


def _count(document: dict[Any, Any], key: str) -> int:
    value = document.get(key)
    if type(value) is int and 0 <= value <= MAX_ID:  # the way of every frame; the rest is for oddities
        return value
    value = _optional_count(document, key)
    if value is None:
        raise CodecError("malformed", f"{key} is missing")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_CHARS:
        raise CodecError("malformed", "a name that is empty, too long or no text")
    return value


def _unique_id(document: dict[Any, Any]) -> str | None:
    value = _untagged(document.get("series_unique_id"))
    return _name(value) if value else None


def _channels(document: dict[Any, Any]) -> tuple[str, ...]:
    channels = _untagged(document.get("channels")) or []  # not told: those that come
    if not isinstance(channels, list) or len(channels) > MAX_CHANNELS:
        raise CodecError("malformed", "channels is no list of names")
    return tuple(_name(_untagged(channel)) for channel in channels)


def _image_dtype(document: dict[Any, Any]) -> str | None:
    value = _untagged(document.get("image_dtype"))
    return value if isinstance(value, str) and value in _IMAGE_DTYPES else None


def _array(value: Any) -> tuple[tuple[int, int], tuple[int, int] | None, str, Compression, memoryview]:
    """Take an image apart: shape (height, width), strides where it is column-major, type, compression, bytes."""
    if not isinstance(value, cbor.Tag) or value.number not in (cbor.TAG_ROW_MAJOR, cbor.TAG_COLUMN_MAJOR):
        raise CodecError("malformed", "channel data is no multi-dimensional array")
    match value.value:
        case [[int(height), int(width)], cbor.Tag(number=number, value=content)]:
            pass
        case [[*sides], cbor.Tag()] if len(sides) != 2:
            raise CodecError("unsupported", f"an image of {len(sides)} dimensions")
        case _:
            raise CodecError("malformed", "an array that is not [[height, width], typed array]")
    dtype = _TYPES.get(number)
    if dtype is None:
        raise CodecError("unsupported", f"pixels of the array type with CBOR tag {number}")
    size = image_bytes((height, width), dtype)
    compression, blob = _bytes(content, ITEMSIZES[dtype])
    if compression is Compression.NONE:
        check_raw(len(blob), size)
    strides = None
    if value.number == cbor.TAG_COLUMN_MAJOR:
        strides = (ITEMSIZES[dtype], height * ITEMSIZES[dtype])
    return (height, width), strides, dtype, compression, blob


def _bytes(content: Any, itemsize: int) -> tuple[Compression, memoryview]:
    match content:
        case memoryview():
            return Compression.NONE, content
        case cbor.Tag(number=cbor.TAG_COMPRESSED, value=[str(name), element_size, memoryview() as blob]):
            pass
        case _:
            raise CodecError("malformed", "a typed array that holds no byte string")
    compression = _ALGORITHMS.get(name)
    if compression is None:
        raise CodecError("unsupported", f"compression {name[:40]}")
    # "lz4" does not use the element size. For the others the bits are shuffled by it: with another size than
    # that of the pixels every pixel would come out wrong.
    if compression is not Compression.LZ4_HDF5 and element_size != itemsize:
        raise CodecError("unsupported", f"{name} with elements of {element_size!s:.20} for pixels of {itemsize} bytes")
    return compression, blob
