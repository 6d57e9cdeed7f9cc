import math

import numpy as np
import pytest

from edge.agent.space import Axis, Space
from tests.unit.agent.worlds import SPACE


def test_the_slowest_axis_decides():
    assert SPACE.travel_s([0, 0], [[0.5, 1.0], [0.1, 5.0], [0, 0]]).tolist() == [0.5, 1.0, 0.0]


def test_unit_coordinates_and_back():
    positions = SPACE.candidates(4)
    assert positions.shape == (16, 2)
    assert SPACE.to_unit(positions).min() == 0
    assert SPACE.to_unit(positions).max() == 1
    np.testing.assert_allclose(SPACE.from_unit(SPACE.to_unit(positions)), positions)
    assert SPACE.mapping(SPACE.array({"y": 1.0, "x": 0.25})) == {"x": 0.25, "y": 1.0}


def test_sobol_points_are_even_and_the_first_ones_of_a_longer_sequence():
    points = SPACE.sobol(64, 0)
    counts, _, _ = np.histogram2d(*SPACE.to_unit(points).T, bins=8, range=[[0, 1], [0, 1]])
    assert (counts == 1).all()
    np.testing.assert_array_equal(SPACE.sobol(20, 0), points[:20])
    assert SPACE.sobol(0, 0).shape == (0, 2)


@pytest.mark.parametrize(
    "axis", [(1.0, 1.0, 1.0), (0.0, math.inf, 1.0), (0.0, 1.0, 0.0), (math.nan, 1.0, 1.0), (-1e308, 1e308, 1.0)]
)
def test_axes_that_cannot_be(axis):
    with pytest.raises(ValueError, match="axis 'a'"):
        Axis("a", *axis)


def test_spaces_that_cannot_be():
    for axes in ((), (Axis("a", 0, 1), Axis("a", 0, 1))):
        with pytest.raises(ValueError, match="different names"):
            Space(axes)
    with pytest.raises(ValueError, match="overhead"):
        Space((Axis("a", 0, 1),), overhead_s=-1)
    with pytest.raises(ValueError, match="candidates"):
        SPACE.candidates(1001)
