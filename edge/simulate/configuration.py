"""The parameters that the detector, its stream and its file writer have: names, limits and defaults in one place."""

from collections.abc import Mapping
from typing import Any

from edge.simulate.parameters import Parameter

READOUT_S = 1e-7
"""Dead time between two frames."""

MAX_COUNT = 1_000_000
MAX_FRAME_TIME_S = 3600.0
MIN_FRAME_TIME_S = 1e-3
FORMATS: Mapping[str, str] = {"legacy": "simplon-v1", "cbor": "stream-v2"}
"""SIMPLON's name for a stream format, and the name of its codec."""

COMPRESSIONS = ("bslz4", "lz4", "none")


def detector_parameters(shape: tuple[int, int], dtype: str) -> list[Parameter]:
    """Those of the detector; `shape` is (height, width) of its images."""
    height, width = shape
    bits = {"uint8": 8, "uint16": 16, "uint32": 32}[dtype]
    return [
        Parameter("nimages", "uint", 1, low=1, high=MAX_COUNT),
        Parameter("ntrigger", "uint", 1, low=1, high=MAX_COUNT),
        Parameter("frame_time", "float", 0.025, "s", MIN_FRAME_TIME_S, MAX_FRAME_TIME_S),
        Parameter("count_time", "float", 0.025 - READOUT_S, "s", 1e-5, MAX_FRAME_TIME_S - READOUT_S),
        Parameter("trigger_mode", "string", "ints", allowed=("ints",)),
        Parameter("compression", "string", "bslz4", allowed=COMPRESSIONS),
        Parameter("photon_energy", "float", 8000.0, "eV", 1000.0, 200_000.0, writable=False),
        Parameter("detector_readout_time", "float", READOUT_S, "s", writable=False),
        Parameter("auto_summation", "bool", False, writable=False),
        Parameter("bit_depth_image", "uint", bits, writable=False),
        Parameter("bit_depth_readout", "uint", 16, writable=False),
        Parameter("x_pixels_in_detector", "uint", width, writable=False),
        Parameter("y_pixels_in_detector", "uint", height, writable=False),
        Parameter("x_pixel_size", "float", 7.5e-05, "m", writable=False),
        Parameter("y_pixel_size", "float", 7.5e-05, "m", writable=False),
        Parameter("sensor_material", "string", "Si", writable=False),
        Parameter("sensor_thickness", "float", 4.5e-4, "m", writable=False),
        Parameter("description", "string", "simulated detector", writable=False),
        Parameter("detector_number", "string", "S-00-0000", writable=False),
        Parameter("software_version", "string", "1.8.0", writable=False),
    ]


def stream_parameters(protocol: str) -> list[Parameter]:
    """Those of the stream, `protocol` being the codec to start with."""
    formats = {codec: name for name, codec in FORMATS.items()}
    return [
        Parameter("mode", "string", "enabled", allowed=("enabled", "disabled")),
        Parameter("format", "string", formats[protocol], allowed=tuple(FORMATS)),
        Parameter("header_detail", "string", "basic", allowed=("basic",)),
    ]


def filewriter_parameters(enabled: bool) -> list[Parameter]:
    """Those of the file writer; a simulator that has no folder cannot enable it."""
    modes = ("enabled", "disabled") if enabled else ("disabled",)
    return [
        Parameter("mode", "string", modes[0], allowed=modes),
        # A name, never a path: whoever reaches the port must not write elsewhere.
        Parameter("name_pattern", "string", "series_$id", pattern=r"[A-Za-z0-9_$][A-Za-z0-9_$.-]{0,99}"),
        Parameter("nimages_per_file", "uint", 1000, low=1, high=100_000),
    ]


def timing(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A frame lasts its count time and the readout: the one that was set moves the other where they collide.

    "First set `count_time` to the inverse of the frame rate and subsequently `frame_time`" (EIGER2 User Manual).
    """
    count, frame = values["count_time"], values["frame_time"]
    if count + READOUT_S <= frame:
        return {}
    if name == "count_time":
        return {"frame_time": count + READOUT_S}
    return {"count_time": frame - READOUT_S}
