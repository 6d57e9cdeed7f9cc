"""What may take long, as a job for another thread: learning length scales and planning the rest of an experiment."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.agent.hyperparameters import Data, Hyperparameters, train
from edge.agent.options import Options
from edge.agent.planning import affordable, choose
from edge.agent.space import Space
from edge.agent.surrogate import Surrogate


@dataclass(frozen=True)
class Trained:
    """What a `Training` came to. It belongs to the agent that adopts it."""

    surrogate: Surrogate
    tour: NDArray[np.intp]  # numbers of candidates, in the order of measuring; empty where no end is known


@dataclass(frozen=True)
class Training:
    """A job for another thread: it shares nothing with the agent but what never changes."""

    space: Space
    options: Options
    candidates: NDArray[np.float64]  # [M, axes], in the axes' units
    references: NDArray[np.intp]
    data: Data
    pending: NDArray[np.float64]  # [p, axes], in unit coordinates
    place: NDArray[np.float64] | None
    before: Hyperparameters | None
    points_left: int
    seconds_left: float  # infinite where the beam time has no end

    def run(self, stop: Callable[[], bool] = lambda: False) -> Trained:
        """Learn, build the surrogate with what was learned, and plan. Raises TrainingStopped soon after `stop`."""
        surrogate = Surrogate(self.space.to_unit(self.candidates), train(self.data, self.before, stop))
        surrogate.condition(self.data, self.pending)
        each = self.options.exposure_s + self.space.overhead_s
        most = int(min(self.points_left, max(self.seconds_left, 0.0) / each))
        chosen = choose(surrogate, self.references, most, stop)
        order = affordable(self.space, self.candidates[chosen], self.place, self.seconds_left, each)
        return Trained(surrogate, chosen[order])
