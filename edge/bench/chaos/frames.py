"""Pictures that the detector of the bench sends: measured ones where they are at hand, else simulated ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.models.identity import checksum
from edge.scanfiles import open_scan

MEASURED = Path("siemens_star/siemens-star-small.npz.bz2")
PICTURES = 96
SHAPE = (128, 128)
ENLARGED = 2
LARGE = 8
MEAN_COUNTS = 5e5


class Shown(NamedTuple):
    """What is sent over and over, and what a result has to say of each."""

    images: Sequence[NDArray[np.uint16]]
    checksums: Sequence[tuple[int, int]]  # by the model `identity`

    def checksum(self, image_id: int) -> tuple[int, int]:
        """Of an image of a series."""
        return self.checksums[image_id % len(self.checksums)]


class Pictures(NamedTuple):
    """As they are, and enlarged: larger frames need more memory everywhere."""

    origin: str  # for people
    plain: Shown
    large: Shown


def pictures(data: Path | None, count: int = PICTURES) -> Pictures:
    """Measured diffraction patterns from the folder `data`, or simulated ones where it is None or holds none."""
    file = data / MEASURED if data is not None else None
    if file is not None and file.exists():
        with open_scan(file) as scan:
            images = [np.ascontiguousarray(scan.frame(at), np.uint16) for at in range(min(count, scan.count))]
        origin = f"{len(images)} measured frames of {MEASURED.parent.name}"
    else:
        images = [_simulated(at) for at in range(count)]
        origin = f"{len(images)} simulated frames: EDGE_DATA names no folder with {MEASURED}"
    large = [np.kron(image, np.ones((ENLARGED, ENLARGED), np.uint16)) for image in images[:LARGE]]
    return Pictures(origin, _shown(images), _shown(large))


def _shown(images: list[NDArray[np.uint16]]) -> Shown:
    return Shown(images, [_checksum(image) for image in images])


def _checksum(image: NDArray[np.uint16]) -> tuple[int, int]:
    first, second = map(int, checksum(image))
    return first, second


def _simulated(number: int) -> NDArray[np.uint16]:
    """A bright middle with speckles."""
    dice = np.random.default_rng(number)
    rows, columns = np.indices(SHAPE) - np.reshape(SHAPE, (2, 1, 1)) / 2
    envelope = np.exp(-np.hypot(rows, columns) / 12) * dice.exponential(1.0, SHAPE)
    return dice.poisson(envelope / envelope.sum() * MEAN_COUNTS).astype(np.uint16)
