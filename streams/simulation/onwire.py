"""One message that a simulated detector sends, with the truth about it."""

from typing import Literal, TypeAlias

import msgspec

from streams.messages import Part

Place: TypeAlias = tuple[int, int, int]
"""(part, start, stop): where the pixels of a message lie."""


class OnWire(msgspec.Struct, frozen=True, gc=False):
    """One message, and the truth about it. `image_id` is None for those that open and close the series."""

    parts: list[Part]
    image_id: int | None = None  # of its first image
    images: int = 1  # in it
    kind: Literal["", "start", "image", "end"] = ""
    series: int = 0  # which one of this sender, from 0
    delay_s: float = 0.0  # how long it waits
    damage: Literal["", "truncated", "pixels", "header"] = ""
    repeat: bool = False  # it was sent before
    empty: bool = False  # it says that there are no images with its ids
    pixels: tuple[Place, ...] = ()  # where they lie, if known


def is_image(message: OnWire | None) -> bool:
    """Whether it holds images."""
    return message is not None and message.image_id is not None
