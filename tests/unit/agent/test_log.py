import math
from dataclasses import replace

import pytest

from edge.agent.log import Log
from edge.agent.messages import Observation, Suggestion
from tests.unit.agent.worlds import SPACE, observation

GOOD = observation("good", (0.5, 0.5), 1.0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"value": math.nan}, "value nan"),
        ({"value": math.inf}, "value inf"),
        ({"value": 1e101}, "value 1e+101"),
        ({"variance": math.nan}, "variance nan"),
        ({"variance": -1.0}, "variance -1"),
        ({"variance": math.inf}, "variance inf"),
        ({"position": {"x": math.nan, "y": 0.0}}, "x = nan is no finite number"),
        ({"position": {"x": -math.inf, "y": 0.0}}, "x = -inf is no finite number"),
        (
            {"position": {"x": 250.5, "y": 0.0}},
            "x = 250.5 is far outside 0..1: it may be in other units than the space",
        ),
        ({"position": {"x": 0.0, "y": -7.01}}, "y = -7.01 is far outside -2..3"),
        ({"position": {"x": 0.0, "y": -7.01}}, "or of another motor"),
        ({"position": {"x": 0.5}}, "names axes"),
        ({"position": {"x": 0.5, "y": 0.0, "z": 0.0}}, "names axes"),
    ],
)
def test_what_cannot_be_taken_is_refused_by_name_and_nothing_is_taken(change, says):
    log = Log(SPACE)
    with pytest.raises(ValueError, match="observation 'bad'") as refused:
        log.ingest([GOOD, replace(GOOD, id="bad", **change)])
    assert says in str(refused.value)
    assert log.observations == ()


def test_the_same_id_is_taken_once_and_other_content_replaces_in_place():
    log = Log(SPACE)
    other = observation("other", (0.1, 0.1), 2.0)
    assert log.ingest([GOOD, other])
    assert not log.ingest([GOOD])
    changed = replace(GOOD, value=5.0)
    assert log.ingest([changed])
    assert log.observations == (changed, other)


@pytest.mark.parametrize(("x", "y"), [(1.0005, 3.004), (-0.01, 3.1), (2.0, 8.0), (-1.0, -7.0)])
def test_actuators_may_stop_outside_the_space(x, y):
    log = Log(SPACE)
    log.ingest([Observation("edge", {"x": x, "y": y}, 1.0, 0.1)])
    assert log.positions().tolist() == [[x, y]]


def test_memory_is_bounded():
    log = Log(SPACE, most=2)
    log.ingest([GOOD, observation("second", (0, 0), 1.0)])
    log.ingest([replace(GOOD, value=2.0)])
    with pytest.raises(ValueError, match="observation 'third': 2 are known, and more cannot be taken"):
        log.ingest([replace(GOOD, value=3.0), observation("third", (0, 0), 1.0)])
    assert [seen.value for seen in log.observations] == [2.0, 1.0]


def test_there_is_room_for_what_is_neither_known_nor_out():
    log = Log(SPACE, most=3)
    log.ingest([GOOD])
    log.put_out(Suggestion("s", GOOD.position, 1.0, 1, 1, 0, "start"))
    assert log.room == 1
    log.ingest([replace(GOOD, id="second", suggestion_id="s")])
    assert log.room == 1
