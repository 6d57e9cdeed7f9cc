"""Debye-Scherrer rings: where a substance has them on a detector, and what they look like.

A ring is smooth where the beam meets many crystallites, grainy where it meets few, and brighter in some directions
where they lie in one (texture). None of the three is a Bragg spot: the arcs of grains are long along the ring.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from edge.physics.arrays import Float

ICE_A, ICE_C = 4.518, 7.356
"""Hexagonal ice at 250 K, angstrom (Rottger et al., Acta Cryst. B50, 644, 1994)."""

SALT_A = 5.640
"""Sodium chloride at room temperature, angstrom (PDF 5-628)."""

CERIA_A = 5.4113
"""CeO2, angstrom (NIST SRM 674b)."""

ICE_LINES = {
    (1, 0, 0): 100, (0, 0, 2): 75, (1, 0, 1): 53, (1, 0, 2): 17, (1, 1, 0): 52, (1, 0, 3): 37, (2, 0, 0): 7,
    (1, 1, 2): 34, (2, 0, 1): 16, (2, 0, 2): 4, (2, 0, 3): 14,
}  # fmt: skip
"""Relative strengths of a powder's lines (PDF 42-1142, rounded)."""

SALT_LINES = {
    (1, 1, 1): 13, (2, 0, 0): 100, (2, 2, 0): 55, (3, 1, 1): 2, (2, 2, 2): 15, (4, 0, 0): 6, (4, 2, 0): 11,
    (4, 2, 2): 7,
}  # fmt: skip
CERIA_LINES = {
    (1, 1, 1): 100, (2, 0, 0): 30, (2, 2, 0): 52, (3, 1, 1): 42, (2, 2, 2): 8, (4, 0, 0): 8, (3, 3, 1): 14,
    (4, 2, 0): 8, (4, 2, 2): 14, (5, 1, 1): 11,
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One line of a powder pattern."""

    spacing: float  # d, angstrom
    strength: float  # of the strongest


@dataclass(frozen=True)
class Geometry:
    """A flat detector at right angles to the beam."""

    wavelength: float  # angstrom
    distance_px: float  # from sample to detector, in detector pixels
    beam: tuple[float, float]  # row and column of the beam, pixels

    def radius_px(self, spacing: float) -> float:
        """Radius of the ring of the lattice spacing in angstrom; NaN where it is not reached below 90 degrees."""
        half_sine = self.wavelength / (2 * spacing)
        return self.distance_px * float(np.tan(2 * np.arcsin(half_sine))) if half_sine < np.sqrt(0.5) else float("nan")


@dataclass(frozen=True)
class Look:
    """What a ring looks like."""

    width_px: float  # standard deviation across
    grain: float = 0.0  # deviation of the brightness along the ring, relative
    grain_px: float = 12.0  # length of the grains' arcs along the ring, standard deviation
    texture: float = 0.0  # 0 to 1: how much brighter in the preferred directions


def hexagonal(a: float, c: float, lines: dict[tuple[int, int, int], int]) -> list[Line]:
    """Lines of a hexagonal lattice: 1 / d^2 = 4 (h^2 + hk + k^2) / 3a^2 + l^2 / c^2."""
    top = max(lines.values())
    square = {hkl: 4 / 3 * (hkl[0] ** 2 + hkl[0] * hkl[1] + hkl[1] ** 2) / a**2 + (hkl[2] / c) ** 2 for hkl in lines}
    return [Line(square[hkl] ** -0.5, strength / top) for hkl, strength in lines.items()]


def cubic(a: float, lines: dict[tuple[int, int, int], int]) -> list[Line]:
    """Lines of a cubic lattice: d = a / sqrt(h^2 + k^2 + l^2)."""
    top = max(lines.values())
    return [Line(a / float(np.sqrt(np.square(hkl).sum())), strength / top) for hkl, strength in lines.items()]


ICE = hexagonal(ICE_A, ICE_C, ICE_LINES)
SALT = cubic(SALT_A, SALT_LINES)
CERIA = cubic(CERIA_A, CERIA_LINES)


def ring_image(
    shape: tuple[int, int], geometry: Geometry, lines: Sequence[Line], look: Look, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The rings [height, width]; the strongest line is about 1 on its ridge."""
    row, col = (np.arange(length) - centre for length, centre in zip(shape, geometry.beam, strict=True))
    radius = np.hypot(row[:, None], col[None, :])
    image = np.zeros(shape)
    for line in lines:
        ring = geometry.radius_px(line.spacing)
        near = np.nonzero(np.abs(radius - ring) < 4.5 * look.width_px)
        if len(near[0]):
            turn = np.arctan2(row[near[0]], col[near[1]]) / (2 * np.pi) % 1
            ridge = np.exp(-0.5 * ((radius[near] - ring) / look.width_px) ** 2)
            image[near] += line.strength * ridge * _around(turn, 2 * np.pi * ring, look, rng)
    return image


def _around(turn: Float, length_px: float, look: Look, rng: np.random.Generator) -> Float:
    """Brightness at the shares `turn` (0 to 1) of a ring `length_px` long; 1 on average."""
    steps = max(int(length_px), 16)
    bright = np.ones(steps)
    if look.grain > 0:
        noise = ndimage.gaussian_filter1d(rng.standard_normal(steps), look.grain_px, mode="wrap")
        noise -= noise.mean()
        # On a ring shorter than a grain nothing varies.
        noise *= look.grain / max(float(noise.std()), 1e-3 * noise.size**-0.5)
        bright = np.exp(noise - look.grain**2 / 2)
    if look.texture > 0:
        fold = int(rng.integers(1, 4)) * 2
        bright *= 1 + look.texture * np.cos(2 * np.pi * fold * (np.arange(steps) / steps - rng.random()))
    return np.interp(turn * steps, np.arange(steps + 1), np.append(bright, bright[0]))
