"""What a SIMPLON detector says of itself, by GET alone: its stream is not touched, for it may feed somebody else."""

import math
from dataclasses import dataclass
from typing import Any

from edge.experiment.errors import CommandRefused, DetectorError
from edge.experiment.simplon import SimplonClient
from edge.simplon.discovery import optional

PROTOCOLS = {"legacy": "simplon-v1", "cbor": "stream-v2"}
"""SIMPLON's names for the formats of its stream, and ours for the protocols."""

THRESHOLDS = ("1", "2", "difference")


@dataclass(frozen=True)
class Detected:
    """The facts that a configuration depends on. None: this firmware does not say."""

    url: str
    version: str  # of the interface
    description: str
    number: str
    state: str
    shape: tuple[int, int]  # (height, width)
    bits: int  # a pixel
    auto_summation: bool
    compression: str | None
    protocol: str  # a name in `streams.codecs.DECODERS`
    stream_mode: str  # "enabled" or "disabled"
    header_detail: str | None
    beam_centre: tuple[float, float] | None  # (row, column) in pixels
    thresholds: tuple[str, ...]  # those that are enabled, where there are several: each is a channel


def detected(client: SimplonClient) -> Detected:
    """Ask.

    Raises:
        DetectorError: no answer, an answer that cannot be, or no stream.
    """
    try:
        mode = client.get("mode", "stream")
    except CommandRefused as error:
        raise DetectorError(
            f"this detector offers no ZeroMQ stream ({error}); frames come from `edge serve` only where its firmware "
            "has one: ask DECTRIS for an update, or for the option"
        ) from error
    form = optional(client, "format", "stream") or "legacy"  # older firmware knows no other
    if form not in PROTOCOLS:
        raise DetectorError(f"the stream's format is {str(form)[:50]!r}; only {' and '.join(PROTOCOLS)} can be read")
    return Detected(
        url=client.url,
        version=client.version,
        description=_text(optional(client, "description")),
        number=_text(optional(client, "detector_number")),
        state=_text(optional(client, "state", kind="status")),
        shape=(_count(client, "y_pixels_in_detector"), _count(client, "x_pixels_in_detector")),
        bits=_bits(client),
        auto_summation=optional(client, "auto_summation") in (True, 1),  # firmware 1.6 says 1
        compression=optional(client, "compression"),
        protocol=PROTOCOLS[form],
        stream_mode=_text(mode),
        header_detail=optional(client, "header_detail", "stream"),
        beam_centre=_beam_centre(client),
        thresholds=tuple(name for name in THRESHOLDS if optional(client, f"threshold/{name}/mode") == "enabled"),
    )


def _count(client: SimplonClient, name: str) -> int:
    value = client.get(name)
    if type(value) is not int or not 0 < value <= 1 << 16:
        raise DetectorError(f"{client.url}: {name} is {str(value)[:50]!r}; that cannot be")
    return value


def _bits(client: SimplonClient) -> int:
    """Bits a pixel as images are sent; firmware 1.6 tells those of the readout only."""
    value = optional(client, "bit_depth_image")
    if value is None:
        value = optional(client, "bit_depth_readout")
    if value is None:
        return 32
    if value not in (8, 16, 32):
        raise DetectorError(f"{client.url}: an image has {str(value)[:50]} bits a pixel; 8, 16 and 32 can be taken")
    return int(value)


def _beam_centre(client: SimplonClient) -> tuple[float, float] | None:
    """(row, column); what a detector holds before anybody has set it is (0, 0)."""
    x, y = optional(client, "beam_center_x"), optional(client, "beam_center_y")
    known = all(isinstance(value, int | float) and math.isfinite(value) and value > 0 for value in (x, y))
    return (float(y), float(x)) if known else None


def _text(value: Any) -> str:
    """One line of it, as it may stand in a comment."""
    return "".join(letter if letter.isprintable() else " " for letter in str(value or "")[:100]).strip()
