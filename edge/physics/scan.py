"""Positions of a scan: float64 [n, 2], (row, col) of each patch's first pixel in the object, in pixels."""

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Float


def raster(shape: tuple[int, int], step_px: float) -> NDArray[np.float64]:
    """A snake over `shape` (rows, cols): every other line runs backwards."""
    rows = np.arange(0, shape[0] + 1e-9, step_px)
    cols = np.arange(0, shape[1] + 1e-9, step_px)
    lines = [np.column_stack([np.full(len(cols), row), cols[:: -1 if odd % 2 else 1]]) for odd, row in enumerate(rows)]
    return np.concatenate(lines)


def spiral(shape: tuple[int, int], step_px: float) -> NDArray[np.float64]:
    """Fermat's spiral from the middle of `shape` outwards (Huang et al., Opt. Express 22, 12634, 2014)."""
    radius = float(np.hypot(*shape)) / 2
    index = np.arange(int((radius / (step_px * 0.57)) ** 2) + 1)
    turn = index * np.pi * (3 - np.sqrt(5))
    points = 0.57 * step_px * np.sqrt(index)[:, None] * np.column_stack([np.sin(turn), np.cos(turn)])
    points += np.array(shape) / 2
    return points[((points >= 0) & (points <= shape)).all(axis=1)]


def jittered(
    positions: Float, amount_px: float, shape: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Each position moved by up to `amount_px`, kept within `shape`: a grid without a period, so without its ghosts."""
    moved = positions + rng.uniform(-amount_px, amount_px, positions.shape)
    return np.clip(moved, 0, shape)
