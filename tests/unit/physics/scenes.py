"""Small made-up probes and objects that the tests of this folder share."""

import numpy as np
from numpy.typing import NDArray

from edge.physics.objects import smooth_texture


def ring_probe(size: int, counts: float = 2e5) -> NDArray[np.complex64]:
    """Two orthogonal modes [2, size, size] of a soft, slightly bent disc."""
    row, col = np.meshgrid(*(np.arange(size) - size / 2,) * 2, indexing="ij")
    radius = np.hypot(row, col) / size
    disc = np.exp(-((radius / 0.2) ** 4)) * np.exp(20j * radius**2)
    modes = np.stack([disc, 0.4 * disc * row / size])
    return (modes * np.sqrt(counts / np.sum(np.abs(modes) ** 2))).astype(np.complex64)


def smooth_object(shape: tuple[int, int], seed: int) -> NDArray[np.complex64]:
    """Band-limited complex object [rows, cols], so that moving it by a fraction of a pixel loses nothing."""
    rng = np.random.default_rng(seed)
    phase = 0.4 * smooth_texture(shape, 5.0, rng)
    return ((1 - 0.05 * np.abs(phase)) * np.exp(1j * phase)).astype(np.complex64)
