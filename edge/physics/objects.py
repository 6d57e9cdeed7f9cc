"""Procedural complex objects to train on: polygons, discs and smooth textures.

Varied on purpose and unlike any one specimen: a network trained on pictures of what it is judged by would show
nothing. Experimental probe x synthetic objects trains as well as measured data does (arXiv 2509.25104).
"""

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Float

MIN_STEP_RAD, MAX_STEP_RAD = 0.3, 1.5


def random_object(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.complex64]:
    """A transparent-to-slightly-absorbing object, complex64 [rows, cols], amplitude at most about 1."""
    step = rng.uniform(MIN_STEP_RAD, MAX_STEP_RAD)
    pattern = two_level_pattern(shape, rng) if rng.random() < 0.6 else painted_pattern(shape, rng)
    texture = smooth_texture(shape, rng.uniform(8, 60), rng)
    fine = smooth_texture(shape, rng.uniform(1.0, 2.5), rng)
    phase = step * pattern + rng.uniform(0, 0.25) * texture + rng.uniform(0, 0.05) * fine
    absorption = rng.uniform(0, 0.2) * pattern + rng.uniform(0, 0.04) * smooth_texture(shape, rng.uniform(2, 30), rng)
    sign = rng.choice((-1.0, 1.0))
    return (np.exp(-np.abs(absorption)) * np.exp(1j * sign * phase)).astype(np.complex64)


def two_level_pattern(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """0 and 1 [rows, cols] with soft edges: every shape swaps the two inside it, so both fill about half."""
    pattern = np.zeros(shape, dtype=np.float32)
    for rows, cols, cover in _shapes(shape, 1.6, rng):
        inside = pattern[rows, cols]
        pattern[rows, cols] = inside + cover - 2 * inside * cover
    return pattern


def painted_pattern(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Shapes of various levels within 0..1 [rows, cols], painted over each other."""
    pattern = np.zeros(shape, dtype=np.float32)
    for rows, cols, cover in _shapes(shape, 2.0, rng):
        inside = pattern[rows, cols]
        pattern[rows, cols] = inside + cover * (rng.random() - inside)
    return pattern


def smooth_texture(shape: tuple[int, int], length_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Gaussian noise [rows, cols] of mean 0 and deviation 1, correlated over `length_px`."""
    rows, cols = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    low_pass = np.exp(-2 * (np.pi * length_px) ** 2 * (rows**2 + cols**2))
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * low_pass, s=shape)
    noise = noise - noise.mean()
    return (noise / max(float(noise.std()), 1e-12)).astype(np.float32)


def _shapes(
    shape: tuple[int, int], coverage: float, rng: np.random.Generator
) -> list[tuple[slice, slice, NDArray[np.float32]]]:
    """Random discs, rings and convex polygons as (rows, cols, cover 0..1) until their areas sum to `coverage`."""
    found = []
    area, blur = 0.0, rng.uniform(0.5, 1.5)
    smallest = rng.uniform(3, 12)
    while area < coverage * shape[0] * shape[1]:
        radius = float(np.exp(rng.uniform(np.log(smallest), np.log(60))))
        centre = rng.uniform(0, 1, 2) * shape
        low = np.maximum((centre - radius - 2).astype(int), 0)
        high = np.minimum((centre + radius + 3).astype(int), shape)
        row = np.arange(low[0], high[0])[:, None] - centre[0]
        col = np.arange(low[1], high[1])[None, :] - centre[1]
        distance = _disc(row, col, radius, rng) if rng.random() < 0.3 else _polygon(row, col, radius, rng)
        cover = np.clip(0.5 - distance / blur, 0, 1).astype(np.float32)
        area += max(float(cover.sum()), 1.0)
        found.append((slice(low[0], high[0]), slice(low[1], high[1]), cover))
    return found


def _disc(row: Float, col: Float, radius: float, rng: np.random.Generator) -> Float:
    """Signed distance (negative inside) to a disc, or to a ring."""
    distance = np.hypot(row, col) - radius
    if rng.random() < 0.4:
        distance = np.maximum(distance, radius * rng.uniform(0.3, 0.8) - np.hypot(row, col))
    return distance


def _polygon(row: Float, col: Float, radius: float, rng: np.random.Generator) -> Float:
    """Signed distance to the common part of the disc and a few half-planes: wedges, bars, blocks."""
    distance = np.hypot(row, col) - radius
    turn = rng.uniform(0, 2 * np.pi)
    edges = int(rng.integers(3, 7))
    flat = rng.uniform(0.1, 1.0) if rng.random() < 0.6 else 1.0
    for edge in range(edges):
        angle = turn + 2 * np.pi * (edge + rng.uniform(-0.3, 0.3)) / edges
        reach = radius * rng.uniform(0.3, 0.9) * (flat if edge % 2 == 0 else 1.0)
        distance = np.maximum(distance, np.cos(angle) * row + np.sin(angle) * col - reach)
    return distance
