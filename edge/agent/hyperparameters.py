"""Length scales and the like of a Gaussian process, learned from the observations themselves.

The marginal likelihood (Rasmussen & Williams 2006, eqs. 5.8 and 5.9) times priors is climbed by L-BFGS with analytic
gradients. The priors keep few points from being explained as white noise, or as a constant.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from edge.agent.kernel import slope, squared_distances

Float = NDArray[np.float64]

WHITE_FLOOR = 1e-6
"""Least white noise, as a share of the variance of the process. It is also the jitter that keeps the covariance of
duplicate points positive definite: 1e-6 is 10 000 times the rounding error of a thousand equal rows."""
MOST_TRAINED_ON = 512
"""Points; a likelihood costs their cube, and length scales need no more."""
MOST_STEPS = 60  # of L-BFGS, from each start
LENGTH_PRIOR = (np.log(0.3), 0.7)  # mean and standard deviation of the logarithm, in unit coordinates
POWER_PRIOR = (0.0, 1.0)  # of the variance of the process, in variances of the values
WHITE_PRIOR = (np.log(1e-3), 1.5)  # of the white noise, in variances of the values
LENGTH_BOUNDS = (0.02, 5.0)


class TrainingStopped(Exception):
    """Somebody asked for an end before there was a result."""


@dataclass(frozen=True)
class Hyperparameters:
    """What a surrogate believes before it has seen a value."""

    mean: float  # units of the values
    scale: float  # standard deviation of the process, units of the values
    lengths: tuple[float, ...]  # one an axis, in unit coordinates
    white: float  # variance that observations have besides their own, in scale**2


@dataclass(frozen=True)
class Data:
    """Observations in unit coordinates."""

    positions: Float  # [n, axes]
    values: Float  # [n]
    variances: Float  # [n], of the values

    def __len__(self) -> int:
        return len(self.values)


def untrained(data: Data) -> Hyperparameters:
    """Mean and scale of the values, everything else from the priors."""
    mean, scale = _standard(data)
    lengths = (float(np.exp(LENGTH_PRIOR[0])),) * data.positions.shape[1]
    return Hyperparameters(mean, scale, lengths, float(np.exp(WHITE_PRIOR[0])))


def train(
    data: Data, before: Hyperparameters | None = None, stop: Callable[[], bool] = lambda: False
) -> Hyperparameters:
    """The most probable hyperparameters given `data`; `before`, where there is any, is one of the starts.

    Deterministic. Of more than `MOST_TRAINED_ON` points, evenly chosen ones count. Raises TrainingStopped soon after
    `stop` says so.
    """
    if len(data) < 3:
        return untrained(data)
    if len(data) > MOST_TRAINED_ON:
        chosen = np.linspace(0, len(data) - 1, MOST_TRAINED_ON).astype(int)
        data = Data(data.positions[chosen], data.values[chosen], data.variances[chosen])
    mean, scale = _standard(data)
    values, noise = (data.values - mean) / scale, data.variances / scale**2
    axes = data.positions.shape[1]
    bounds = [tuple(np.log(LENGTH_BOUNDS))] * axes + [(-4.0, 4.0), (np.log(WHITE_FLOOR), 1.0)]
    squared = squared_distances(data.positions, data.positions, np.ones(axes))

    def checked(parameters: Float) -> tuple[float, Float]:
        if stop():
            raise TrainingStopped
        return cost(parameters, squared, values, noise)

    found = [
        minimize(checked, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": MOST_STEPS})
        for start in _starts(axes, before)
    ]
    best = min(found, key=lambda ended: float(ended.fun))
    power, white = np.exp(best.x[axes:])
    centre = _constant(best.x, squared, values, noise)
    return Hyperparameters(
        mean=float(mean + scale * centre),
        scale=float(scale * np.sqrt(power)),
        lengths=tuple(np.exp(best.x[:axes]).tolist()),
        white=float(max(white / power, WHITE_FLOOR)),
    )


def cost(parameters: Float, squared: Float, values: Float, noise: Float) -> tuple[float, Float]:
    """Minus the logarithm of likelihood times priors, and its gradient.

    `parameters`: logarithms of the length scales [axes], of the variance of the process and of the white noise.
    `squared` [axes, n, n]: squared differences of the positions. The constant mean is the best one for these parameters
    (generalised least squares), so that it adds nothing to the gradient.
    """
    axes = len(squared)
    power, white = np.exp(parameters[axes:])
    shape, slopes = slope(squared / np.exp(2 * parameters[:axes])[:, None, None])
    covariance = power * shape
    covariance[np.diag_indices_from(covariance)] += noise + white
    half_log_det = float(np.log(np.diag(np.linalg.cholesky(covariance))).sum())
    # Numpy's inverse lets go of the interpreter while it works; scipy's triangular solves do not.
    inverse = np.linalg.inv(covariance)
    solved = inverse @ (values - _mean(inverse, values))
    likelihood = -0.5 * float((values - _mean(inverse, values)) @ solved) - half_log_det
    uphill = np.outer(solved, solved) - inverse
    gradient = np.empty(axes + 2)
    gradient[:axes] = 0.5 * power * np.einsum("ij,aij->a", uphill, slopes)
    gradient[axes] = 0.5 * power * np.einsum("ij,ij->", uphill, shape)
    gradient[axes + 1] = 0.5 * white * np.trace(uphill)
    middle, width = _priors(axes)
    away = (parameters - middle) / width
    return -likelihood + 0.5 * float(away @ away), -gradient + away / width


def _priors(axes: int) -> tuple[Float, Float]:
    rows = np.array([LENGTH_PRIOR] * axes + [POWER_PRIOR, WHITE_PRIOR])
    return rows[:, 0], rows[:, 1]


def _starts(axes: int, before: Hyperparameters | None) -> list[Float]:
    """The likelihood has several hills: one is often explained as noise, one by short length scales."""
    middle, _ = _priors(axes)
    short = middle.copy()
    short[:axes] = np.log(0.1)
    starts = [middle, short]
    if before is not None:
        starts.append(np.log([*before.lengths, 1.0, before.white]))
    return starts


def _mean(inverse: Float, values: Float) -> float:
    weights = inverse.sum(axis=0)
    return float(weights @ values / weights.sum())


def _constant(parameters: Float, squared: Float, values: Float, noise: Float) -> float:
    axes = len(squared)
    power, white = np.exp(parameters[axes:])
    shape, _ = slope(squared / np.exp(2 * parameters[:axes])[:, None, None])
    return _mean(np.linalg.inv(power * shape + np.diag(noise + white)), values)


def _standard(data: Data) -> tuple[float, float]:
    """Mean and standard deviation of the values; where they are all equal, that of their noise, or 1."""
    if not len(data):
        return 0.0, 1.0
    spread = float(np.std(data.values)) or float(np.sqrt(np.mean(data.variances))) or 1.0
    return float(np.mean(data.values)), spread
