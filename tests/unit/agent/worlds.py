"""Maps and observations for the agent's tests, and the posterior by one dense solve."""

from collections.abc import Sequence

import numpy as np

from edge.agent.hyperparameters import Hyperparameters
from edge.agent.kernel import correlation
from edge.agent.messages import Observation
from edge.agent.space import Axis, Space

SPACE = Space((Axis("x", 0.0, 1.0), Axis("y", -2.0, 3.0, speed=5.0)), overhead_s=0.02)


def observation(name: str, unit: Sequence[float], value: float, variance: float = 0.01, settles: str | None = None):
    return Observation(name, SPACE.mapping(SPACE.from_unit(unit)), value, variance, settles)


def waves(unit: np.ndarray) -> np.ndarray:
    """Short along x, long along y: [n, 2] -> [n]."""
    return 3.0 + np.sin(2 * np.pi * 2.0 * unit[:, 0] + 0.8 * unit[:, 1])


def measured(positions: np.ndarray, seed: int, sigma: float = 0.02) -> list[Observation]:
    """Observations of `waves` at `positions` [n, 2] of SPACE."""
    unit = SPACE.to_unit(positions)
    values = waves(unit) + np.random.default_rng(seed).normal(0, sigma, len(unit))
    return [observation(f"o{at}", unit[at], float(values[at]), sigma**2) for at in range(len(unit))]


def dense(candidates, hyper: Hyperparameters, positions, values, variances, pending):
    """Mean [M] and variance [M] (in scale**2) at `candidates`, after Rasmussen & Williams, algorithm 2.1."""
    lengths = np.array(hyper.lengths)
    noise = variances / hyper.scale**2 + hyper.white
    mean = np.full(len(candidates), hyper.mean)
    if len(positions):
        factor = np.linalg.cholesky(correlation(positions, positions, lengths) + np.diag(noise))
        across = correlation(positions, candidates, lengths)
        half = np.linalg.solve(factor, values - hyper.mean)
        mean += np.linalg.solve(factor, across).T @ half
    both = np.vstack([positions, pending])
    usual = np.median(noise) if len(noise) else hyper.white
    noise = np.concatenate([noise, np.full(len(pending), usual)])
    if not len(both):
        return mean, np.ones(len(candidates))
    factor = np.linalg.cholesky(correlation(both, both, lengths) + np.diag(noise))
    rows = np.linalg.solve(factor, correlation(both, candidates, lengths))
    return mean, 1.0 - (rows**2).sum(axis=0)
