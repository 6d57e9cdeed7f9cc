"""Flags: the pixel values that stand for no count, by the pixel type of the frame.

DECTRIS detectors write 2**N - 1 into gaps and masked pixels and 2**N - 2 into bad ones (SIMPLON API, "pixel mask").
With 32 bits everything from 2**31 on is a flag: Pilatus files are int32 and flag with -1 and -2, whose bytes are the
same.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.models.spec import SENTINELS


class Flags(msgspec.Struct, frozen=True):
    """The flags of one pixel type, as unsigned numbers."""

    dtype: str  # numpy name of the unsigned type that the pixels are handled as: "uint16"
    gap: int  # there is no pixel
    bad: int  # there is one that cannot be trusted
    first: int  # values from here on are flags

    @property
    def largest(self) -> int:
        """The largest count."""
        return self.first - 1


def flags_of(dtype: str) -> Flags:
    """The flags of frames of a numpy type: "<u2", "uint8", "int32".

    Raises:
        ValueError: the pixels are neither unsigned integers of 8, 16 or 32 bits nor int32.
    """
    kind = np.dtype(dtype)
    if kind.itemsize not in SENTINELS or (kind.kind != "u" and kind.name != "int32"):
        raise ValueError(f"pixels of type {kind.name} hold no counts; there are uint8, uint16, uint32 and int32")
    top = 1 << 8 * kind.itemsize
    return Flags(f"uint{8 * kind.itemsize}", top - 1, top - 2, int(SENTINELS[kind.itemsize]))


def as_counts(raw: NDArray[np.uint8], flags: Flags) -> NDArray[np.unsignedinteger]:
    """Bytes of an image, flat, as its unsigned pixels, flat: a view. Little-endian, as they lie in slots."""
    return raw.view(np.dtype(flags.dtype).newbyteorder("<"))
