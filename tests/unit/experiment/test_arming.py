"""The device arms when everything behind it is ready, and not before."""

import threading
import time

import pytest

from edge.experiment.arming import wait_until_ready
from edge.experiment.detector import DetectorError, EdgeDetector, Exposure, NotReady, Patience, PointIncomplete
from streams.controller import Problem
from tests.unit.experiment.control import Station, SumMeasurement, gate, silent

MODEL = Problem("model", "model 'sums' is not ready on the server", "wait a few seconds")
MAPS = Problem("subscriber", "subscriber 'maps' is not connected", "start it")
ELSEWHERE = Problem("source", "`edge serve` has no source 'det'", "give it the name of one")
ENOUGH = Patience(margin_s=1, announce_s=0.01, ready_s=60, results_s=0.01, end_s=0.01)
NONE = Patience(margin_s=1, announce_s=0.01, ready_s=0, results_s=0.01, end_s=0.01)


@pytest.fixture
def station():
    return Station()


@pytest.fixture
def device(station):
    made: list[EdgeDetector] = []

    def make(patience: Patience = ENOUGH) -> EdgeDetector:
        made.append(EdgeDetector("eiger", station, station, SumMeasurement(), Exposure(2, 1e-9, 100), patience))
        return made[0]

    yield make
    for one in made:
        one.unstage().wait(30)


def staged(eiger: EdgeDetector) -> EdgeDetector:
    eiger.stage().wait(30)
    return eiger


def test_it_waits_and_arms_when_all_is_ready(station, device):
    station.problems = [(MODEL, MAPS), (MODEL,), (MAPS,)]
    eiger = staged(device())
    assert station.problems == [] and station.diary == ["arm"]
    eiger.trigger().wait(30)
    assert eiger.read()["eiger_series_id"]["value"] == 1


def test_it_refuses_to_arm_and_says_what_is_missing_and_what_to_do(station, device):
    station.problems = [(MODEL, MAPS)] * 1000
    eiger = device(NONE)
    with pytest.raises(
        NotReady, match=r"http://memory was not armed.*model 'sums' is not ready on the server \(wait a"
    ) as caught:
        staged(eiger)
    assert caught.value.problems == (MODEL, MAPS)
    assert "subscriber 'maps' is not connected (start it)" in str(caught.value)
    eiger.unstage().wait(30)
    assert station.diary == [], "neither armed nor disarmed"
    assert station.opened == []
    station.problems = []
    assert staged(eiger).trigger().wait(30) is None
    assert station.diary == ["arm", "trigger"]


def test_nothing_is_triggered_that_was_not_armed(station, device):
    station.problems = [(MODEL,)] * 1000
    eiger = device(NONE)
    with pytest.raises(NotReady):
        staged(eiger)
    with pytest.raises(DetectorError, match="its staging failed"):
        eiger.trigger().wait(30)
    assert station.diary == []


def test_what_waiting_does_not_mend_is_told_at_once(station, device):
    station.problems = [(MODEL, ELSEWHERE)] * 1000
    with pytest.raises(NotReady, match="no source 'det'"):
        staged(device(Patience(ready_s=3600)))
    assert len(station.problems) == 999


def test_a_data_plane_that_does_not_answer_is_waited_for_too(station, device):
    answers = [silent, silent, lambda: None]
    station.on_command["ready"] = lambda: answers.pop(0)()
    staged(device())
    assert answers == [] and station.diary == ["arm"]
    station.on_command["ready"] = silent
    with pytest.raises(NotReady, match="no answer within 1 s"):
        wait_until_ready(station, station.inbox, "http://memory", 0, lambda: False)


def test_unstage_ends_the_wait_and_the_run_engine_is_never_held_up(station, device):
    eiger = device(Patience(ready_s=3600))
    asked, go, handler = gate()
    station.problems = [(MODEL,)] * 10_000
    station.on_command["ready"] = handler
    began = time.monotonic()
    status = eiger.stage()
    assert not status.done
    assert asked.wait(30)
    ended = eiger.unstage()
    assert not ended.done and time.monotonic() - began < 30, "both come back while the worker is held"
    go.set()
    ended.wait(30)
    with pytest.raises(DetectorError, match="given up before the data plane was ready"):
        status.wait(30)
    assert station.diary == []


def test_a_connection_that_ended_is_not_waited_for(station, device):
    station.problems = [(MAPS,)] * 10_000
    station.on_command["ready"] = lambda: station.inbox.close()
    with pytest.raises(DetectorError, match="connection to `edge serve` ended; unstage"):
        staged(device(Patience(ready_s=3600)))


def test_a_series_in_the_middle_of_a_run_is_armed_by_the_same_rule(station, device):
    eiger = staged(device(NONE))
    station.lost = {0}
    with pytest.raises(PointIncomplete):
        eiger.trigger().wait(30)
    station.lost, station.problems = set(), [(MODEL,)]
    with pytest.raises(NotReady):
        eiger.trigger().wait(30)
    assert station.diary.count("arm") == 1
    eiger.trigger().wait(30)
    assert eiger.read()["eiger_series_id"]["value"] == 2


def test_a_trigger_that_is_given_up_does_not_wait_on(station, device):
    eiger = staged(device(Patience(margin_s=1, announce_s=0.01, ready_s=3600, results_s=0.01, end_s=0.01)))
    station.lost = {0}
    with pytest.raises(PointIncomplete):
        eiger.trigger().wait(30)
    station.lost = set()
    asked = threading.Event()
    station.on_command["ready"] = asked.set
    station.problems = [(MODEL,)] * 10_000
    first = eiger.trigger()
    assert asked.wait(30)
    second = eiger.trigger()
    first.wait(30)
    station.problems = []
    second.wait(30)
    assert first.success and station.diary.count("trigger") == 2


@pytest.mark.parametrize("mode", ["enabled", "disabled"])
def test_the_stream_is_enabled_before_anything_is_asked(station, device, mode):
    """With some detectors the socket comes up only then; enabling it anew would take it down."""
    station.get = lambda name, module="detector", kind="config": {"mode": mode}[name]
    puts: list[tuple[str, object, str]] = []
    station.put = lambda name, value, module="detector": (
        puts.append((name, value, module)),
        station.config.update({name: value}),
    )
    asked: list[list] = []
    station.on_command["ready"] = lambda: asked.append([one for one in puts if one[2] == "stream"])
    staged(device())
    assert asked == [[("mode", "enabled", "stream")] if mode == "disabled" else []]
