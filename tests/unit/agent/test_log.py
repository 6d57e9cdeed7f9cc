import math
from dataclasses import replace

import pytest

from edge.agent import log as module
from edge.agent.log import Log
from edge.agent.messages import Observation
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
        ({"position": {"x": math.nan, "y": 0.0}}, "x = nan"),
        ({"position": {"x": 1.2, "y": 0.0}}, "x = 1.2 is outside 0..1"),
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


def test_an_encoder_may_read_a_little_beyond_the_limit():
    log = Log(SPACE)
    log.ingest([Observation("edge", {"x": 1.0005, "y": 3.004}, 1.0, 0.1)])
    assert log.positions()[0, 0] == 1.0005


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MOST_OBSERVATIONS", 2)
    log = Log(SPACE)
    log.ingest([GOOD, observation("second", (0, 0), 1.0)])
    log.ingest([replace(GOOD, value=2.0)])
    with pytest.raises(ValueError, match="more than 2 observations"):
        log.ingest([observation("third", (0, 0), 1.0)])
