"""The finders that are compared, each as image -> what it found, and the frames of the comparison."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from edge.models.spec import SENTINELS
from edge.physics.arrays import Bool, Float
from edge.physics.peak_judging import Found, Tally, tally
from edge.physics.spots import Kind, SpotFrame, random_spots

RATIOS = (3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 25.0, 50.0, 100.0)
SHAPE = (1024, 1024)
PER_MEGAPIXEL = 200.0
FILTER_SIGMA_PX, FILTER_LIMIT = 1.3, 5.0

AROUND_PX, HIDDEN = 7, 0.2
"""A spot with this share of flagged pixels in the square around it counts neither way."""


def model_found(outputs: dict[str, NDArray[Any]]) -> Found:
    """The spots in the model's outputs; a score is the probability."""
    count = int(outputs["count"][0])
    places = np.stack([outputs["row"][:count], outputs["column"][:count]], axis=1).astype(np.float64)
    return Found(places, outputs["probability"][:count].astype(np.float64))


def good_pixels(image: NDArray[np.uint16]) -> Bool:
    """Where the image [height, width] holds counts and no flag."""
    return image < SENTINELS[2]


def matched_filter(image: NDArray[np.uint16]) -> Found:
    """Local maxima of the smoothed, stabilised image, five deviations above its surroundings; a score is those."""
    good = good_pixels(image)
    root = 2 * np.sqrt(np.where(good, image, 0) + 0.375)
    weight = np.maximum(ndimage.uniform_filter(good.astype(float), 21), 1e-6)
    flat = np.where(good, root - ndimage.uniform_filter(np.where(good, root, 0), 21) / weight, 0)
    smooth = ndimage.gaussian_filter(flat, FILTER_SIGMA_PX)
    noise = max(1.4826 * float(np.median(np.abs(smooth[good] - np.median(smooth[good])))), 1e-3)
    peak = np.argwhere((ndimage.maximum_filter(smooth, 5) == smooth) & (smooth > FILTER_LIMIT * noise))
    return Found(peak.astype(np.float64), smooth[peak[:, 0], peak[:, 1]] / noise)


def sweep_kind(ratio: float, overlapping: float = 0.0) -> Kind:
    """Frames of a photon counter whose spots all have one signal-to-noise ratio."""
    return Kind(
        background=(0.05, 30.0),
        signal_to_noise=(ratio, ratio),
        sigma_px=(0.8, 2.5),
        per_megapixel=(PER_MEGAPIXEL, PER_MEGAPIXEL),
        overlapping=overlapping,
        integrating=0.0,
        thresholded=0.0,
    )


def frames(kind: Kind, count: int, seed: tuple[int, ...]) -> Iterator[SpotFrame]:
    """`count` frames of `SHAPE`."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield random_spots(SHAPE, kind, rng)


def truth(frame: SpotFrame) -> tuple[Float, Float]:
    """Spots whose surroundings are on good pixels, and those that are partly hidden; [n, 2] each."""
    where = np.stack([frame.spots.row, frame.spots.col], axis=1)
    half = AROUND_PX // 2
    bad = np.pad((~good_pixels(frame.image)).astype(float), half, constant_values=1.0)
    near = [bad[row : row + AROUND_PX, col : col + AROUND_PX] for row, col in np.rint(where).astype(int)]
    cover = np.array([one.mean() for one in near])
    return where[cover < HIDDEN], where[cover >= HIDDEN]


def judged(found: Found, frame: SpotFrame) -> Tally:
    """Held against what was drawn."""
    return tally(found.places, *truth(frame))
