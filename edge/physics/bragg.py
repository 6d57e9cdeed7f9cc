"""A polycrystalline sample on a scanning stage: where it diffracts, how much, and what a camera would see.

Two phases, each with reflections on its own Debye-Scherrer rings. A reflection comes from one kind of grains, which
are where the phase's density exceeds a threshold of their own; texture brightens and dims it, strain moves it along
the ring's radius. So the total intensity is smooth, longer along one axis than along the other, and nearly nothing in
places. All intensities are expected photons a second at beam 1, lengths on the sample are in mm.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.physics.arrays import Float
from edge.physics.camera import GAP_COLS, GAP_ROWS, Camera, camera
from edge.physics.fields import SmoothField, smooth_field

__all__ = ["SMALLEST_PX", "BraggSample", "Camera", "Reflections", "bragg_sample", "camera"]

LENGTHS_MM = 0.35, 0.12
"""Correlation lengths of the phases' densities, along the rolling direction and across it."""

SMALLEST_PX = 128
"""Images of fewer rows or columns have no room for the spots between gaps and borders."""

REFERENCE_PX = 256.0
APART_PX = 15.0
CLEAR_PX = 18.0
"""On an image of 256 x 256: least distance of two spots, and of a spot to a gap or a border."""

PATCH_PX = 8
"""A spot is drawn this far from its centre, in rows and columns: four deviations or more."""

RINGS = ((0.30, 0.52, 0.66, 0.86), (0.38, 0.59, 0.77, 0.95))
"""Radii of the two phases' rings, 1 is half the image's side."""

RATE_PER_S = 2600.0
BACKGROUND_PER_S = 4.0
SHARPNESS = 0.4
"""How far the density must rise above a kind's threshold for its grains to fill the spot, in deviations."""


@dataclass(frozen=True)
class Reflections:
    """What does not change over the map; all arrays [reflections]."""

    row: NDArray[np.float64]  # place in the image, as a share of its height
    col: NDArray[np.float64]
    per_s: NDArray[np.float64]  # photons a second where the sample is full of its grains
    sigma_px: NDArray[np.float64]
    phase: NDArray[np.intp]  # 0 or 1
    threshold: NDArray[np.float64]  # of the phase's density
    pole: NDArray[np.float64]  # [reflections, 2] which way the texture has to tilt to brighten it


