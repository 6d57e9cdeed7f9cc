"""The flat field: counts times a factor a pixel, as counts again.

A count never becomes a flag (it stops at the largest count), and a flag never becomes a count.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.flags import Flags

ABSURD = 1e6
"""A factor that no pixel has."""

BLOCK = 65536
"""Pixels that go through at a time: what lies in between stays in the processor's cache."""


class FlatField:
    """Multiplies images by factors.

    Args:
        factors: any shape, read in C order; where not positive or not finite, `unusable` masks the pixel.
        flags: of the frames.
    """

    def __init__(self, factors: NDArray[Any], flags: Flags) -> None:
        # a float32 holds 16-bit counts exactly, but not 32-bit ones
        kind = np.float32 if np.dtype(flags.dtype).itemsize < 4 else np.float64
        self._factors = np.where(_usable(factors), factors, 0).astype(kind).reshape(-1)
        self._flags = flags
        self._kind = kind
        # numpy is fastest with arrays of one type on both sides, without `where`
        self._largest = np.full(BLOCK, flags.largest, kind)

    def apply(self, counts: NDArray[np.unsignedinteger]) -> None:
        """Correct an image in place, rounded to the nearest count; `counts` is flat. Several threads may at once."""
        products = np.empty(BLOCK, self._kind)
        results, flags = np.empty(BLOCK, self._flags.dtype), np.empty(BLOCK, np.bool_)
        for start in range(0, counts.size, BLOCK):
            part = counts[start : start + BLOCK]
            size = part.size
            product, corrected, flagged = products[:size], results[:size], flags[:size]
            np.copyto(product, part)
            np.multiply(product, self._factors[start : start + BLOCK], out=product)
            np.rint(product, out=product)
            np.minimum(product, self._largest[:size], out=product)
            np.copyto(corrected, product, casting="unsafe")
            np.greater_equal(part, self._flags.first, out=flagged)
            np.copyto(corrected, part, where=flagged)
            np.copyto(part, corrected)


def unusable(factors: NDArray[Any]) -> NDArray[np.uint32]:
    """The mask of the pixels that have no factor, in the shape of `factors`: 2, a bad pixel."""
    return np.where(_usable(factors), 0, 2).astype(np.uint32)


def _usable(factors: NDArray[Any]) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        return (factors > 0) & (factors < ABSURD)  # false where not finite
