"""The parts of SIMPLON stream V1 messages: what each claims, checked. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from streams.codecs.limits import ITEMSIZES, MAX_ID, MAX_JSON_BYTES, check_raw, image_bytes
from streams.messages import CodecError, Compression, EncodedArray, Part

_NO_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_Struct = TypeVar("_Struct", bound=msgspec.Struct)

FLATFIELD, PIXEL_MASK = "dflatfield-1.0", "dpixelmask-1.0"
ARRAYS = (FLATFIELD, PIXEL_MASK, "dcountrate_table-1.0")
_ARRAY_TYPES = {"float32": "<f4", "uint8": "|u1", "uint16": "<u2", "uint32": "<u4"}
TYPES = {"uint8": "u1", "uint16": "u2", "uint32": "u4"}
_SCHEMES = {"": (Compression.NONE, 0), "lz4": (Compression.LZ4_BLOCK, 0), "-lz4": (Compression.LZ4_BLOCK, 0)}
_SCHEMES |= {f"bs{bits}{dash}lz4": (Compression.BSLZ4, bits // 8) for bits in (8, 16, 32) for dash in ("", "-")}
_ENCODINGS = {
    name + end: (compression, element_size, end or "<")
    for name, (compression, element_size) in _SCHEMES.items()
    for end in ("<", ">", "")
    if name or end
}
"""The grammar [bs<BIT>][[-]lz4][<|>], spelled out: compression, bytes of a shuffled element (0: none), byte order."""


class Head(msgspec.Struct, gc=False):
    """Any JSON part that has an `htype`; the configuration has none."""

    htype: str = ""
    series: int = -1
    frame: int = -1
    header_detail: str = ""
    hash: Any = None  # looked at only on demand, so it may be anything


class ImageHead(msgspec.Struct, gc=False):
    htype: str
    shape: tuple[int, ...]  # (width, height)
    type: str
    encoding: str
    size: int | None = None


class _ArrayHead(msgspec.Struct, gc=False):
    htype: str
    shape: tuple[int, ...] = ()  # (width, height)
    type: str = ""


class Config(msgspec.Struct, gc=False):
    """What we read of the detector's configuration; the rest travels as it is."""

    data_collection_date: str | None = None
    nimages: int | None = None
    ntrigger: int | None = None
    trigger_mode: str | None = None
    x_pixels_in_detector: int | None = None
    y_pixels_in_detector: int | None = None
    bit_depth_image: int | None = None


def read_json(part: Part, kind: type[_Struct]) -> _Struct:
    """A JSON part as `kind`.

    Raises:
        CodecError: it is too large, or does not fit.
    """
    if len(part) > MAX_JSON_BYTES:
        raise CodecError("too_large", f"a JSON part of {len(part)} bytes")
    try:
        return msgspec.json.decode(part, type=kind)
    except _NO_JSON as error:
        raise CodecError("malformed", f"{kind.__name__}: {error}") from None


def read_object(part: Part) -> dict[str, Any]:
    """Any JSON object, its size checked before."""
    try:
        return msgspec.json.decode(part, type=dict[str, Any])
    except _NO_JSON as error:
        raise CodecError("malformed", f"configuration: {error}") from None


def identity(value: int, name: str) -> int:
    """The number of a series or image, after it was found to be one.

    Raises:
        CodecError: it is none.
    """
    if not 0 <= value <= MAX_ID:
        raise CodecError("malformed", f"{name} is missing or no number of a {name}")
    return value


def expected_images(config: Config) -> int | None:
    """Images that the arm command asked for: external enabling makes one image a trigger."""
    nimages, ntrigger = config.nimages, config.ntrigger
    if config.trigger_mode in ("exte", "inte"):
        count = ntrigger
    else:
        count = None if nimages is None or ntrigger is None else nimages * ntrigger
    return count if count is not None and 0 <= count <= MAX_ID else None


def image_claim(image: ImageHead, found: int) -> tuple[tuple[int, int], str, Compression]:
    """Check what the header says of a blob of `found` bytes: shape (height, width), type, compression.

    Raises:
        CodecError: it cannot be, or the blob is of another size.
    """
    if image.htype != "dimage_d-1.0":
        raise CodecError("malformed", f"{image.htype[:40]} where dimage_d-1.0 belongs")
    encoding = _ENCODINGS.get(image.encoding)
    kind = TYPES.get(image.type)
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


def arrays_of(parts: Sequence[Part]) -> Iterator[tuple[str, EncodedArray]]:
    """The arrays of a global header by htype. Whether their bytes hold them shows when they are read."""
    for head, blob in zip(parts[::2], parts[1::2], strict=False):
        if htype_of(head) not in ARRAYS:
            return
        try:
            claim = msgspec.json.decode(head, type=_ArrayHead)
        except _NO_JSON:  # a shape that is none, or the like
            continue
        if len(claim.shape) == 2:
            width, height = claim.shape
            dtype = _ARRAY_TYPES.get(claim.type, claim.type)
            yield claim.htype, EncodedArray((height, width), dtype, Compression.NONE, blob)


def appendix_after_arrays(parts: Sequence[Part]) -> Any:
    """The header appendix: the part that is neither an array header nor the array that follows one."""
    at = 0
    while at < len(parts) and htype_of(parts[at]) in ARRAYS:
        at += 2
    return appendix(parts[at]) if at < len(parts) else None


def htype_of(part: Part) -> str:
    """The `htype` of a part that may be anything, empty where it has none."""
    try:
        return msgspec.json.decode(part, type=Head).htype
    except _NO_JSON:
        return ""


def appendix(part: Part) -> Any:
    """What the user attached: often JSON, but any text is allowed.

    Raises:
        CodecError: it is too large.
    """
    if len(part) > MAX_JSON_BYTES:
        raise CodecError("too_large", f"an appendix of {len(part)} bytes")
    try:
        return msgspec.json.decode(part)
    except _NO_JSON:
        return str(part, "utf-8", "replace")
