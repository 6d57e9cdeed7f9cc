"""`bragg`: one Bragg spot in a patch of 11 x 11 pixels, to a fraction of a pixel.

* In: a patch cut around the pixel that a spot finder named (`cut_patches`), photon counts or what is proportional to
  them. Flagged pixels are not looked at; what lies beyond the detector's border is flagged. Pixels below a threshold
  may be zero.
* `row`, `column`: the spot's centre, in pixels from the centre of the patch's first pixel; the spot is the one at the
  patch's middle, whatever stands beside it. `row_sigma`, `column_sigma`: their standard deviations.
* `intensity`: counts of that spot in the patch, without background and neighbours, with what flagged pixels and a
  threshold hide. `intensity_sigma`: its standard deviation. What a spot has outside the patch is not in it.
* `background`: counts a pixel that belong to no spot, a mean over the pixels with little else. In 11 x 11 pixels the
  far wings of a spot look like a background: below a fifth of the spot's own mean it is rough, to a factor of two.
* `pixels`: good pixels in which the spot's counts are three deviations or more of what else is there.
* `saturated`: 1 where the middle of the spot was not counted in full: a pixel beside the brightest is flagged, or holds
  the largest number that is no flag, or three neighbouring pixels or more share the largest value, which is
  `FLAT_FROM` at least. The other numbers then are guesses: the intensity from the flanks alone. A single full pixel
  with nothing beside it is taken for a hot one, not for a spot: `saturated` and `intensity` are 0.
* Standard deviations are those of counted photons. Where a count stands for g photons or a photon for g counts they are
  off by the root of that: a patch does not tell its gain.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.models.spec import ModelSpec, TensorSpec

PATCH_PX = 11

FLAT_FROM = 200.0
"""Counts. Below, neighbouring pixels may well have counted the same number of photons."""

SPEC = ModelSpec(
    name="bragg",
    frame_shape=(PATCH_PX, PATCH_PX),
    outputs=(
        TensorSpec("row", "float32", (1,), "px"),
        TensorSpec("column", "float32", (1,), "px"),
        TensorSpec("row_sigma", "float32", (1,), "px"),
        TensorSpec("column_sigma", "float32", (1,), "px"),
        TensorSpec("intensity", "float32", (1,), "counts"),
        TensorSpec("intensity_sigma", "float32", (1,), "counts"),
        TensorSpec("background", "float32", (1,), "counts"),
        TensorSpec("pixels", "int32", (1,), "1"),
        TensorSpec("saturated", "int32", (1,), "1"),
    ),
    max_batch=512,
)


def cut_patches(
    image: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Patches [n, 11, 11] of `image` [height, width] around places such as the spots of `peaks`, and the corners.

    `rows`, `columns` [n] are pixels from the centre of the first pixel; the nearest pixel becomes the patch's middle.
    The corners int64 [n, 2] are the rows and columns of the patches' first pixels, which may be negative. What lies
    beyond the image is flagged: all bits set (-1 where the type has a sign). Raises ValueError for places outside the
    image, and TypeError for pixels that are no integers of 1, 2 or 4 bytes.
    """
    if image.dtype.kind not in "iu" or image.dtype.itemsize not in SPEC.itemsizes:
        raise TypeError(f"pixels are {image.dtype}: the model takes integers of {SPEC.itemsizes} bytes")
    places = np.stack([np.asarray(rows, np.float64).ravel(), np.asarray(columns, np.float64).ravel()], axis=1)
    # Written so that not-a-number is outside, too.
    inside = ((places >= -0.5) & (places <= np.array(image.shape) - 0.5)).all(axis=1)
    if not inside.all():
        raise ValueError(f"place {tuple(places[~inside][0])} is not in an image of {image.shape}")
    half = PATCH_PX // 2
    flag = -1 if image.dtype.kind == "i" else np.iinfo(image.dtype).max
    wide = np.full((image.shape[0] + 2 * half + 1, image.shape[1] + 2 * half + 1), flag, image.dtype)
    wide[half : -half - 1, half : -half - 1] = image
    first = np.rint(places).astype(np.int64)
    steps = np.arange(PATCH_PX)
    patches = wide[first[:, 0, None, None] + steps[:, None], first[:, 1, None, None] + steps]
    return patches, first - half


def centres(arrays: Mapping[str, NDArray[Any]], corners: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rows and columns [n, 2] of the spots in the image from which `cut_patches` made the patches.

    `arrays` are the model's outputs for a batch of n. Raises KeyError where one is missing, and ValueError where their
    lengths are not that of `corners`.
    """
    found = np.stack([np.ravel(arrays[name]) for name in ("row", "column")], axis=1).astype(np.float64)
    if found.shape != corners.shape:
        raise ValueError(f"{len(found)} answers to {len(corners)} patches")
    return found + corners
