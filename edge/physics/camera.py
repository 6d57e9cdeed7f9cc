"""A photon-counting area detector: modules with gaps between them, pixels that count too much or not at all."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Float
from edge.physics.diffraction import MAX_UINT16_COUNT

GAP, DEAD, NOISY = 1, 2, 16
"""Bits of `pixel_mask` (DECTRIS SIMPLON API 1.8, detector/config/pixel_mask): gap, dead or below range, noisy."""

GAP_VALUE, FLAG_VALUE = 65535, 65534
"""What a uint16 image says in a gap, and in any other pixel of the mask."""

GAP_ROWS, GAP_COLS = 8, 6
FLAGGED_SHARE = 3e-4
HOT_SHARE = 1e-4
HOT_PER_S = 400.0, 40_000.0
"""Range of counts a second of hot pixels; some are in the mask, some nobody has noticed yet."""


@dataclass(frozen=True)
class Camera:
    """One detector: its mask and its hot pixels do not change from frame to frame."""

    mask: NDArray[np.uint32]  # [height, width], DECTRIS pixel_mask: 0 is a good pixel
    hot: NDArray[np.float64]  # [height, width] counts a second that no photon caused

    def expose(self, expected: Float, exposure_s: float, beam: float, rng: np.random.Generator) -> NDArray[np.uint16]:
        """One image uint16 [height, width] with Poisson statistics.

        `expected` [height, width] is in photons a pixel and second at `beam` 1. Gaps read 65535, other pixels of the
        mask 65534. Raises ValueError when `expected` is not of the camera's shape.
        """
        if expected.shape != self.mask.shape:
            raise ValueError(f"expected photons of shape {expected.shape} for a camera of {self.mask.shape}")
        counts = rng.poisson(expected * (exposure_s * beam))
        warm = self.hot > 0
        counts[warm] += rng.poisson(self.hot[warm] * exposure_s)
        image = np.minimum(counts, MAX_UINT16_COUNT).astype(np.uint16)
        image[self.mask > 0] = FLAG_VALUE
        image[(self.mask & GAP) > 0] = GAP_VALUE
        return image


def camera(shape: tuple[int, int] = (256, 256), seed: int = 0) -> Camera:
    """A camera of 2 x 2 modules with `shape` pixels in all."""
    rng = np.random.default_rng([seed, 1])
    mask = np.zeros(shape, dtype=np.uint32)
    hot = np.zeros(shape)
    flagged = rng.random(shape) < FLAGGED_SHARE
    mask[flagged] = rng.choice((DEAD, NOISY), int(flagged.sum()))
    noisy = (mask == NOISY) | (rng.random(shape) < HOT_SHARE)
    low, high = np.log(HOT_PER_S)
    hot[noisy] = np.exp(rng.uniform(low, high, int(noisy.sum())))
    for inside in gaps(shape):
        mask[inside], hot[inside] = GAP, 0.0
    return Camera(mask, hot)


def gaps(shape: tuple[int, int]) -> tuple[tuple[slice, slice], ...]:
    """Where the gaps between the modules are: rows and columns of each, a cross in the middle."""
    row, col = (shape[0] - GAP_ROWS) // 2, (shape[1] - GAP_COLS) // 2
    return (slice(row, row + GAP_ROWS), slice(None)), (slice(None), slice(col, col + GAP_COLS))
