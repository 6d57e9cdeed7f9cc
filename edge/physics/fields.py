"""Smooth random functions of a place on the sample, the same at any resolution."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.physics.arrays import Float

WAVES = 64


@dataclass(frozen=True)
class SmoothField:
    """A sum of plane waves: near enough a Gaussian random field of mean 0, deviation 1 (random Fourier features,
    Rahimi & Recht, NIPS 2007), with a squared-exponential correlation."""

    waves: NDArray[np.float64]  # [waves, 2] rad/mm along x, y
    phases: NDArray[np.float64]  # [waves] rad

    def __call__(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Values at the places x, y in mm, broadcast."""
        x, y = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
        angles = x[..., None] * self.waves[:, 0] + y[..., None] * self.waves[:, 1] + self.phases
        return np.sqrt(2 / len(self.phases)) * np.sum(np.cos(angles), axis=-1)


def smooth_field(lengths_mm: tuple[float, float], angle_rad: float, rng: np.random.Generator) -> SmoothField:
    """A field correlated over `lengths_mm` along two axes at right angles, the first of them `angle_rad` from x."""
    along: Float = rng.standard_normal((WAVES, 2)) / np.asarray(lengths_mm)
    turn = np.array([[np.cos(angle_rad), np.sin(angle_rad)], [-np.sin(angle_rad), np.cos(angle_rad)]])
    waves: Float = along @ turn
    return SmoothField(waves, rng.uniform(0, 2 * np.pi, WAVES))
