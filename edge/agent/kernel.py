"""Correlation of values at two positions, and how it changes with the length scales: Matern 5/2, one length an axis.

A squared exponential is a little better on maps that are smooth everywhere and much worse across a domain edge, which
it takes for short length scales all over.
"""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def correlation(one: Float, other: Float, lengths: Float) -> Float:
    """Matern 5/2 with a length scale per axis: [n, d], [m, d], [d] -> [n, m], 1 at distance 0.

    Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), eq. 4.17.
    """
    total = squared_distances(one, other, lengths).sum(axis=0)
    root = np.sqrt(5.0 * total)
    return (1.0 + root + root * root / 3.0) * np.exp(-root)


def slope(squared: Float) -> tuple[Float, Float]:
    """From `squared` [d, n, m] of `squared_distances`: the correlation [n, m] and its derivatives by the logarithm of
    each length scale [d, n, m]."""
    root = np.sqrt(5.0 * squared.sum(axis=0))
    decay = np.exp(-root)
    return (1.0 + root + root * root / 3.0) * decay, (5.0 / 3.0) * (1.0 + root) * decay * squared


def squared_distances(one: Float, other: Float, lengths: Float) -> Float:
    """Squared differences on each axis in units of its length scale: [n, d], [m, d], [d] -> [d, n, m]."""
    return ((one.T[:, :, None] - other.T[:, None, :]) / lengths[:, None, None]) ** 2
