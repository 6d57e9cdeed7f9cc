"""A bsread source's messages: what `streams.codecs.bsread` reads."""

import hashlib
import struct
from collections.abc import Mapping
from typing import Any

import msgspec

from streams.codecs.compression import compress
from streams.codecs.sending import check_acquisition, check_images, scalars_of, taken_ns
from streams.messages import Acquisition, Compression, Part

_COMPRESSIONS = {Compression.NONE: "none", Compression.BSLZ4: "bitshuffle_lz4", Compression.LZ4_BLOCK: "lz4"}


class BsreadEncoder:
    """Messages to bytes, one pulse each with the id of its image. Numbers and texts of its user data are channels.

    The series' name, number, length and user data have no place in this protocol.

    Raises:
        ValueError: the protocol cannot send it.
    """

    images_per_message = 1

    def __init__(self, acquisition: Acquisition) -> None:
        check_acquisition("bsread", acquisition, _COMPRESSIONS)
        self._acquisition = acquisition

    def start(self) -> list[list[Part]]:
        """Nothing: the protocol does not know series."""
        return []

    def end(self) -> list[list[Part]]:
        """Nothing: the protocol does not know series."""
        return []

    def image(self, image_id: int, images: Mapping[str, Any], user_data: Any = None) -> list[Part]:
        """One pulse: an array [height, width] for each channel; without any of them its channels have no values.

        Raises:
            ValueError: channels, shape or type are not those of the series.
        """
        acquisition = self._acquisition
        if images:
            check_images(acquisition, images)
        scalars = scalars_of(user_data)
        height, width = acquisition.shape
        compression = _COMPRESSIONS[acquisition.compression]
        image = {"type": acquisition.dtype, "shape": [width, height], "encoding": "little", "compression": compression}
        channels = [{"name": name, **image} for name in acquisition.channels]
        channels += [{"name": name, **_kind(value), "encoding": "little"} for name, value in scalars.items()]
        data_header = msgspec.json.encode({"htype": "bsr_d-1.1", "channels": channels})
        seconds, nanoseconds = divmod(taken_ns(acquisition, image_id), 10**9)
        main_header = {
            "htype": "bsr_m-1.1",
            "pulse_id": image_id,
            "global_timestamp": {"sec": seconds, "ns": nanoseconds},
            "hash": hashlib.md5(data_header, usedforsecurity=False).hexdigest(),
            "dh_compression": "none",
        }
        stamp = struct.pack("<qq", seconds, nanoseconds)
        parts: list[Part] = [msgspec.json.encode(main_header), data_header]
        for name in acquisition.channels:
            parts += [self._blob(images[name]), stamp] if images else [b"", b""]
        for value in scalars.values():
            parts += [value.encode() if isinstance(value, str) else struct.pack("<d", value), stamp]
        return parts

    def _blob(self, image: Any) -> bytes:
        compression = self._acquisition.compression
        blob = compress(image.astype(image.dtype.newbyteorder("<"), copy=False), compression)
        return struct.pack("<I", image.nbytes) + blob if compression is Compression.LZ4_BLOCK else blob


def _kind(value: float | int | str) -> dict[str, Any]:
    if isinstance(value, str):
        return {"type": "string", "shape": [len(value.encode())]}
    return {"type": "float64", "shape": [1]}
