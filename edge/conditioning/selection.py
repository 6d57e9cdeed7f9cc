"""What part of an image a route takes: a region of interest, and pixels summed."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.conditioning.flags import Flags

MAX_BINNING = 64


class Selection(msgspec.Struct, frozen=True):
    """A region of the conditioned image, then `binning` x `binning` pixels summed to one.

    Rows and columns that do not fill a binned pixel are left out at the far edges.
    """

    region: tuple[int, int, int, int] | None = None  # first row, first column, height, width; None: all of it
    binning: int = 1

    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of what is selected of an image of `shape`."""
        height, width = shape if self.region is None else self.region[2:]
        return height // self.binning, width // self.binning

    def refusal(self, shape: tuple[int, int]) -> str | None:
        """Why nothing can be selected of an image of `shape`; None where it can."""
        if self.region is not None:
            row, column, height, width = self.region
            if row + height > shape[0] or column + width > shape[1]:
                return (
                    f"region {list(self.region)} (row, column, height, width) reaches beyond the image of "
                    f"{shape[0]} x {shape[1]}; it is counted after assembly and orientation"
                )
        if 0 in self.shape(shape):
            return f"binning {self.binning} leaves nothing of an image of {shape[0]} x {shape[1]}"
        return None

    def point(self, point: tuple[float, float]) -> tuple[float, float]:
        """Where (x, y) of the image lies in what is selected; pixel (0, 0) covers 0 to 1 in both."""
        row, column = (0, 0) if self.region is None else self.region[:2]
        return (point[0] - column) / self.binning, (point[1] - row) / self.binning


WHOLE = Selection()
"""The image as it is: no copy."""


class Selector:
    """Copies what one selection takes out of images of one shape.

    Args:
        selection: which `refusal` does not refuse for `shape`.
        shape: (height, width) of the images.
        flags: of their pixels.
    """

    def __init__(self, selection: Selection, shape: tuple[int, int], flags: Flags) -> None:
        self.shape = selection.shape(shape)
        height, width = self.shape
        row, column = (0, 0) if selection.region is None else selection.region[:2]
        self._rows = slice(row, row + height * selection.binning)
        self._columns = slice(column, column + width * selection.binning)
        self._binning = selection.binning
        self.flags = flags
        if self._binning > 1:
            wide = np.uint64 if np.dtype(flags.dtype).itemsize == 4 else np.uint32
            across = width * selection.binning
            self._row_sum, self._row_largest = np.empty((height, across), wide), np.empty((height, across), flags.dtype)
            self._sum, self._largest = np.empty(self.shape, wide), np.empty(self.shape, flags.dtype)
            self._flagged = np.empty(self.shape, np.bool_)

    def copy(self, image: NDArray[Any], out: NDArray[Any]) -> None:
        """Write what is selected of `image` [height, width] into `out`, whose shape is `self.shape`.

        A binned pixel is the sum of its pixels, at most the largest count; where one of them is a flag it is flagged
        bad: a sum without one of its pixels would look like fewer photons.
        """
        part = image[self._rows, self._columns]
        if self._binning == 1:
            np.copyto(out, part)
            return
        step = self._binning
        rows = [part[down::step] for down in range(step)]
        _add(rows, self._row_sum)  # along the rows first: they lie in one piece
        _greatest(rows, self._row_largest)
        _add([self._row_sum[:, right::step] for right in range(step)], self._sum)
        _greatest([self._row_largest[:, right::step] for right in range(step)], self._largest)
        np.greater_equal(self._largest, self.flags.first, out=self._flagged)
        np.minimum(self._sum, self.flags.largest, out=self._sum)
        np.copyto(out, self._sum, casting="unsafe")
        np.copyto(out, self.flags.bad, where=self._flagged)


def _add(parts: list[NDArray[Any]], out: NDArray[Any]) -> None:
    np.copyto(out, parts[0])
    for part in parts[1:]:
        np.add(out, part, out=out)


def _greatest(parts: list[NDArray[Any]], out: NDArray[Any]) -> None:
    np.copyto(out, parts[0])
    for part in parts[1:]:
        np.maximum(out, part, out=out)
