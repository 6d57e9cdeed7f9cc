"""The arrays in Stream V2 messages: images, masks and flat fields, taken apart without a copy."""

from collections.abc import Mapping
from typing import Any

from streams.codecs import cbor
from streams.codecs.compression import BITS
from streams.codecs.limits import MAX_NAME_CHARS, check_raw, image_bytes
from streams.messages import CodecError, Compression, EncodedArray

_TYPES = {
    64: "|u1", 65: ">u2", 66: ">u4", 68: "|u1", 69: "<u2", 70: "<u4",
    72: "|i1", 73: ">i2", 74: ">i4", 77: "<i2", 78: "<i4",
}  # fmt: skip
"""RFC 8746, 2.1: the typed arrays that are images. The 64-bit and floating ones are no counts."""

_HEADER_TYPES = _TYPES | {
    67: ">u8", 71: "<u8", 75: ">i8", 79: "<i8",
    80: ">f2", 81: ">f4", 82: ">f8", 83: ">f16", 84: "<f2", 85: "<f4", 86: "<f8", 87: "<f16",
}  # fmt: skip
"""All of RFC 8746. Which of them `read_array` reads, it says."""

_ALGORITHMS = {"bslz4": Compression.BSLZ4, "lz4": Compression.LZ4_HDF5, "bszstd": Compression.BSZSTD}


def untagged(value: Any) -> Any:
    """The value inside any tags: the self-described one, dates, and whatever a later version adds."""
    while isinstance(value, cbor.Tag):
        value = value.value
    return value


def checked_name(value: Any) -> str:
    """A channel or unique id, after it was found to be a name.

    Raises:
        CodecError: it is none.
    """
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_CHARS:
        raise CodecError("malformed", "a name that is empty, too long or no text")
    return value


def header_arrays(document: dict[Any, Any], key: str) -> tuple[dict[str, EncodedArray], dict[str, str]]:
    """The arrays of a start message by channel, and what is wrong with those that cannot be read."""
    arrays: dict[str, EncodedArray] = {}
    not_read: dict[str, str] = {}
    found = untagged(document.get(key))
    for channel, value in found.items() if isinstance(found, dict) else ():
        try:
            shape, strides, dtype, compression, blob = read_claim(value, _HEADER_TYPES)
            arrays[checked_name(channel)] = EncodedArray(shape, dtype, compression, blob, strides)
        except CodecError as error:
            not_read[f"{key}/{str(channel)[:MAX_NAME_CHARS]}"] = str(error)
    return arrays, not_read


def read_claim(
    value: Any, types: Mapping[int, str] = _TYPES
) -> tuple[tuple[int, int], tuple[int, int] | None, str, Compression, memoryview]:
    """Take an array apart: shape (height, width), strides where it is column-major, type, compression, bytes.

    Args:
        types: which typed arrays are taken, by tag.

    Raises:
        CodecError: it is none of them, or contradicts itself.
    """
    if not isinstance(value, cbor.Tag) or value.number not in (cbor.TAG_ROW_MAJOR, cbor.TAG_COLUMN_MAJOR):
        raise CodecError("malformed", "channel data is no multi-dimensional array")
    match value.value:
        case [[int(height), int(width)], cbor.Tag(number=number, value=content)]:
            pass
        case [[*sides], cbor.Tag()] if len(sides) != 2:
            raise CodecError("unsupported", f"an image of {len(sides)} dimensions")
        case _:
            raise CodecError("malformed", "an array that is not [[height, width], typed array]")
    dtype = types.get(number)
    if dtype is None:
        raise CodecError("unsupported", f"pixels of the array type with CBOR tag {number}")
    size = image_bytes((height, width), BITS.get(dtype, dtype))
    itemsize = int(dtype[2:])
    compression, blob = _bytes(content, itemsize)
    if compression is Compression.NONE:
        check_raw(len(blob), size)
    strides = None
    if value.number == cbor.TAG_COLUMN_MAJOR:
        strides = (itemsize, height * itemsize)
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
