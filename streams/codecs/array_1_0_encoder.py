"""areaDetector's ZeroMQ plugin (1.4.0 and later), sending array-1.0: what `streams.codecs.array_1_0` reads."""

from collections.abc import Mapping
from typing import Any

import msgspec

from streams.codecs.array_1_0 import EPICS_EPOCH_S
from streams.codecs.compression import compress
from streams.codecs.sending import check_acquisition, check_images, scalars_of, taken_ns
from streams.messages import DEFAULT_CHANNEL, Acquisition, Compression, Part

_ENCODINGS = {
    Compression.NONE: "",
    Compression.BSLZ4: "bslz4",
    Compression.LZ4_BLOCK: "lz4",
    Compression.LZ4_HDF5: "lz4hdf5",
}


class ArrayEncoder:
    """Messages to bytes, one image each. Numbers and texts of an image's user data travel as `ndattr`.

    The series' name, number, length and user data have no place in this protocol.

    Raises:
        ValueError: the protocol cannot send it.
    """

    images_per_message = 1

    def __init__(self, acquisition: Acquisition) -> None:
        check_acquisition("array-1.0", acquisition, _ENCODINGS)
        if acquisition.channels != (DEFAULT_CHANNEL,):
            raise ValueError(f"array-1.0 has one channel, {DEFAULT_CHANNEL!r}, not {list(acquisition.channels)}")
        self._acquisition = acquisition

    def start(self) -> list[list[Part]]:
        """Nothing: the protocol does not know series."""
        return []

    def end(self) -> list[list[Part]]:
        """Nothing: the protocol does not know series."""
        return []

    def image(self, image_id: int, images: Mapping[str, Any], user_data: Any = None) -> list[Part]:
        """One image, an array [height, width].

        Raises:
            ValueError: channels, shape or type are not those of the series.
        """
        acquisition = self._acquisition
        check_images(acquisition, images)
        image = images[DEFAULT_CHANNEL]
        bare = acquisition.compression is Compression.BSLZ4
        compression = Compression.BSLZ4_BARE if bare else acquisition.compression
        blob = compress(image.astype(image.dtype.newbyteorder("<"), copy=False), compression)
        header = {
            "htype": "array-1.0",
            "type": acquisition.dtype,
            "shape": list(image.shape),
            "frame": image_id,
            "timeStamp": taken_ns(acquisition, image_id) / 1e9 - EPICS_EPOCH_S,
            "encoding": _ENCODINGS[acquisition.compression],
            "ndattr": scalars_of(user_data),
        }
        return [msgspec.json.encode(header), blob]
