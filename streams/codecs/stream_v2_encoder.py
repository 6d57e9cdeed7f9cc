"""A DECTRIS detector that speaks Stream V2: what `streams.codecs.stream_v2` reads, written with cbor2."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from cbor2 import CBORTag, dumps
from numpy.typing import NDArray

from streams.codecs import cbor
from streams.codecs.compression import compress
from streams.codecs.limits import check_image
from streams.messages import Acquisition, Compression, Part

_ALGORITHMS = {
    Compression.NONE: None,
    Compression.BSLZ4: "bslz4",
    Compression.LZ4_HDF5: "lz4",
    Compression.BSZSTD: "bszstd",
}
_TAGS = {"uint8": 64, "uint16": 69, "uint32": 70}
_CLOCK_HZ = 100_000_000
"""Time base of the times that are sent."""

_COUNTRATE_POINTS = 1000


class StreamV2Encoder:
    """Messages to bytes for one series, as a detector sends them.

    Raises:
        ValueError: the protocol has no name for the compression or the pixel type.
    """

    images_per_message = 1

    def __init__(self, acquisition: Acquisition) -> None:
        if acquisition.compression not in _ALGORITHMS:
            raise ValueError(f"stream-v2 cannot send {acquisition.compression}; it has {', '.join(_ALGORITHMS)}")
        if acquisition.dtype not in _TAGS:
            raise ValueError(f"stream-v2 cannot send {acquisition.dtype}; it has {', '.join(_TAGS)}")
        self._acquisition = acquisition

    def start(self) -> list[list[Part]]:
        """The start message; header detail "all" adds flat fields, masks and countrate table, "none" is as "basic"."""
        acquisition = self._acquisition
        height, width = acquisition.shape
        document = {
            "type": "start",
            "arm_date": CBORTag(cbor.TAG_DATE, acquisition.arm_date),
            "beam_center_x": width / 2,
            "beam_center_y": height / 2,
            "channels": list(acquisition.channels),
            "count_time": acquisition.frame_time_s,
            "countrate_correction_enabled": False,
            "detector_description": "simulated detector",
            "detector_serial_number": "S-00-0000",
            "detector_translation": [0.0, 0.0, 0.0],
            "flatfield_enabled": False,
            "frame_time": acquisition.frame_time_s,
            "goniometer": {"omega": {"increment": 0.0, "start": 0.0}},
            "image_dtype": acquisition.dtype,
            "image_size_x": width,
            "image_size_y": height,
            "incident_energy": acquisition.energy_ev,
            "incident_wavelength": acquisition.wavelength_angstrom,
            "number_of_images": acquisition.images,
            "pixel_mask_enabled": False,
            "pixel_size_x": 7.5e-05,
            "pixel_size_y": 7.5e-05,
            "saturation_value": np.iinfo(acquisition.dtype).max - 1,
            "sensor_material": "Si",
            "sensor_thickness": 4.5e-4,
            "series_id": acquisition.series_id,
            "series_unique_id": acquisition.series_uid,
            "threshold_energy": dict.fromkeys(acquisition.channels, 4000.0),
            "user_data": acquisition.user_data,
            "virtual_pixel_interpolation_enabled": False,
        }
        return [[_dump(document | self._arrays() if acquisition.header_detail == "all" else document)]]

    def _arrays(self) -> dict[str, Any]:
        """Flat fields of ones, empty masks and a countrate table of the identity."""
        acquisition = self._acquisition
        rates = np.linspace(0, 1e6, _COUNTRATE_POINTS, dtype="<f4")
        ones = self._packed(np.ones(acquisition.shape, "<f4"), 85)
        empty = self._packed(np.zeros(acquisition.shape, "<u4"), 70)
        table = CBORTag(85, np.stack([rates, rates]).tobytes())
        return {
            "flatfield": dict.fromkeys(acquisition.channels, ones),
            "pixel_mask": dict.fromkeys(acquisition.channels, empty),
            "countrate_correction_lookup_table": CBORTag(cbor.TAG_ROW_MAJOR, [[2, _COUNTRATE_POINTS], table]),
        }

    def image(self, image_id: int, images: Mapping[str, Any], user_data: Any = None) -> list[Part]:
        """One exposure: an array [height, width] of the series' pixel type for each channel.

        Raises:
            ValueError: channels, shape or type are not those of the series.
        """
        acquisition = self._acquisition
        if tuple(images) != acquisition.channels:
            raise ValueError(f"channels {list(images)} in a series of {list(acquisition.channels)}")
        ticks = round(acquisition.frame_time_s * _CLOCK_HZ)
        document = {
            "type": "image",
            "data": {channel: self._array(image) for channel, image in images.items()},
            "image_id": image_id,
            "real_time": [ticks, _CLOCK_HZ],
            "series_date": CBORTag(cbor.TAG_DATE, acquisition.arm_date),
            "series_id": acquisition.series_id,
            "series_unique_id": acquisition.series_uid,
            "start_time": [image_id * ticks, _CLOCK_HZ],
            "stop_time": [(image_id + 1) * ticks, _CLOCK_HZ],
            "user_data": user_data,
        }
        return [_dump(document)]

    def end(self) -> list[list[Part]]:
        """The end message."""
        acquisition = self._acquisition
        document = {
            "type": "end",
            "series_id": acquisition.series_id,
            "series_unique_id": acquisition.series_uid,
        }
        return [[_dump(document)]]

    def _array(self, image: NDArray[Any]) -> CBORTag:
        acquisition = self._acquisition
        check_image(image, acquisition.shape, acquisition.dtype)
        return self._packed(image.astype(image.dtype.newbyteorder("<"), copy=False), _TAGS[acquisition.dtype])

    def _packed(self, image: NDArray[Any], tag: int) -> CBORTag:
        """Little-endian values as the series compresses its images."""
        bits = image if image.dtype.kind == "u" else image.view(f"<u{image.dtype.itemsize}")
        content: Any = compress(bits, self._acquisition.compression)
        algorithm = _ALGORITHMS[self._acquisition.compression]
        if algorithm is not None:
            element_size = 0 if algorithm == "lz4" else image.dtype.itemsize  # lz4: unused, sent as zero
            content = CBORTag(cbor.TAG_COMPRESSED, [algorithm, element_size, content])
        return CBORTag(cbor.TAG_ROW_MAJOR, [list(image.shape), CBORTag(tag, content)])


def _dump(document: dict[str, Any]) -> bytes:
    """With the self-described tag first, without which the vendor's C reader refuses the message."""
    return dumps(CBORTag(cbor.TAG_SELF_DESCRIBED, document))
