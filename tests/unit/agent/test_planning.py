import numpy as np
import pytest

from edge.agent.hyperparameters import Data, Hyperparameters, TrainingStopped
from edge.agent.planning import affordable, choose, path_through, travelled, without_nearest
from edge.agent.surrogate import Surrogate
from tests.unit.agent.worlds import SPACE

POINTS = SPACE.sobol(60, 1)


@pytest.mark.parametrize("place", [None, SPACE.low])
@pytest.mark.parametrize("seconds", [0.0, 0.05, 1.0, 3.0, 1000.0])
def test_as_many_of_the_first_points_as_fit(place, seconds):
    order = affordable(SPACE, POINTS, place, seconds, 0.1)
    n = len(order)
    assert sorted(order) == list(range(n))
    assert n * 0.1 + travelled(SPACE, POINTS[order], place) <= seconds
    if n < len(POINTS):
        more = path_through(SPACE, POINTS[: n + 3], place, kicks=0)
        assert (n + 3) * 0.1 + travelled(SPACE, POINTS[more], place) > seconds


def test_a_path_begins_beside_the_place():
    order = path_through(SPACE, POINTS, POINTS[17])
    assert order[0] == 17


def test_every_position_taken_uses_up_the_nearest():
    positions = SPACE.from_unit([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]])
    assert without_nearest(SPACE, positions, SPACE.from_unit([[0.45, 0.5], [0.5, 0.5]])).tolist() in ([0], [2])
    assert without_nearest(SPACE, positions, np.repeat(positions, 2, axis=0)).tolist() == []


def test_points_are_chosen_closer_along_the_shorter_axis_and_away_from_what_is_known():
    lattice = SPACE.to_unit(SPACE.candidates(20))
    surrogate = Surrogate(lattice, Hyperparameters(0.0, 1.0, (0.1, 1.0), 1e-3))
    left = np.column_stack([np.full(30, 0.05), np.linspace(0, 1, 30)])
    surrogate.condition(Data(left, np.zeros(30), np.full(30, 1e-4)), np.empty((0, 2)))
    chosen = lattice[choose(surrogate, np.arange(0, 400, 3), 12)]
    assert len(np.unique(chosen[:, 0])) >= 6
    assert chosen[:, 0].min() > 0.1


def test_choosing_stops_when_told():
    surrogate = Surrogate(SPACE.to_unit(SPACE.candidates(5)), Hyperparameters(0.0, 1.0, (0.1, 1.0), 1e-3))
    with pytest.raises(TrainingStopped):
        choose(surrogate, np.arange(25), 3, lambda: True)