@dataclass(frozen=True)
class BraggSample:
    """Truth of the map: the square 0..1 mm x 0..1 mm and as far beyond as one likes."""

    reflections: Reflections
    densities: tuple[SmoothField, SmoothField]  # one a phase
    tilts: tuple[SmoothField, SmoothField]
    strain: SmoothField
    air: SmoothField  # of the background's strength

    def total(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Expected Bragg photons a second of all spots together, broadcast over `x` and `y` in mm."""
        return np.sum(self.intensities(x, y), axis=-1)

    def intensities(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Expected photons a second of every reflection [..., reflections] at `x` and `y` in mm."""
        each = self.reflections
        density = np.stack([field(x, y) for field in self.densities], axis=-1)[..., each.phase]
        filled = 1 / (1 + np.exp(-4 * (density - each.threshold) / SHARPNESS))
        tilt = np.stack([field(x, y) for field in self.tilts], axis=-1)
        return each.per_s * filled * (1 + 0.5 * np.tanh(tilt @ each.pole.T))

    def centres(self, x: float, y: float, shape: tuple[int, int]) -> tuple[Float, Float]:
        """Rows and columns [reflections] of the spots' centres in an image of `shape`, in pixels; integers are
        pixels' centres."""
        each = self.reflections
        stretch = 1 + 0.004 * np.tanh(float(self.strain(x, y)))
        row, col = (0.5 + (share - 0.5) * stretch for share in (each.row, each.col))
        return row * shape[0] - 0.5, col * shape[1] - 0.5

    def expected(self, x: float, y: float, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Expected photons a pixel and second [height, width] at beam 1: spots and background.

        Gaussian spots, each drawn with exactly its intensity. Raises ValueError below `SMALLEST_PX` rows or columns.
        """
        strength = BACKGROUND_PER_S * (1 + 0.25 * np.tanh(float(self.air(x, y))))
        image = strength * _background(shape)
        sigma = self.reflections.sigma_px * (1 + 0.1 * np.tanh(float(self.strain(y, x))))
        rows, cols = self.centres(x, y, shape)
        first_row, down = _profiles(rows, sigma)
        first_col, across = _profiles(cols, sigma)
        spots = down[:, :, None] * (self.intensities(x, y)[:, None] * across)[:, None, :]
        size = 2 * PATCH_PX + 1
        for row, col, spot in zip(first_row, first_col, spots, strict=True):
            image[row : row + size, col : col + size] += spot
        return image


def bragg_sample(seed: int) -> BraggSample:
    """One of endlessly many samples of the same kind."""
    rng = np.random.default_rng([seed, 0])
    angle = rng.uniform(0, np.pi)
    long, short = LENGTHS_MM
    first, second = (smooth_field(LENGTHS_MM, angle, rng) for _ in range(2))
    left, right = (smooth_field((2 * long, 2 * short), angle, rng) for _ in range(2))
    strain, air = (smooth_field((0.4, 0.4), 0.0, rng) for _ in range(2))
    return BraggSample(_reflections(rng), (first, second), (left, right), strain, air)


def _reflections(rng: np.random.Generator) -> Reflections:
    """Some sixty spots that keep clear of each other, of the borders and of the camera's gaps."""
    found: list[tuple[float, float, int]] = []
    for _ in range(4000):
        phase = int(rng.random() < 0.4)
        radius = rng.choice(RINGS[phase]) * REFERENCE_PX / 2
        azimuth = rng.uniform(0, 2 * np.pi)
        row, col = REFERENCE_PX / 2 + radius * np.sin(azimuth), REFERENCE_PX / 2 + radius * np.cos(azimuth)
        if _clear(row, GAP_ROWS) and _clear(col, GAP_COLS):
            near = any(np.hypot(row - one[0], col - one[1]) < APART_PX for one in found)
            found += [] if near else [(row, col, phase)]
    chosen = np.array(found[: int(rng.integers(50, 66))])
    count = len(chosen)
    direction = rng.uniform(0, 2 * np.pi, count)
    return Reflections(
        row=chosen[:, 0] / REFERENCE_PX,
        col=chosen[:, 1] / REFERENCE_PX,
        per_s=RATE_PER_S * np.exp(0.45 * rng.standard_normal(count)),
        sigma_px=rng.uniform(1.2, 1.9, count),
        phase=chosen[:, 2].astype(np.intp),
        threshold=rng.normal(0.5, 0.8, count),
        pole=np.stack([np.cos(direction), np.sin(direction)], axis=1),
    )


def _clear(place: float, gap_px: int) -> bool:
    middle = REFERENCE_PX / 2
    return CLEAR_PX < place < REFERENCE_PX - CLEAR_PX and abs(place - middle) > CLEAR_PX + gap_px / 2


def _profiles(centres: Float, sigma: Float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """First pixel [n], and shares of the intensity that sum to one [n, 2 x PATCH_PX + 1], along one axis."""
    middle = np.rint(centres).astype(np.intp)
    places = middle[:, None] + np.arange(-PATCH_PX, PATCH_PX + 1)
    profile = np.exp(-0.5 * ((places - centres[:, None]) / sigma[:, None]) ** 2)
    return middle - PATCH_PX, profile / profile.sum(axis=1, keepdims=True)


@lru_cache(maxsize=4)
def _background(shape: tuple[int, int]) -> NDArray[np.float64]:
    """Air scatter, which falls off from the beam, and a weak ring of the window; about 1 a pixel. Not to be changed."""
    if min(shape) < SMALLEST_PX:
        raise ValueError(f"no room for the spots in an image of {shape}: take {SMALLEST_PX} x {SMALLEST_PX} or more")
    row, col = ((np.arange(length) + 0.5) / length * 2 - 1 for length in shape)
    radius = np.hypot(row[:, None], col[None, :])
    image = 0.5 + 1.2 * np.exp(-radius / 0.35) + 0.35 * np.exp(-0.5 * ((radius - 0.7) / 0.06) ** 2)
    image.setflags(write=False)
    return image
