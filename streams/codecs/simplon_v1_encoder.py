"""A DECTRIS detector that speaks SIMPLON stream V1: what `streams.codecs.simplon_v1` reads."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from streams.codecs.compression import compress
from streams.codecs.limits import check_image
from streams.messages import DEFAULT_CHANNEL, Acquisition, Compression, Part

_DTYPES = ("uint8", "uint16", "uint32")
_COUNTRATE_POINTS = 1000


class SimplonV1Encoder:
    """Messages to bytes for one series, as a detector sends them.

    `series_uid` has no place in this protocol: a receiver names the series by its number and `arm_date`.

    Raises:
        ValueError: the protocol has no name for the compression, the pixel type or the channels.
    """

    images_per_message = 1

    def __init__(self, acquisition: Acquisition) -> None:
        if acquisition.dtype not in _DTYPES:
            raise ValueError(f"simplon-v1 cannot send {acquisition.dtype}; it has {', '.join(_DTYPES)}")
        if acquisition.channels != (DEFAULT_CHANNEL,):
            raise ValueError(f"simplon-v1 has one channel, {DEFAULT_CHANNEL!r}, not {list(acquisition.channels)}")
        encodings = {
            Compression.NONE: "<",
            Compression.LZ4_BLOCK: "lz4<",
            Compression.BSLZ4: f"bs{8 * np.dtype(acquisition.dtype).itemsize}-lz4<",
        }
        if acquisition.compression not in encodings:
            raise ValueError(f"simplon-v1 cannot send {acquisition.compression}; it has {', '.join(encodings)}")
        self._encoding = encodings[acquisition.compression]
        self._acquisition = acquisition

    def start(self) -> list[list[Part]]:
        """The global header. User data need the detail "all": they raise "basic" to it, "none" leaves them behind."""
        acquisition = self._acquisition
        appendix = acquisition.user_data is not None
        detail = "all" if appendix and acquisition.header_detail == "basic" else acquisition.header_detail
        parts: list[Part] = [_json({"htype": "dheader-1.0", "series": acquisition.series_id, "header_detail": detail})]
        if detail != "none":
            parts.append(_json(self._config()))
        if detail == "all":
            parts += self._arrays()
            if appendix:
                parts.append(_json(acquisition.user_data))
        return [parts]

    def _config(self) -> dict[str, Any]:
        acquisition = self._acquisition
        height, width = acquisition.shape
        return {
            "auto_summation": True,
            "beam_center_x": width / 2,
            "beam_center_y": height / 2,
            "bit_depth_image": 8 * np.dtype(acquisition.dtype).itemsize,
            "bit_depth_readout": 16,
            "compression": "lz4" if acquisition.compression is Compression.LZ4_BLOCK else "bslz4",
            "count_time": acquisition.frame_time_s,
            "countrate_correction_applied": False,
            "data_collection_date": acquisition.arm_date,
            "description": "simulated detector",
            "detector_distance": 1.0,
            "detector_number": "S-00-0000",
            "flatfield_correction_applied": False,
            "frame_time": acquisition.frame_time_s,
            "nimages": acquisition.images // acquisition.triggers,
            "ntrigger": acquisition.triggers,
            "number_of_excluded_pixels": 0,
            "photon_energy": acquisition.energy_ev,
            "pixel_mask_applied": False,
            "sensor_material": "Si",
            "sensor_thickness": 4.5e-4,
            "software_version": "1.8.0",
            "threshold_energy": 4000.0,
            "trigger_mode": "ints",
            "virtual_pixel_correction_applied": False,
            "wavelength": acquisition.wavelength_angstrom,
            "x_pixel_size": 7.5e-05,
            "x_pixels_in_detector": width,
            "y_pixel_size": 7.5e-05,
            "y_pixels_in_detector": height,
        }

    def _arrays(self) -> list[Part]:
        """Flat field of ones, empty pixel mask, countrate table of the identity; shapes are [width, height]."""
        height, width = self._acquisition.shape
        rates = np.linspace(0, 1e6, _COUNTRATE_POINTS, dtype="<f4")
        arrays = {
            "dflatfield-1.0": ([width, height], np.ones((height, width), "<f4")),
            "dpixelmask-1.0": ([width, height], np.zeros((height, width), "<u4")),
            "dcountrate_table-1.0": ([2, _COUNTRATE_POINTS], np.stack([rates, rates])),
        }
        parts: list[Part] = []
        for htype, (shape, values) in arrays.items():
            parts += [_json({"htype": htype, "shape": shape, "type": values.dtype.name}), values.tobytes()]
        return parts

    def image(self, image_id: int, images: Mapping[str, Any], user_data: Any = None) -> list[Part]:
        """One exposure: an array [height, width] of the series' pixel type for the one channel.

        Raises:
            ValueError: channels, shape or type are not those of the series.
        """
        acquisition = self._acquisition
        if tuple(images) != acquisition.channels:
            raise ValueError(f"channels {list(images)} in a series of {list(acquisition.channels)}")
        image = images[DEFAULT_CHANNEL]
        check_image(image, acquisition.shape, acquisition.dtype)
        height, width = acquisition.shape
        blob = compress(image.astype(image.dtype.newbyteorder("<"), copy=False), acquisition.compression)
        frame_ns = round(acquisition.frame_time_s * 1e9)
        head = {
            "htype": "dimage-1.0",
            "series": acquisition.series_id,
            "frame": image_id,
            "hash": hashlib.md5(blob, usedforsecurity=False).hexdigest(),
        }
        claim = {
            "htype": "dimage_d-1.0",
            "shape": [width, height],
            "type": acquisition.dtype,
            "encoding": self._encoding,
            "size": len(blob),
        }
        times = {
            "htype": "dconfig-1.0",
            "start_time": image_id * frame_ns,
            "stop_time": (image_id + 1) * frame_ns,
            "real_time": frame_ns,
        }
        parts: list[Part] = [_json(head), _json(claim), blob, _json(times)]
        if user_data is not None:
            parts.append(_json(user_data))
        return parts

    def end(self) -> list[list[Part]]:
        """The end of the series."""
        return [[_json({"htype": "dseries_end-1.0", "series": self._acquisition.series_id})]]


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)
