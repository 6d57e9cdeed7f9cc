"""The model card: what a model learned from, how good it was found to be, and where it may be believed.

`card.json` in the version's folder. Written by `edge train`, its figures by `edge evaluate MODEL --card`; read by
whoever serves the model. After Mitchell et al., Model Cards for Model Reporting, FAT* 2019, doi
10.1145/3287560.3287596.
"""

from typing import Any

import msgspec

CARD_FILE = "card.json"


class CardError(ValueError):
    """A card that cannot be read; the message says where it is wrong."""


class Span(msgspec.Struct, frozen=True):
    """From `low` to `high`, both within."""

    low: float
    high: float


class Validity(msgspec.Struct, frozen=True):
    """What the model was trained for. None: it does not matter, or is not known."""

    frame_shape: tuple[int, int] | None = None  # (height, width), pixels of the detector image as served
    counts_per_frame: Span | None = None  # photons in one frame
    energy_ev: Span | None = None  # of a photon
    object_pixel_m: Span | None = None  # wavelength x distance / (pixels x detector pixel)
    probe_sha256: str | None = None  # of the modes in `probe.npy`; shown, since no series tells its probe


class Figure(msgspec.Struct, frozen=True):
    """One measured number."""

    name: str
    value: float | None  # None: not run, `what` says why
    unit: str = "1"
    interval: tuple[float, float] | None = None  # 95 %
    what: str = ""
    bar: str = ""  # what was asked for
    kept: bool | None = None


class Measured(msgspec.Struct, frozen=True):
    """Figures of one command on one machine."""

    command: str
    machine: dict[str, Any]
    figures: tuple[Figure, ...]


class Card(msgspec.Struct, frozen=True):
    """All that is known of one version of a model."""

    model: str
    data: tuple[str, ...]  # what it learned from, a sentence each
    split: str  # what was kept apart for judging
    training: dict[str, Any]  # the recipe: seed, steps, seconds taken, ...
    parameters: int
    onnx_minus_torch: float  # the largest difference of any output
    valid: Validity = Validity()
    course: tuple[tuple[float, float], ...] = ()  # (step, loss)
    measured: Measured | None = None
    extra: dict[str, Any] = {}  # of this model alone


def parse_card(content: bytes) -> Card:
    """Reads the content of `card.json`. Raises CardError."""
    try:
        return msgspec.json.decode(content, type=Card)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CardError(f"no model card: {error}") from error


def card_bytes(card: Card) -> bytes:
    """The content of `card.json`."""
    return msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n"
