"""`identity`: two checksums of the image. Tells whether bytes arrived whole and in place, at any frame size.

With p = 2**31 - 1 and x the bytes of the image as [height, width x itemsize], the checksums are
    sum over rows r of (r + 1) x (sum of row r), modulo p, and
    sum over byte columns c of (c + 1) x (sum of column c), modulo p.
A swap of two unlike pixels or rows changes at least one of them; a plain sum would not notice. The graph adds bytes
up in float32, which is exact while no row or column sums to 2**24 or more: up to `LONGEST` bytes in a row and as many
rows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.models.spec import ANY, ModelSpec, TensorSpec

MODULUS = 2**31 - 1

LONGEST = 2**24 // 255
"""Largest height, and largest width x itemsize, for which the graph is exact: 65 793."""

SPEC = ModelSpec(
    name="identity",
    frame_shape=(ANY, ANY),
    outputs=(TensorSpec("checksum", "int32", (2,), "1"),),
    max_batch=64,
)


def checksum(image: NDArray[Any]) -> NDArray[np.int32]:
    """The checksums int32 [2] of an image [height, width] of any integer type, as the model computes them."""
    height, width = image.shape
    little = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<"))
    rows = little.view(np.uint8).reshape(height, width * image.dtype.itemsize).astype(np.int64)
    sums = (rows.sum(axis=1), rows.sum(axis=0))
    # (r + 1) x sum stays below 2**41, and so each total below 2**57: no overflow before the modulus.
    return np.array([np.sum(np.arange(1, len(one) + 1) * one) % MODULUS for one in sums], dtype=np.int32)
