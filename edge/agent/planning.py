"""Planning all that is left of an experiment: which points, and the way through them.

Point by point, an agent goes to and fro: it measures next what is worth most next. Where the end is known, the points
that are still affordable are chosen first, each as if the ones before had been measured (their variance needs only
where), and then joined by a short path. Choosing is greedy in Cohn's criterion, see `acquisition.integrated_variance`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge.agent.hyperparameters import TrainingStopped
from edge.agent.space import Space
from edge.agent.surrogate import Surrogate
from edge.agent.tour import shortest_path

Float = NDArray[np.float64]

MOST_PLANNED = 1000
KICKS = 2  # of the path, a point: within 2 % of the best known, in a tenth of a second
SIZING = 12
"""Bisections for the number of points, which is below 2 ** 12."""


def choose(
    surrogate: Surrogate, references: NDArray[np.intp], most: int, stop: Callable[[], bool] = lambda: False
) -> NDArray[np.intp]:
    """Numbers of `most` candidates, the best first, that together lower the variance at the `references` far.

    They stay rows of `surrogate` until it is conditioned again. Raises TrainingStopped soon after `stop` says so.
    """
    noise = surrogate.usual_noise()
    with_map = surrogate.covariance(references)
    chosen = []
    for _ in range(min(most, MOST_PLANNED)):
        if stop():
            raise TrainingStopped
        won = np.einsum("rm,rm->m", with_map, with_map) / (surrogate.variance + noise)
        chosen.append(int(np.argmax(won)))
        row = surrogate.imagine(chosen[-1])
        with_map -= np.outer(row[references], row)
    return np.array(chosen, dtype=np.intp)


def path_through(space: Space, positions: Float, place: Float | None, kicks: int = KICKS) -> NDArray[np.intp]:
    """Order in which to visit `positions` [n, axes], from `place` if that is known."""
    if place is None:
        return np.array(shortest_path(_times(space, positions), kicks=kicks), dtype=np.intp)
    both = np.vstack([place[None], positions])
    return np.array(shortest_path(_times(space, both), 0, kicks)[1:], dtype=np.intp) - 1


def affordable(space: Space, positions: Float, place: Float | None, seconds: float, each_s: float) -> NDArray[np.intp]:
    """Order of as many of the first `positions` [n, axes] as can be visited in `seconds`, `each_s` besides travel."""
    low, high = 0, int(min(len(positions), max(seconds, 0.0) / each_s))
    best = np.empty(0, dtype=np.intp)
    for _ in range(SIZING):
        if low >= high:
            break
        n = (low + high + 1) // 2
        order = path_through(space, positions[:n], place, kicks=0)
        if n * each_s + travelled(space, positions[order], place) <= seconds:
            low, best = n, order
        else:
            high = n - 1
    better = path_through(space, positions[:low], place)
    shorter = travelled(space, positions[better], place) < travelled(space, positions[best], place)
    return better if shorter else best


def travelled(space: Space, path: Float, place: Float | None) -> float:
    """Seconds of travel along `path` [n, axes], from `place` if that is known."""
    if place is not None:
        path = np.vstack([place[None], path])
    return float(space.travel_s(path[:-1], path[1:]).sum())


def without_nearest(space: Space, positions: Float, taken: Float) -> NDArray[np.intp]:
    """Numbers of `positions` [n, axes] that are left when each of `taken` [m, axes] uses up the one nearest to it."""
    left = list(range(len(positions)))
    for position in taken:
        if left:
            left.pop(int(np.argmin(space.travel_s(position, positions[left]))))
    return np.array(left, dtype=np.intp)


def _times(space: Space, positions: Float) -> Float:
    return space.travel_s(positions[:, None], positions[None])
