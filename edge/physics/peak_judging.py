"""How well a list of spots agrees with the truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from edge.physics.arrays import Bool, Float

WITHIN_PX = 2.0

NEAR_STEPS = -2, -1, 0, 1, 2
FAR_STEPS = -12, -10, -8, 8, 10, 12
"""Pixels along the radius: on a ring, and beside it."""


@dataclass(frozen=True)
class Found:
    """What was found in one frame."""

    places: NDArray[np.float64]  # [n, 2] row, column
    scores: NDArray[np.float64]  # [n] the higher the surer


@dataclass(frozen=True)
class Tally:
    """Spots of one or many frames."""

    hits: int = 0
    false: int = 0  # said to be spots, and are not
    missed: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.hits + other.hits, self.false + other.false, self.missed + other.missed)

    @property
    def precision(self) -> float:
        """Share of what was found that is true; NaN where nothing was found."""
        return self.hits / (self.hits + self.false) if self.hits + self.false else float("nan")

    @property
    def recall(self) -> float:
        """Share of what is true that was found; NaN where there is nothing to find."""
        return self.hits / (self.hits + self.missed) if self.hits + self.missed else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.hits / max(2 * self.hits + self.false + self.missed, 1)


def pairs(found: Float, truth: Float, within_px: float = WITHIN_PX) -> NDArray[np.intp]:
    """Indices [hits, 2] into `found` [n, 2] and `truth` [m, 2]: each at most once, the closest first."""
    if not len(found) or not len(truth):
        return np.empty((0, 2), dtype=np.intp)
    near = KDTree(found).sparse_distance_matrix(KDTree(truth), within_px, output_type="ndarray")
    chosen: list[tuple[int, int]] = []
    left, right = set(range(len(found))), set(range(len(truth)))
    for one, other, _ in np.sort(near, order="v"):
        if one in left and other in right:
            left.remove(one)
            right.remove(other)
            chosen.append((one, other))
    return np.array(chosen, dtype=np.intp).reshape(-1, 2)


def tally(found: Float, truth: Float, doubtful: Float, within_px: float = WITHIN_PX) -> Tally:
    """Compares `found` [n, 2] with `truth` [m, 2]; what is found at one of the `doubtful` [k, 2] counts neither way."""
    matched = pairs(found, truth, within_px)
    rest = np.delete(found, matched[:, 0], axis=0)
    excused = len(pairs(rest, doubtful, within_px))
    return Tally(len(matched), len(rest) - excused, len(truth) - len(matched))


def deviations(image: Float, good: Bool, places: Float, reach: int = 2, around: int = 6) -> NDArray[np.float64]:
    """How many deviations of counting the squares about the `places` [n, 2] hold above the median of what is around
    them: evidence that something compact is there, whatever it is. Pixels that are not `good` do not count."""
    known = np.pad(np.where(good, image, np.nan).astype(np.float64), around, constant_values=np.nan)
    found = np.zeros(len(places))
    for at, (row, col) in enumerate(np.rint(places).astype(int)):
        window = known[row : row + 2 * around + 1, col : col + 2 * around + 1]
        inner = slice(around - reach, around + reach + 1)
        spot = window[inner, inner]
        beside = window.copy()
        beside[inner, inner] = np.nan
        if np.isfinite(beside).any() and np.isfinite(spot).any():
            level = float(np.nanmedian(beside))
            found[at] = np.nansum(spot - level) / np.sqrt(max(float(np.nansum(spot)), 1.0))
    return found


def on_rings(image: Float, good: Bool, places: Float, centre: tuple[float, float]) -> Bool:
    """Which `places` [n, 2] lie on a powder ring about `centre`: along their arc the image [height, width] is a quarter
    brighter than further in or out. Pixels that are not `good` do not count."""
    known = np.where(good, image, np.nan).astype(np.float64)
    found = []
    for place in places:
        radius = float(np.hypot(*(place - centre)))
        azimuth = float(np.arctan2(*(place - centre)))
        level = {step: _arc(known, centre, (radius, radius + step), azimuth) for step in (*NEAR_STEPS, *FAR_STEPS)}
        near, far = (np.array([level[step] for step in steps]) for steps in (NEAR_STEPS, FAR_STEPS))
        found.append(np.max(near, initial=0, where=~np.isnan(near)) > 1.25 * np.min(far, initial=np.inf, where=far > 0))
    return np.array(found, dtype=bool)


def _arc(image: Float, centre: tuple[float, float], radii: tuple[float, float], azimuth: float) -> float:
    """Median on the arc of the second radius, 10 to 30 pixels beside `azimuth`; NaN where too few are known."""
    length = np.concatenate([np.arange(-30, -9), np.arange(10, 31)])
    angle = azimuth + length / max(radii[0], 1.0)
    row, col = (np.rint(c + radii[1] * f(angle)).astype(int) for c, f in zip(centre, (np.sin, np.cos), strict=True))
    inside = (row >= 0) & (col >= 0) & (row < image.shape[0]) & (col < image.shape[1])
    values = image[row[inside], col[inside]]
    values = values[~np.isnan(values)]
    return float(np.median(values)) if len(values) > 5 else float("nan")
