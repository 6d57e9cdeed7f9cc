"""One spot: its profile, how bright it must be to stand out, and where spots may stand."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.physics.arrays import Float

APART_PX = 6.0
OVERLAP_PX = 2.5, 6.0
"""Distance of two spots that overlap."""

REACH = 5.0
"""Spots are drawn to this many deviations; the wings of a pseudo-Voigt are cut there."""


@dataclass(frozen=True)
class Shape:
    """A pseudo-Voigt profile. Deviations are `sigma_px` x `long` along its longer axis, `sigma_px` / `long` across.

    The half widths of its two parts differ, other than usual: 1.18 deviations of the Gaussian, 0.90 of the wide part.
    """

    sigma_px: float
    mix: float = 0.0  # share of the wide part
    long: float = 1.0
    turn: float = 0.0  # rad, of the longer axis


def photons_for(ratio: ArrayLike, background: ArrayLike, sigma_px: ArrayLike) -> NDArray[np.float64]:
    """Photons S of a spot with S / sqrt(S + B) = `ratio`, where B are those of the `background` (a pixel) under its
    effective area 4 pi sigma^2."""
    square = np.square(np.asarray(ratio, dtype=np.float64))
    return 0.5 * (square + np.sqrt(square**2 + 4 * square * _under(background, sigma_px)))


def ratio_of(photons: ArrayLike, background: ArrayLike, sigma_px: ArrayLike) -> NDArray[np.float64]:
    """The signal-to-noise ratio of a spot, as `photons_for` defines it."""
    counts = np.asarray(photons, dtype=np.float64)
    return counts / np.sqrt(np.maximum(counts + _under(background, sigma_px), 1e-12))


def add_spot(image: NDArray[np.float64], centre: tuple[float, float], photons: float, shape: Shape) -> None:
    """Adds a spot of `photons` to `image` [height, width]; what lies beyond the border is lost."""
    reach = int(np.ceil(REACH * shape.sigma_px * max(shape.long, 1.0))) + 1
    row, col = (np.arange(round(float(one)) - reach, round(float(one)) + reach + 1) for one in centre)
    down, right = row[:, None] - centre[0], col[None, :] - centre[1]
    along = (np.cos(shape.turn) * down + np.sin(shape.turn) * right) / (shape.sigma_px * shape.long)
    across = (np.cos(shape.turn) * right - np.sin(shape.turn) * down) / (shape.sigma_px / shape.long)
    square = along**2 + across**2
    wide = shape.mix / (2 * np.pi * 1.386) / (1 + square / 1.386) ** 1.5
    profile = (1 - shape.mix) * np.exp(-0.5 * square) / (2 * np.pi) + wide
    profile *= photons / profile.sum()
    rows, cols = (np.flatnonzero((x >= 0) & (x < length)) for x, length in zip((row, col), image.shape, strict=True))
    if len(rows) and len(cols):
        image[row[rows[0]] : row[rows[-1]] + 1, col[cols[0]] : col[cols[-1]] + 1] += profile[np.ix_(rows, cols)]


def random_places(shape: tuple[int, ...], count: int, overlapping: float, rng: np.random.Generator) -> Float:
    """About `count` places [n, 2] at least `APART_PX` apart; a share `overlapping` of them has a second spot beside."""
    places = np.empty((0, 2))
    for place in rng.uniform(0, 1, (2 * count, 2)) * (np.array(shape) - 1):
        if len(places) < count and np.all(np.hypot(*(places - place).T) > APART_PX):
            places = np.vstack([places, place])
    if overlapping == 0:
        return places
    chosen = places[rng.random(len(places)) < overlapping]
    away, angle = rng.uniform(*OVERLAP_PX, len(chosen)), rng.uniform(0, 2 * np.pi, len(chosen))
    beside = chosen + (away * np.stack([np.sin(angle), np.cos(angle)])).T
    return np.vstack([places, beside[((beside >= 0) & (beside <= np.array(shape) - 1)).all(axis=1)]])


def _under(background: ArrayLike, sigma_px: ArrayLike) -> NDArray[np.float64]:
    return 4 * np.pi * np.asarray(background, dtype=np.float64) * np.square(np.asarray(sigma_px, dtype=np.float64))
