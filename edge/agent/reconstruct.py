"""The map from the observations: one reconstructor, whatever strategy chose where to measure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.agent.hyperparameters import Data, train
from edge.agent.log import Log
from edge.agent.messages import Observation
from edge.agent.space import Space
from edge.agent.surrogate import Surrogate

CHUNK = 10_000  # positions at once, for the sake of memory


def reconstruct(
    space: Space, observations: Sequence[Observation], positions: ArrayLike, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of the noiseless value at `positions` [m, axes]: each [m], units of the values.

    Length scales are trained on these observations. Deterministic: `seed` is taken for the sake of reconstructors that
    draw, and changes nothing here. Raises ValueError for an observation that cannot be taken, and for none at all.
    """
    del seed
    log = Log(space)
    log.ingest(observations)
    if not log.observations:
        raise ValueError("nothing to reconstruct from: no observations")
    data = Data(space.to_unit(log.positions()), *log.values())
    hyperparameters = train(data)
    unit = space.to_unit(positions)
    means, sigmas = [], []
    for start in range(0, len(unit), CHUNK):
        surrogate = Surrogate(unit[start : start + CHUNK], hyperparameters)
        surrogate.condition(data, np.empty((0, len(space.axes))))
        means.append(surrogate.mean)
        sigmas.append(surrogate.sigma)
    return np.concatenate(means), np.concatenate(sigmas)
