"""`peaks`: the Bragg spots of one frame, where they are and how bright.

* In: any number of rows and columns, photon counts (or what is proportional to them). Flagged pixels are not looked at,
  and neither are single pixels far above all their neighbours.
* Out: up to `MOST_PEAKS` spots, the surest first; `count` says how many, zeros follow. `row` and `column` are in
  pixels from the centre of the first pixel. `probability` is that of a spot within two pixels, not of a correct
  intensity: of those listed at 0.8 four in five are spots.
* What is listed is what the frame as a whole makes likely, so that the expected F1 is greatest: from 0.5 upwards where
  most spots are plain, down to `THRESHOLD` where most are faint. Choose your own limit above that.
* `intensity` is the sum of an 11 x 11 aperture less the background around, `intensity_sigma` its standard deviation
  by counting statistics. A pixel in several apertures belongs to the nearest spot, so that the sum over all spots
  counts each photon once. Spots wider than a deviation of two pixels lose what lies outside the aperture.
* What is no photon counter has other noise: `intensity_sigma` then is that of the same numbers counted.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.models.spec import ANY, ModelSpec, TensorSpec

MOST_PEAKS = 384
THRESHOLD = 0.1
"""Least probability of what is listed."""

APERTURE_PX = 11

LEAST_VARIANCE = 1.0
"""Of a frame's summed intensity, counts squared: where no photon was counted, one might have been."""

SPEC = ModelSpec(
    name="peaks",
    frame_shape=(ANY, ANY),
    outputs=(
        TensorSpec("count", "int32", (1,), "1"),
        TensorSpec("row", "float32", (MOST_PEAKS,), "px"),
        TensorSpec("column", "float32", (MOST_PEAKS,), "px"),
        TensorSpec("intensity", "float32", (MOST_PEAKS,), "counts"),
        TensorSpec("intensity_sigma", "float32", (MOST_PEAKS,), "counts"),
        TensorSpec("probability", "float32", (MOST_PEAKS,), "1"),
    ),
    max_batch=16,
)


def bragg_intensity(arrays: Mapping[str, NDArray[Any]]) -> tuple[float, float]:
    """Sum of the intensities of all spots of one frame in counts, and its variance in counts squared.

    The variance is `LEAST_VARIANCE` at least: that nothing was found in a frame does not mean that nothing is there.

    `arrays` are the model's outputs for that frame, with or without a batch axis of one. Raises ValueError for more
    than one frame, and KeyError where an output is missing.
    """
    count = np.ravel(arrays["count"])
    if count.shape != (1,):
        raise ValueError(f"count is {np.shape(arrays['count'])}: give the outputs of one frame")
    intensity, sigma = (np.ravel(arrays[name])[: int(count[0])] for name in ("intensity", "intensity_sigma"))
    variance = float(np.sum(np.square(sigma, dtype=np.float64)))
    return float(np.sum(intensity, dtype=np.float64)), max(variance, LEAST_VARIANCE)
