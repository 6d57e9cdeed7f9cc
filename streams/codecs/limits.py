"""What a message may claim about an image, and the names of series: rules that every codec shares.

A header is a claim by a stranger. Nothing is allocated, and no native library is called, before the claim has
been checked here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.bounds import MAX_PARTS
from streams.messages import CodecError, Part

MAX_IMAGE_BYTES = 512 * 1024 * 1024
"""Largest image that is believed; the largest real one (EIGER2 16M, 32 bits) has 70 MB."""

MAX_JSON_BYTES = 1024 * 1024
"""Largest JSON part that is parsed; a real detector configuration has about 3 kB."""

MAX_ID = 2**63 - 1
"""Largest series or image number: everything downstream stores them as signed 64-bit integers."""

MAX_NAME_CHARS = 200
"""Longest unique id, channel or date."""

ITEMSIZES = {"|u1": 1, "|i1": 1}
ITEMSIZES |= {f"{order}{kind}{size}": size for order in "<>" for kind in "ui" for size in (2, 4)}
"""The pixel types that images may have on the wire, and their sizes in bytes."""

_NAMES = {dtype: dtype for dtype in ITEMSIZES}
_NAMES |= {dtype[1:]: f"<{dtype[1:]}" if dtype[0] == "<" else dtype for dtype in ITEMSIZES if dtype[0] != ">"}
_NAMES |= {np.dtype(dtype).name: dtype for dtype in ITEMSIZES if dtype[0] != ">"}


def wire_dtype(name: str, order: str = "<") -> str:
    """The pixel type that NumPy calls `name` ("uint16", "u2", ">u2"), as `ITEMSIZES` has it.

    Args:
        order: "<" or ">", for names that do not say their byte order.

    Raises:
        CodecError: images have no such type.
    """
    dtype = _NAMES.get(name)
    if dtype is None:
        raise CodecError("unsupported", f"pixels of type {name[:40]}")
    return dtype if name == dtype or dtype[0] == "|" else order + dtype[1:]


def plain_name(dtype: str) -> str:
    """The name of a pixel type of `ITEMSIZES` without byte order: "uint16"."""
    return f"{'uint' if dtype[1] == 'u' else 'int'}{8 * ITEMSIZES[dtype]}"


def check_parts(parts: Sequence[Part]) -> None:
    """Refuse a message of more parts than `MAX_PARTS`: the rest of it was not kept (`streams.sockets`).

    Raises:
        CodecError: it has more, or none.
    """
    if not parts:
        raise CodecError("truncated", "a message without parts")
    if len(parts) > MAX_PARTS:
        raise CodecError("too_large", f"a message of more than {MAX_PARTS} parts")


def image_bytes(shape: tuple[int, int], dtype: str) -> int:
    """Bytes of a decoded image of `shape` (height, width) and `dtype`, e.g. "<u2".

    Raises:
        CodecError: the type is not one of `ITEMSIZES`, the shape is empty, or the image is larger than
            `MAX_IMAGE_BYTES`.
    """
    itemsize = ITEMSIZES.get(dtype)
    if itemsize is None:
        raise CodecError("unsupported", f"pixels of type {dtype}")
    height, width = shape
    if height < 1 or width < 1:
        raise CodecError("malformed", f"image of {height} x {width} pixels")
    size = height * width * itemsize
    if size > MAX_IMAGE_BYTES:
        raise CodecError("too_large", f"image of {height} x {width} pixels of {itemsize} bytes")
    return size


def check_raw(found: int, wanted: int) -> None:
    """Compare the length of an uncompressed image in bytes with what its shape and type make.

    Raises:
        CodecError: they differ.
    """
    if found < wanted:
        raise CodecError("truncated", f"image of {wanted} bytes came with {found}")
    if found > wanted:
        raise CodecError("malformed", f"image of {wanted} bytes came with {found}")


def check_image(image: NDArray[Any], shape: tuple[int, int], dtype: str) -> None:
    """Compare an image that is about to be sent with its series: `shape` (height, width), `dtype` "uint16".

    Its byte order does not matter.

    Raises:
        ValueError: they differ; a detector cannot do that.
    """
    if image.shape != shape or image.dtype.newbyteorder("=") != np.dtype(dtype):
        raise ValueError(f"an image {image.dtype}{list(image.shape)} in a series of {dtype}{list(shape)}")


class SeriesNames:
    """Names for series that the detector did not name: remembered for the few series of late.

    Series numbers start again at 1 when a detector is power-cycled, so a number alone names nothing. The
    name is the date that the detector gives, or else the time at which the series was first heard of. Where
    images overtook their header, the header takes over the name that they got.
    """

    OVERTAKEN_NS = 5_000_000_000
    """A header comes so long after its images at most; no detector is power-cycled and armed in that time."""

    def __init__(self, remembered: int = 8) -> None:
        self._remembered = remembered
        self._names: dict[int, str] = {}
        self._by_image_ns: dict[int, int] = {}  # when the series was named, where no header has come since

    def begin(self, series_id: int, date: str | None, received_ns: int) -> str:
        """Name a series that was just announced."""
        by_image_ns = self._by_image_ns.pop(series_id, None)
        if by_image_ns is not None and 0 <= received_ns - by_image_ns <= self.OVERTAKEN_NS:
            return self._names[series_id]
        usable = date is not None and 0 < len(date) <= MAX_NAME_CHARS
        return self._enter(series_id, f"{date if usable else received_ns}_{series_id}")

    def known(self, series_id: int) -> str | None:
        """The name of a series that is still remembered."""
        return self._names.get(series_id)

    def of_image(self, series_id: int, received_ns: int) -> str:
        """The name of the series of an image; where it came before any header it is made here."""
        known = self._names.get(series_id)
        if known is not None:
            return known
        self._by_image_ns[series_id] = received_ns
        return self._enter(series_id, f"{received_ns}_{series_id}")

    def _enter(self, series_id: int, name: str) -> str:
        self._names.pop(series_id, None)  # a number used again: the new series is the youngest
        self._names[series_id] = name
        while len(self._names) > self._remembered:
            forgotten = next(iter(self._names))
            del self._names[forgotten]
            self._by_image_ns.pop(forgotten, None)
        return name
