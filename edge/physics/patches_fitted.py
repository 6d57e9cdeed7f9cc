"""What else one can do to find a spot in a patch: the brightest pixel, a centre of mass, a parabola, a profile fit.

All take patches of counts [n, 11, 11], not-a-number where nothing is known, and give rows and columns [n, 2] in pixels
from the centre of the first pixel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from edge.models.bragg import PATCH_PX
from edge.physics.arrays import Bool, Float
from edge.physics.patches import FLAG, MIDDLE, Profile, sampled

REACH_PX = 2
"""The brightest pixel is looked for within this of the middle."""

WIDEST_PX = 8.0
PARAMETERS = 8
MOST_CALLS = 200


@dataclass(frozen=True)
class Fitted:
    """Pseudo-Voigt profiles fitted to patches; arrays with a first axis of length n."""

    profile: Profile
    top: NDArray[np.float64]
    background: NDArray[np.float64]  # counts a pixel

    @property
    def centre(self) -> NDArray[np.float64]:
        """Rows and columns [n, 2]."""
        return np.stack([self.profile.row, self.profile.column], axis=1)

    @property
    def intensity(self) -> NDArray[np.float64]:
        """Counts in the patch without the background [n]."""
        return self.top * sampled(self.profile).sum(axis=(1, 2))


def known_counts(images: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Counts of uint16 patches, not-a-number where a pixel is flagged."""
    counts = images.astype(np.float64)
    counts[images >= FLAG - 1] = np.nan
    return counts


def brightest_pixel(counts: Float) -> NDArray[np.float64]:
    """The brightest pixel near the middle."""
    low, side = MIDDLE - REACH_PX, 2 * REACH_PX + 1
    near = np.nan_to_num(counts[:, low : low + side, low : low + side], nan=-1.0).reshape(len(counts), -1)
    return np.stack(np.divmod(near.argmax(axis=1), side), axis=1).astype(np.float64) + low


def centre_of_mass(counts: Float, size: int = 7) -> NDArray[np.float64]:
    """The centre of mass of what is above the border's median, in a square of `size` around the brightest pixel."""
    edge = np.ones((PATCH_PX, PATCH_PX), dtype=bool)
    edge[1:-1, 1:-1] = False
    border = np.ma.masked_invalid(counts[:, edge])
    level = np.ma.filled(np.ma.median(border, axis=1), 0.0)
    weight = np.nan_to_num(counts - level[:, None, None]).clip(min=0)
    places = np.arange(PATCH_PX, dtype=np.float64)
    top = brightest_pixel(counts)
    inside = [np.abs(places[None, :] - top[:, axis, None]) <= size // 2 for axis in (0, 1)]
    weight = weight * inside[0][:, :, None] * inside[1][:, None, :]
    total = np.maximum(weight.sum(axis=(1, 2)), 1e-9)
    down, right = weight.sum(axis=2) @ places, weight.sum(axis=1) @ places
    return np.stack([down, right], axis=1) / total[:, None]


def log_parabola(counts: Float) -> NDArray[np.float64]:
    """The top of parabolas through the logarithms of the brightest pixel and its neighbours, axis by axis."""
    brightest = brightest_pixel(counts)
    top = brightest.astype(np.intp)
    logs = np.log(np.maximum(np.nan_to_num(counts), 1.0))
    every = np.arange(len(counts))
    offset = np.zeros((len(counts), 2))
    for axis in (0, 1):
        step = np.eye(2, dtype=int)[axis]
        before, at, after = (logs[every, *(top + move * step).T] for move in (-1, 0, 1))
        bend = before - 2 * at + after
        offset[:, axis] = np.where(bend < -1e-9, 0.5 * (before - after) / np.minimum(bend, -1e-9), 0.0)
    return brightest + offset.clip(-1, 1)


def pseudo_voigt_fit(counts: Float, known: Bool, weighted: bool, background: tuple[float, float]) -> Fitted:
    """Least squares, patch by patch, over the pixels `known` [n, 11, 11], with the background a pixel in given limits.

    `weighted`: by the counts' own variance; otherwise all pixels count the same. Takes tens of milliseconds a patch.
    """
    start = brightest_pixel(counts)
    found = np.array(
        [_fit(*each, weighted, background) for each in zip(np.nan_to_num(counts), known, start, strict=True)]
    )
    top, row, column, along, across, angle, mixing, level = found.reshape(-1, PARAMETERS).T
    return Fitted(Profile(row, column, along, across, angle, mixing), top, level)


def _fit(counts: Float, known: Bool, start: Float, weighted: bool, background: tuple[float, float]) -> Float:
    if known.sum() < PARAMETERS:
        return np.array([0.0, *start, 1.0, 1.0, 0.0, 0.0, background[0]])
    inverse = 1 / np.sqrt(counts + 1) if weighted else np.ones_like(counts)
    top = max(float(counts[known].max(initial=0)), 1.0)
    lowest, highest = background
    first = [top, *start, 1.0, 1.1, 0.0, 0.5, np.clip(np.median(counts[known]) / 2, lowest, highest)]
    least = [0, *(start - 2), 0.3, 0.3, -np.pi, 0, lowest]
    most = [10 * top, *(start + 2), WIDEST_PX, WIDEST_PX, np.pi, 1, highest]

    def wrong(values: Float) -> NDArray[np.float64]:
        top, *profile, level = values
        model = top * sampled(Profile(*(np.array([value]) for value in profile)))[0] + level
        return ((model - counts) * inverse)[known]

    scale = [top, 1, 1, 1, 1, 1, 1, max(0.1 * (highest - lowest), 1.0)]
    return least_squares(wrong, first, bounds=(least, most), x_scale=scale, max_nfev=MOST_CALLS).x
