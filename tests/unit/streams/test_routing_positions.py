import math

import pytest

from streams.messages import Compression, Frame
from streams.positions.headers import MAX_AXES, position_in
from streams.routing import Route


def frame(source: str = "eiger", channel: str = "threshold_1") -> Frame:
    return Frame(source, "u", 1, 0, channel, (1, 1), "|u1", Compression.NONE, b"\0")


@pytest.mark.parametrize(
    ("route", "wanted"),
    [
        (Route("r", "m"), True),
        (Route("r", "m", sources=("eiger",)), True),
        (Route("r", "m", sources=("jungfrau",)), False),
        (Route("r", "m", channels=("threshold_1",)), True),
        (Route("r", "m", sources=("eiger",), channels=("threshold_2",)), False),
    ],
)
def test_selection(route, wanted):
    assert route.wants(frame()) is wanted


@pytest.mark.parametrize(
    ("user_data", "position"),
    [
        ({"position": {"row": 1, "col": 2.5}}, {"row": 1.0, "col": 2.5}),
        ({"position": {"x": 0}, "other": "ignored"}, {"x": 0.0}),
        (None, None),
        ("text", None),
        ({}, None),
        ({"position": {}}, None),
        ({"position": [1, 2]}, None),
        ({"position": {"x": "1"}}, None),
        ({"position": {"x": True}}, None),
        ({"position": {"x": 1.0, "y": math.nan}}, None),
        ({"position": {"x": math.inf}}, None),
        ({"position": {1: 1.0}}, None),
        ({"position": {"x" * 65: 1.0}}, None),
        ({"position": {"x": 10**400}}, None),
        ({"position": {str(i): 0 for i in range(MAX_AXES + 1)}}, None),
    ],
)
def test_a_position_is_read_whole_or_not_at_all(user_data, position):
    assert position_in(user_data) == position
