import numpy as np
import pytest

from edge.agent import path
from edge.agent.log import MOST_OBSERVATIONS
from edge.agent.path import PathAgent, snake_raster, sobol_tour
from tests.unit.agent.worlds import SPACE, observation


def test_a_raster_turns_at_the_end_of_each_line():
    unit = SPACE.to_unit(snake_raster(SPACE, 3, 2))
    assert unit.tolist() == [[0, 0], [1, 0], [1, 0.5], [0, 0.5], [0, 1], [1, 1]]
    assert SPACE.to_unit(snake_raster(SPACE, 1, 2)).tolist() == [[0, 0.5], [1, 0.5]]
    with pytest.raises(ValueError, match="0 x 2"):
        snake_raster(SPACE, 0, 2)


def test_a_tour_has_the_sobol_points_and_little_travel():
    points, tour = SPACE.sobol(50, 3), sobol_tour(SPACE, 50, 3)
    assert sorted(tour.tolist()) == sorted(points.tolist())
    assert SPACE.travel_s(tour[:-1], tour[1:]).sum() < 0.3 * SPACE.travel_s(points[:-1], points[1:]).sum()
    assert SPACE.travel_s(SPACE.low, tour[0]) <= SPACE.travel_s(SPACE.low, tour[-1])
    assert (sobol_tour(SPACE, 50, 4) != tour).any()


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_short_tours(n):
    assert sobol_tour(SPACE, n, 0).shape == (n, 2)


def test_a_path_is_suggested_in_order_and_ends():
    way = snake_raster(SPACE, 2, 2)
    agent = PathAgent(SPACE, way)
    first, second = agent.suggest(2)
    assert [first.position, second.position] == [SPACE.mapping(way[0]), SPACE.mapping(way[1])]
    assert (first.pending, second.pending) == (0, 1)
    agent.ingest([observation("o", (0, 0), 1.0, settles=first.id)])
    agent.abandon([second.id, "unknown"])
    rest = agent.suggest(5)
    assert [out.position for out in rest] == [SPACE.mapping(position) for position in way[2:]]
    assert (rest[0].observations, rest[0].pending) == (1, 0)
    assert agent.suggest() == []
    assert len({out.id for out in (first, second, *rest)}) == 4


def test_a_path_that_leaves_the_space_is_refused():
    with pytest.raises(ValueError, match="outside"):
        PathAgent(SPACE, [[2.0, 0.0]])
    with pytest.raises(ValueError, match=r"x = 1\.0005 is outside"):
        PathAgent(SPACE, [[1.0005, 0.0]])


def test_rounding_leads_no_path_beyond_a_limit():
    (out,) = PathAgent(SPACE, [[1.0 + 2**-50, -2.0]]).suggest()
    assert out.position == {"x": 1.0, "y": -2.0}


def test_a_path_may_have_more_points_than_a_surrogate_can_hold(monkeypatch):
    agent = PathAgent(SPACE, np.full((MOST_OBSERVATIONS + 1, 2), 0.5))
    out = agent.suggest(MOST_OBSERVATIONS + 1)
    agent.ingest([observation(one.id, (0.5, 0.5), 1.0, settles=one.id) for one in out])
    assert len(agent.observations) == MOST_OBSERVATIONS + 1
    monkeypatch.setattr(path, "MOST_POSITIONS", 3)
    with pytest.raises(ValueError, match="a path of 4 positions"):
        PathAgent(SPACE, np.full((4, 2), 0.5))
