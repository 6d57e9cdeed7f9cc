"""Acquisition functions: how much measuring a candidate is worth. Pure arithmetic over all candidates at once.

Each takes what the surrogate knows and what the candidates cost, and returns a score [M]; the highest is suggested.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Outlook:
    """What is known of the candidates."""

    variance: Float  # [M] of the noiseless value, in units of the process's variance
    noise: float  # variance of an observation to come, same units
    seconds: Float  # [M] beam time until measured: travel, overhead and exposure
    covariance: Callable[[], Float]  # of the map's reference points with the candidates, [R, M], same units


Acquisition = Callable[[Outlook], Float]


def variance(outlook: Outlook) -> Float:
    """Where the map is least known, whatever the way there."""
    return outlook.variance


def variance_rate(outlook: Outlook) -> Float:
    """Variance per second."""
    return outlook.variance / outlook.seconds


def sigma_rate(outlook: Outlook) -> Float:
    """Standard deviation per second."""
    return np.sqrt(outlook.variance) / outlook.seconds


def integrated_variance(outlook: Outlook) -> Float:
    """By how much measuring a candidate lowers the variance, summed over the map.

    Cohn, Ghahramani & Jordan, J. Artif. Intell. Res. 4, 129 (1996): cov(map, c)^2 / (variance(c) + noise).
    """
    with_map = outlook.covariance()
    return np.einsum("rm,rm->m", with_map, with_map) / (outlook.variance + outlook.noise)


def integrated_variance_rate(outlook: Outlook) -> Float:
    """The same per second."""
    return integrated_variance(outlook) / outlook.seconds


ACQUISITIONS: dict[str, Acquisition] = {
    found.__name__: found
    for found in (variance, variance_rate, sigma_rate, integrated_variance, integrated_variance_rate)
}
