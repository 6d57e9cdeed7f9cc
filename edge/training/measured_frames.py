"""Measured frames that other groups published, for evaluations. None is part of the project."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  # registers the filters of compressed images
import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Float

LEAST_AREA_PX = 4
"""Entries of HEXRD's list with fewer pixels above the threshold are noise and hot pixels as often as spots."""

COLUMNS = 9
"""Of the list: row, column, area in pixels, then a bounding box and intensities. A frame without spots has none."""


def ruby_frames(folder: Path, count: int) -> Iterator[tuple[NDArray[np.uint16], Float, Float]]:
    """`count` frames of `ruby_hedm/ruby_ff1.npz`, evenly over the scan, each with its spots [n, 2] and those of which
    one cannot be sure [m, 2]: HEXRD's list, by area. Pixels up to 150 counts are zero in the file."""
    with (
        np.load(folder / "ruby_hedm" / "ruby_ff1.npz", allow_pickle=False) as cache,
        h5py.File(folder / "ruby_hedm" / "ruby_ff1_spots.h5") as lists,
    ):
        shape = tuple(int(length) for length in cache["shape"])
        for index in np.linspace(0, int(cache["nframes"]) - 1, count).astype(int):
            image = np.zeros(shape, dtype=np.uint16)
            image[cache[f"{index}_row"], cache[f"{index}_col"]] = cache[f"{index}_data"]
            table = np.asarray(lists[f"ff1/{index}"]).reshape(-1, COLUMNS)[:, :3]  # pyright: ignore[reportIndexIssue]
            sure = table[:, 2] >= LEAST_AREA_PX
            yield image, table[sure, :2], table[~sure, :2]


CERIA_CENTRE = 795.0, 773.0
"""Row and column of the rings' centre in the powder frame, read off the picture to some two pixels."""


def ceria_frame(folder: Path) -> NDArray[np.uint16]:
    """The powder frame `powder_ceria/ceria_pilatus2m.hdf5`, its negative flags as 65535."""
    with h5py.File(folder / "powder_ceria" / "ceria_pilatus2m.hdf5") as file:
        image = np.asarray(file["imageseries/images"][0])  # pyright: ignore[reportIndexIssue]
    return np.where(image < 0, 65535, np.minimum(image, 65533)).astype(np.uint16)
