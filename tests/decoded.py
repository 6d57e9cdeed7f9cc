"""Images of frames as they came over the wire."""

from typing import Any

import numpy as np

from streams.codecs.compression import decompress_into
from streams.messages import Frame


def pixels(frame: Frame) -> np.ndarray[Any, Any]:
    """The image [height, width] of `frame`, little-endian."""
    dtype = np.dtype(frame.dtype)
    out = np.zeros(frame.shape[0] * frame.shape[1] * dtype.itemsize, np.uint8)
    decompress_into(frame, out)
    return out.view(dtype.newbyteorder("<")).reshape(frame.shape)
