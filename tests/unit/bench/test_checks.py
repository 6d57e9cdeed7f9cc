"""What a run's documents and the agent's observations must have in common."""

import dataclasses

import pytest

from edge.agent.messages import Observation
from edge.bench.pause import Documents, checked
from edge.experiment.series import SeriesRecord

SERIES = (SeriesRecord(1, "uid-1", 8, "", "complete"),)


def run() -> tuple[Documents, list[Observation]]:
    """Two points, of which the second was measured twice."""
    documents = Documents()
    fields = {"axes": {"x": "sx"}, "value": "v", "variance": "vv", "monitor": None, "reference": 1.0}
    documents("start", {"uid": "u", "observation": fields})
    documents("descriptor", {"uid": "s", "name": "suggestions"})
    documents("descriptor", {"uid": "p", "name": "primary"})
    documents("event", {"descriptor": "s", "seq_num": 1, "data": {}})
    for number, value in ((1, 10.0), (2, 99.0), (2, 20.0)):
        data = {"sx": number / 10, "v": value, "vv": 1.0}
        documents("event", {"descriptor": "p", "seq_num": number, "data": data})
    documents("stop", {"exit_status": "success", "num_events": {"primary": 2, "rejected": 3}})
    return documents, [Observation("u/1", {"x": 0.1}, 10.0, 1.0, "s1"), Observation("u/2", {"x": 0.2}, 20.0, 1.0)]


def test_a_run_that_is_right():
    documents, observations = run()
    found = checked(documents, observations, 2, SERIES)
    assert (found.points, found.observations, found.rejected, found.problems) == (2, 2, 3, ())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda seen: seen[:1], "differ: ['u/2']"),
        (lambda seen: [*seen, seen[0]], "twice: ['u/1']"),
        (lambda seen: [seen[0], dataclasses.replace(seen[1], value=99.0)], "differ: ['u/2']"),
        (lambda seen: [seen[0], dataclasses.replace(seen[1], position={"x": 0.21})], "differ: ['u/2']"),
        (lambda seen: [*seen, dataclasses.replace(seen[1], id="u/3")], "differ: ['u/3']"),
    ],
)
def test_an_agent_that_knows_something_else(change, said):
    documents, observations = run()
    (problem,) = checked(documents, change(observations), 2, SERIES).problems
    assert said in problem


@pytest.mark.parametrize(
    ("series", "said"),
    [((), "series []"), ((*SERIES, SeriesRecord(2, "uid-2", 4, "", "incomplete")), "series [2]")],
)
def test_a_ledger_that_is_not_complete(series, said):
    (problem,) = checked(*run(), 2, series).problems
    assert said in problem


def test_a_point_that_was_lost():
    (problem,) = checked(*run(), 3, SERIES).problems
    assert problem == "2 of 3 points were measured"


def test_a_run_that_failed():
    documents, observations = run()
    documents("stop", {"exit_status": "fail", "reason": "no beam", "num_events": {"primary": 2}})
    (problem,) = checked(documents, observations, 2, SERIES).problems
    assert problem == "the run is fail: no beam"


def test_a_run_that_never_began():
    assert "there is no start document" in checked(Documents(), [], 2, SERIES).problems
