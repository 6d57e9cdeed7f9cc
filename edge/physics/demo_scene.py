"""The demonstration's object: a landscape that anyone recognises. Nothing is ever trained on it."""

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Complex, Float
from edge.physics.scan import jittered, raster
from edge.physics.simulation import SimulatedScan, simulate_scan

SHADES_RAD = {
    "sky": 0.0,
    "sun": 0.9,
    "hill": 0.55,
    "snow": 0.05,
    "ground": 0.3,
    "wall": 0.85,
    "roof": 0.2,
    "glass": 0.1,
}
ABSORPTION = 0.15
"""Loss of amplitude per rad of phase."""


def landscape(shape: tuple[int, int]) -> NDArray[np.complex64]:
    """Complex object [rows, cols]: sun, mountains with snow, a house, a fir, a lake with waves."""
    row, col = np.meshgrid(np.linspace(0, 1, shape[0]), np.linspace(0, 1, shape[1]), indexing="ij")
    edge = 0.7 / min(shape)
    phase = np.full(shape, SHADES_RAD["sky"])
    _paint(phase, np.hypot(row - 0.25, col - 0.26) - 0.075, "sun", edge)
    for turn in np.arange(12) * np.pi / 6:
        ray = _bar(row - 0.25, col - 0.26, turn, 0.10, 0.15)
        _paint(phase, ray, "sun", edge)
    for top, middle, slope in ((0.28, 0.62, 0.9), (0.38, 0.80, 1.1), (0.42, 0.44, 1.0)):
        height = top + slope * np.abs(col - middle)
        _paint(phase, height - row, "hill", edge)
        jag = 0.02 * np.abs((col * 14) % 1 - 0.5)
        _paint(phase, np.maximum(height - row, row - top - 0.07 - jag), "snow", edge)
    _paint(phase, 0.60 - row, "ground", edge)
    _house(phase, row, col, edge)
    _fir(phase, row, col, edge)
    wave = np.sin(2 * np.pi * (9 * col + 0.3 * np.sin(14 * row))) * 0.008
    for line in (0.75, 0.785, 0.82, 0.855):
        _paint(phase, np.abs(row - line - wave) - 0.008, "wall", edge)
    return (np.exp((1j - ABSORPTION) * phase)).astype(np.complex64)


def demo_scan(modes: Complex, count: int, rng: np.random.Generator) -> SimulatedScan:
    """About `count` frames (at most that many) of the landscape: a jittered snake of 14 pixel steps."""
    step = 14.0
    side = max(int(np.sqrt(count)), 1)
    reach = step * (side - 1)
    margin = 2
    size = int(reach) + modes.shape[-1] + 2 * margin + 1
    positions = jittered(raster((int(reach), int(reach)), step), 0.2 * step, (int(reach), int(reach)), rng) + margin
    return simulate_scan(modes, landscape((size, size)), positions, rng)


def _house(phase: Float, row: Float, col: Float, edge: float) -> None:
    _paint(phase, _box(row, col, (0.56, 0.68), (0.28, 0.44)), "wall", edge)
    _paint(phase, np.maximum(row - 0.56, np.abs(col - 0.36) - (row - 0.46) * 1.1), "roof", edge)
    _paint(phase, _box(row, col, (0.59, 0.63), (0.31, 0.35)), "glass", edge)
    _paint(phase, _box(row, col, (0.60, 0.68), (0.385, 0.42)), "glass", edge)


def _fir(phase: Float, row: Float, col: Float, edge: float) -> None:
    _paint(phase, _box(row, col, (0.66, 0.71), (0.655, 0.675)), "wall", edge)
    for top in (0.44, 0.50, 0.56):
        _paint(phase, np.maximum(row - top - 0.10, np.abs(col - 0.665) - (row - top) * 0.75), "sun", edge)


def _box(row: Float, col: Float, rows: tuple[float, float], cols: tuple[float, float]) -> Float:
    return np.maximum.reduce([rows[0] - row, row - rows[1], cols[0] - col, col - cols[1]])


def _bar(row: Float, col: Float, turn: float, near: float, far: float) -> Float:
    along = np.cos(turn) * col + np.sin(turn) * row
    across = -np.sin(turn) * col + np.cos(turn) * row
    return np.maximum.reduce([near - along, along - far, np.abs(across) - 0.008])


def _paint(phase: Float, distance: Float, shade: str, edge: float) -> None:
    """Paints where the signed distance, a share of the picture's side, is negative, with an edge of about a pixel."""
    cover = np.clip(0.5 - distance / (2 * edge), 0, 1)
    phase += cover * (SHADES_RAD[shade] - phase)
