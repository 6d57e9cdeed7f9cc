"""The pixel mask: which pixels are flagged whatever they counted.

Bits of a mask's value (SIMPLON API 1.8 and NeXus NXdetector, "pixel_mask"): 0 a good pixel; bit 0 a gap, where there is
no sensor; any other bit (dead, under- or over-responding, noisy, ...) a bad pixel.
"""

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.flags import Flags

GAP_BIT = 1


class PixelMask:
    """Writes flags where a mask says so.

    Args:
        mask: integers or truth values, 0 a good pixel; any shape, read in C order.
        flags: of the frames.

    Only the masked pixels are touched: they are few, so this costs less than a pass over the image.
    """

    def __init__(self, mask: NDArray[Any], flags: Flags) -> None:
        values = mask.reshape(-1)
        gaps = (values.astype(np.uint32) & GAP_BIT) != 0
        self._gaps = np.flatnonzero(gaps)
        self._bad = np.flatnonzero((values != 0) & ~gaps)
        self._flags = flags

    def __len__(self) -> int:
        """How many pixels are masked."""
        return self._gaps.size + self._bad.size

    def apply(self, counts: NDArray[np.unsignedinteger]) -> None:
        """Flag the masked pixels of an image in place; `counts` is flat."""
        counts[self._gaps] = self._flags.gap
        counts[self._bad] = self._flags.bad


def joined(*masks: NDArray[Any] | None) -> NDArray[np.uint32] | None:
    """The bits of all masks, None being none; masks that are given must be of one shape.

    What is not 0 in a mask of floating-point numbers is a bad pixel.
    """
    given = [np.where(mask != 0, 2, 0) if mask.dtype.kind == "f" else mask for mask in masks if mask is not None]
    return reduce(np.bitwise_or, [mask.astype(np.uint32) for mask in given]) if given else None


def already_applied(header: Mapping[str, Any], correction: str) -> bool:
    """Whether a detector says that it applied "pixel_mask" or "flatfield" itself (SIMPLON v1 and Stream V2 names)."""
    names = (f"{correction}_applied", f"{correction}_enabled", f"{correction}_correction_applied")
    return any(bool(header.get(name, False)) for name in names)
