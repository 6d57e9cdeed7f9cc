"""Whether one version of a model is better than another on the same frames: what is deployed, kept or rolled back.

Judged by deviances a frame, which need no truth (`edge.physics.deviance`). What a frame says and what its neighbour
says are not independent: they see the same piece of the object. So a piece as large as a patch is one witness, however
many frames saw it: frames are gathered in tiles of at least a patch, and the interval is Student's t of the tiles'
means. Percentiles of a bootstrap are too narrow for as few as there are.

Tiles side by side still share a little of the object at their border, which no interval of theirs knows of. So the
limits are those of 99 % a side: where there is no difference, and half of what tells two versions apart belongs to the
object, at most one verdict of twenty on either side is wrong (simulated in the tests).
"""

from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from edge.physics.arrays import Float
from edge.training.split import TEST_FRACTION, Split, block_split

LEAST_TILES = 6
"""With fewer nothing is decided: three or four pieces of an object say too little of the next one."""

SIDE = 0.01
"""How often a limit of the interval may lie on the wrong side of no difference, of tiles that share nothing."""

TEST_FRACTIONS = (TEST_FRACTION, 0.35)
"""Of a scan, held out to judge by: the first with which there are tiles enough."""

Standing: TypeAlias = Literal["better", "worse", "open"]


class Gain(msgspec.Struct, frozen=True):
    """By how much the deviance falls from one version to the other, a frame; above 0 the other one is better."""

    before: float  # mean deviance a pixel of the one
    after: float  # of the other
    mean: float
    low: float | None  # limits of the interval; None where there are too few tiles
    high: float | None
    frames: int
    tiles: int = 0

    @property
    def standing(self) -> Standing:
        """Of the other one."""
        if self.low is not None and self.low > 0:
            return "better"
        return "worse" if self.high is not None and self.high < 0 else "open"


def tiles(positions: Float, patch_px: int) -> NDArray[np.intp]:
    """Which tile each frame is in, [n], numbered from 0 without gaps, for `positions` [n, 2] (row, col) in pixels.

    Equal rectangles over what the positions span, each side a patch or more; tiles that no frame is in do not count.
    """
    low, extent = positions.min(axis=0), np.ptp(positions, axis=0)
    counts = np.maximum(1, extent // patch_px).astype(np.intp)
    place = (positions - low) / np.where(extent > 0, extent, 1) * counts
    row, col = np.minimum(place.astype(np.intp), counts - 1).T
    return np.unique(row * counts[1] + col, return_inverse=True)[1].reshape(-1)


def judging_split(positions: Float, frame_px: int, patch_px: int) -> tuple[Split, NDArray[np.intp]]:
    """A `block_split` of a scan at `positions` [n, 2], and the tile of each held-out frame.

    Cut across the rows or the columns, with the smallest test fraction that leaves tiles enough to judge by; where
    none does, the one with the most tiles. Raises ValueError where the scan has no two blocks a frame apart.
    """
    found: list[tuple[Split, NDArray[np.intp]]] = []
    failed: ValueError | None = None
    for fraction in TEST_FRACTIONS:
        for turned in (positions, positions[:, ::-1]):
            try:
                split = block_split(turned, frame_px, fraction)
            except ValueError as error:
                failed = failed or error
                continue
            found.append((split, tiles(positions[split.test], patch_px)))
            if found[-1][1].max() + 1 >= LEAST_TILES:
                return found[-1]
    if not found:
        raise failed or ValueError("the scan has no positions")
    return max(found, key=lambda one: int(one[1].max()))


def gain(before: Float, after: Float, tile: NDArray[np.intp], side: float = SIDE) -> Gain:
    """Of deviances [n] of the same frames, in tiles [n]; every tile counts alike.

    Args:
        before, after: of the one version and of the other.
        tile: see `tiles`.
        side: how often each limit may be wrong where there is no difference.

    Raises ValueError where lengths differ, a deviance is not finite, or there is no frame.
    """
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if before.shape != after.shape or before.shape != tile.shape or not len(tile):
        raise ValueError(f"deviances of {before.shape} and {after.shape} frames in tiles of {tile.shape}")
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise ValueError("a deviance is not finite")
    names = np.unique(tile)
    one, other = (np.array([values[tile == name].mean() for name in names]) for values in (before, after))
    each, low, high = one - other, None, None
    mean, count = float(each.mean()), len(names)
    if count >= LEAST_TILES:
        reach = float(stdtrit(count - 1, 1 - side) * each.std(ddof=1) / np.sqrt(count))
        low, high = mean - reach, mean + reach
    return Gain(float(one.mean()), float(other.mean()), mean, low, high, len(before), count)


def side_of_check(earlier: int) -> float:
    """`SIDE` for a check after so many `earlier` ones of the same two versions.

    1/2, 1/6, 1/12, ... of twice that: however often it is asked, all of them together are wrong as seldom as two.
    """
    return 2 * SIDE / ((earlier + 1) * (earlier + 2))
