"""Measured frames that other groups published, for evaluations. None is part of the project."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  # registers the filters of compressed images
import numpy as np
from numpy.typing import NDArray

SEEN_BEFORE = (
    "no network learned from it, but the kinds of simulated scenes were chosen with ruby and ceria frames in view"
)
"""What an evaluation says beside figures of `peaks` on the frames here: of ruby 31, at `linspace(0, 1439, 31)`, and the
one powder frame, which is not held out at all."""

RUBY_FILES = "ruby_hedm/ruby_ff1.npz", "ruby_hedm/ruby_ff1_spots.h5"
CERIA_FILE = "powder_ceria/ceria_pilatus2m.hdf5"

RUBY_CUT = 150
"""Pixels of the ruby frames up to this many counts are zero in the file."""

COLUMNS = 9
"""Of HEXRD's list, as found by holding all 5,046 entries against the frames: 0, 1 row and column of the centroid; 2 the
longer side of the box, px (not the area); 3 to 6 the box, first row, first column, end row, end column; 7 the brightest
pixel and 8 the sum of the counts in the box. A frame without spots has no entry."""


@dataclass(frozen=True)
class RubyFrame:
    """One frame and HEXRD's list of its spots; components of a single pixel are not in the list."""

    image: NDArray[np.uint16]  # [3888, 3072], 0 up to `RUBY_CUT`
    places: NDArray[np.float64]  # [n, 2] row, column
    length: NDArray[np.int64]  # [n] longer side of a spot's box, px
    pixels: NDArray[np.int64]  # [n] pixels above the cut in the box


def ruby_frames(folder: Path, count: int) -> Iterator[RubyFrame]:
    """The middle frames of `count` equal parts of the scan `ruby_hedm/ruby_ff1.npz`."""
    with (
        np.load(folder / RUBY_FILES[0], allow_pickle=False) as cache,
        h5py.File(folder / RUBY_FILES[1]) as lists,
    ):
        shape = tuple(int(length) for length in cache["shape"])
        for index in ((np.arange(count) + 0.5) * int(cache["nframes"]) / count).astype(int):
            image = np.zeros(shape, dtype=np.uint16)
            image[cache[f"{index}_row"], cache[f"{index}_col"]] = cache[f"{index}_data"]
            table = np.asarray(lists[f"ff1/{index}"]).reshape(-1, COLUMNS)  # pyright: ignore[reportIndexIssue]
            boxes = table[:, 3:7].astype(int)
            pixels = [np.count_nonzero(image[top:end, left:right]) for top, left, end, right in boxes]
            yield RubyFrame(image, table[:, :2], table[:, 2].astype(np.int64), np.array(pixels, dtype=np.int64))


CERIA_CENTRE = 795.0, 773.0
"""Row and column of the rings' centre in the powder frame, read off the picture to some two pixels."""


def ceria_frame(folder: Path) -> NDArray[np.uint16]:
    """The powder frame `powder_ceria/ceria_pilatus2m.hdf5`, its negative flags as 65535."""
    with h5py.File(folder / CERIA_FILE) as file:
        image = np.asarray(file["imageseries/images"][0])  # pyright: ignore[reportIndexIssue]
    return np.where(image < 0, 65535, np.minimum(image, 65533)).astype(np.uint16)
