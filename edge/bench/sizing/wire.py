"""Messages of a detector that sends as fast as it can: nothing is encoded while it sends.

A small message is made from a template: the encoder's own bytes of an image whose id takes as many bytes, with the id
put in its place. So ids are all different though nothing is compressed or copied for them; the detector's times repeat.
A large one is encoded beforehand, because libzmq is to send it from where it lies.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.codecs import ENCODERS
from streams.messages import DEFAULT_CHANNEL, Acquisition, Compression, Encoder, Part

SMALL = 1 << 20
"""Bytes of an image from which on its messages are encoded beforehand."""

PICTURES = 13
"""Different images of small messages: the one of an id is `id % PICTURES`, so that neighbours in a batch differ."""

FIRST_ARMED = datetime(2026, 1, 1, tzinfo=UTC)
KEY = b"\x68image_id"
"""The text of eight letters as CBOR has it."""


class Case(msgspec.Struct, frozen=True):
    """What a detector sends."""

    protocol: str  # "simplon-v1" or "stream-v2"
    shape: tuple[int, int]  # (height, width)
    dtype: str = "uint16"
    compression: Compression = Compression.NONE
    images: int = 1000  # of a series
    mean: float = 3.0  # photons a pixel

    @property
    def nbytes(self) -> int:
        """Of one image."""
        return self.shape[0] * self.shape[1] * np.dtype(self.dtype).itemsize

    @property
    def small(self) -> bool:
        """Whether messages are made from templates."""
        return self.nbytes < SMALL and self.compression is Compression.NONE

    def picture(self, image_id: int) -> NDArray[np.unsignedinteger]:
        """The image of an id: Poisson counts [height, width]."""
        return np.random.default_rng(self.number_of(image_id)).poisson(self.mean, self.shape).astype(self.dtype)

    def number_of(self, image_id: int) -> int:
        """Which of the different pictures it is."""
        return image_id % PICTURES if self.small else 0

    def acquisition(self, number: int) -> Acquisition:
        """Series `number`."""
        date = (FIRST_ARMED + timedelta(seconds=number)).isoformat()
        return Acquisition(
            number, f"sizing-{number}", date, self.images, self.shape, self.dtype, compression=self.compression
        )


@dataclass(frozen=True)
class SeriesMessages:
    """One series, ready to be sent."""

    start: Sequence[list[Part]]
    image: Callable[[int], list[Part]]  # by id; the parts are good until the next one is asked for
    end: Sequence[list[Part]]
    reused: bool  # the parts of an image are written over for the next one

    def all(self, images: int) -> Iterator[list[Part]]:
        """In the order of a detector."""
        yield from self.start
        yield from map(self.image, range(images))
        yield from self.end


class Maker:
    """Makes series of one case; what they share is made once."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._pictures = [case.picture(number) for number in range(PICTURES if case.small else 1)]

    def series(self, number: int) -> SeriesMessages:
        """Series `number`, all of it."""
        case = self._case
        encoder = ENCODERS[case.protocol](case.acquisition(number))
        if case.small:
            made = _v1_images if case.protocol == "simplon-v1" else _v2_images
            image = made(encoder, self._pictures)
        else:
            (picture,) = self._pictures
            beforehand = [encoder.image(at, {DEFAULT_CHANNEL: picture}) for at in range(case.images)]
            image = beforehand.__getitem__
        return SeriesMessages(encoder.start(), image, encoder.end(), reused=case.small)


def changing(series: SeriesMessages, other: SeriesMessages, at: int) -> SeriesMessages:
    """`series`, but from image `at` on its images are those of `other`."""

    def image(image_id: int) -> list[Part]:
        return (series if image_id < at else other).image(image_id)

    return SeriesMessages(series.start, image, series.end, series.reused or other.reused)


def damaging(series: SeriesMessages, every: int) -> SeriesMessages:
    """`series`, but the last part of each message of image `every`, 2 x `every`, ... is cut short."""

    def image(image_id: int) -> list[Part]:
        parts = series.image(image_id)
        if image_id and image_id % every == 0:
            parts = [*parts[:-1], parts[-1][: len(parts[-1]) // 2]]
        return parts

    return SeriesMessages(series.start, image, series.end, series.reused)


def _v1_images(encoder: Encoder, pictures: Sequence[NDArray[np.unsignedinteger]]) -> Callable[[int], list[Part]]:
    """SIMPLON v1: the first part names the image, a JSON object of our own writing."""
    made: list[tuple[bytes, bytes, list[Part]]] = []
    for number, picture in enumerate(pictures):
        head, *rest = encoder.image(number, {DEFAULT_CHANNEL: picture})
        before, found, after = bytes(head).partition(b'"frame":%d' % number)
        assert found
        made.append((before + b'"frame":', after, rest))

    def image(image_id: int) -> list[Part]:
        before, after, rest = made[image_id % len(made)]
        return [b"%b%d%b" % (before, image_id, after), *rest]

    return image


def _v2_images(encoder: Encoder, pictures: Sequence[NDArray[np.unsignedinteger]]) -> Callable[[int], list[Part]]:
    """Stream V2: the id is a CBOR integer of 1, 2, 3 or 5 bytes, one template for each of them and each picture."""
    made: dict[tuple[int, int], tuple[bytearray, int]] = {}

    def image(image_id: int) -> list[Part]:
        width, at = _cbor_width(image_id), image_id % len(pictures)
        template = made.get((at, width))
        if template is None:
            encoded = bytearray(encoder.image(image_id, {DEFAULT_CHANNEL: pictures[at]})[0])
            template = made[at, width] = (encoded, encoded.rindex(KEY) + len(KEY))
        whole, place = template
        if width:
            whole[place + 1 : place + 1 + width] = image_id.to_bytes(width, "big")
        else:
            whole[place] = image_id
        return [whole]  # pyright: ignore[reportReturnType]

    return image


def _cbor_width(value: int) -> int:
    """Bytes that follow the first one of an unsigned integer (RFC 8949, 3.1)."""
    return 0 if value < 24 else 1 if value < 1 << 8 else 2 if value < 1 << 16 else 4
