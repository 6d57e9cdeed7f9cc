import math

import pytest

from streams.positions.headers import LARGEST, AxisOf, header_reader, position_in

NDATTR = (AxisOf("x", ("ndattr", "SampleX"), factor=1e-3), AxisOf("y", ("ndattr", "SampleY"), offset=5.0))


def test_without_axes_the_position_of_the_header_is_read():
    assert header_reader() is position_in


@pytest.mark.parametrize(
    ("user_data", "position"),
    [
        ({"ndattr": {"SampleX": 2000, "SampleY": 1.5, "Name": "s"}, "timestamp": 1.0}, {"x": 2.0, "y": 6.5}),
        ({"ndattr": {"SampleX": 2000}}, None),
        ({"ndattr": {"SampleX": "2000", "SampleY": 1.5}}, None),
        ({"ndattr": {"SampleX": True, "SampleY": 1.5}}, None),
        ({"ndattr": {"SampleX": math.nan, "SampleY": 1.5}}, None),
        ({"ndattr": {"SampleX": 10**400, "SampleY": 1.5}}, None),
        ({"ndattr": {"SampleX": {"value": 1}, "SampleY": 1.5}}, None),
        ({"ndattr": [1, 2]}, None),
        ({"SampleX": 1, "SampleY": 2}, None),
        ("text", None),
        (None, None),
    ],
)
def test_axes_are_picked_by_their_paths_all_or_none(user_data, position):
    assert header_reader(NDATTR)(user_data) == position


def test_a_scaled_number_may_become_too_large():
    assert header_reader([AxisOf("x", ("x",), factor=4.0)])({"x": LARGEST}) is None
