"""The Anscombe transform of counts, and the inverse that leaves no bias after a filter.

Transform: Anscombe, Biometrika 35, 246 (1948). Inverse: Makitalo and Foi, IEEE Trans. Image Process. 20, 99 (2011): a
filter returns the mean of the transformed counts, so what is wanted is the Poisson mean whose transformed counts have
that mean. The algebraic inverse is too low by a quarter of a count, which is most of what there is in a dark pixel.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from edge.physics.arrays import Float

OFFSET = 3 / 8
TABLE_TO = 150.0
"""Mean counts up to which the inverse is from a table; above, its asymptote is within a millionth of a count."""

STEPS = 3000


def anscombe(counts: Float) -> NDArray[np.float64]:
    """Twice the root of counts + 3/8: Poisson noise of a deviation of about one."""
    return 2.0 * np.sqrt(np.asarray(counts, np.float64) + OFFSET)


def unbiased_inverse(filtered: Float) -> NDArray[np.float64]:
    """The mean counts whose `anscombe` has the mean `filtered`; 0 below what no counts at all give."""
    means, transformed = _table()
    value = np.asarray(filtered, np.float64)
    return np.where(value <= transformed[-1], np.interp(value, transformed, means), value**2 / 4 - 1 / 8)


@cache
def _table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean counts, evenly in their root from 0, and the mean of their transform."""
    means = np.linspace(0, np.sqrt(TABLE_TO), STEPS) ** 2
    counts = np.arange(int(TABLE_TO + 12 * np.sqrt(TABLE_TO)) + 1)
    chances = poisson.pmf(counts[None, :], means[:, None])
    return means, chances @ anscombe(counts)
