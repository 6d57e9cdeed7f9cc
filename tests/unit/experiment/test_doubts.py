"""The detector device where ids, thresholds or stagings could be taken for others: it says so, and mixes nothing."""

import threading
from concurrent.futures import Future

import numpy as np
import pytest

from edge.experiment import dataplane
from edge.experiment.dataplane import DataPlane
from edge.experiment.detector import DetectorError, Patience, PointIncomplete
from edge.experiment.inbox import Inbox, Received
from edge.experiment.numbering import too_early
from edge.experiment.suggesting import Suggesting
from streams.codecs.results import Result, SeriesStarted
from tests.unit.experiment.beamline import ScriptedAgent
from tests.unit.experiment.control import ROUTE, SOURCE, gate, silent
from tests.unit.experiment.test_detector import eiger, made_of, point, staged, station

__all__ = ["eiger", "station"]

THRESHOLDS = ["threshold_1", "threshold_2"]
CHOOSE = r"\['threshold_1', 'threshold_2'\].*channel="


def sum_of(image_id: int, channel: str, uid: str = "uid-1") -> Result:
    return Result(SOURCE, uid, 1, image_id, channel, ROUTE, "m", "1", "", "o", 0, 0, 0)


def test_thresholds_of_which_the_second_lags(station, eiger):
    """Each threshold has batches of its own: the second's results come when the point is long over."""
    staged(eiger)
    station.channels = THRESHOLDS[:1]
    point(eiger)
    station.channels = THRESHOLDS[1:]
    for image_id in range(3):
        station.deliver(image_id)
    for _ in range(2):
        with pytest.raises(DetectorError, match=CHOOSE):
            point(eiger)
    assert station.diary.count("trigger") == 1, "nothing more is exposed"


def test_thresholds_that_change_places(station, eiger):
    staged(eiger)
    station.channels = THRESHOLDS[:1]
    point(eiger)
    station.channels = THRESHOLDS[::-1]
    with pytest.raises(DetectorError, match=CHOOSE):
        point(eiger)


def test_thresholds_are_never_mixed():
    inbox = Inbox(SOURCE)
    for channel, image_id in (("a", 0), ("b", 0), ("b", 1)):
        inbox.expect("uid-1", range(2))
        inbox.put(sum_of(image_id, channel), {"sum": np.zeros(1)})
        assert set(inbox.results) == ({0} if channel == "a" else set())
    assert inbox.channels == ["a", "b"]
    inbox.expect("uid-2", range(2))
    assert inbox.channels == [], "another series may have another"


def test_announced_thresholds_are_known_before_anything_is_exposed(station, eiger):
    station.header = {"channels": THRESHOLDS}
    with pytest.raises(DetectorError, match=CHOOSE):
        staged(eiger)
    eiger.unstage().wait(30)
    assert station.diary == ["arm", ("triggered", 1, 0), "disarm"]


@pytest.mark.parametrize("channels", [None, "threshold_1", {"a": 1}, [1, 2], ["threshold_1"]])
def test_what_else_a_header_may_say(station, eiger, channels):
    station.header = {"channels": channels}
    station.channels = THRESHOLDS[:1]
    staged(eiger)
    point(eiger)


def test_of_several_thresholds_the_chosen_one_counts():
    inbox = Inbox(SOURCE, "threshold_2")
    header = {"channels": THRESHOLDS}
    inbox.put(SeriesStarted(SOURCE, "uid-1", 1, ROUTE, "o", 0, 0, None, True, header), {})
    inbox.expect("uid-1", range(1))
    for channel in THRESHOLDS:
        inbox.put(sum_of(0, channel), {"sum": np.zeros(1)})
    assert inbox.results[0].channel == "threshold_2" and inbox.channels == []


@pytest.mark.parametrize(
    ("came_s", "early"),
    [
        ({0: 11.0, 1: 12.0, 2: 13.0}, None),
        ({0: 10.6, 1: 11.6, 2: 12.6}, None),  # read-out and clocks
        ({0: 10.4, 1: 12.0, 2: 13.0}, 0),  # of the trigger before, one image too many
        ({0: 9.9, 1: 11.1, 2: 12.1}, 0),
        ({0: 11.0, 1: 11.1, 2: 12.1}, 1),
        ({0: 11.0, 2: 13.0}, None),
        ({}, None),
    ],
)
def test_images_that_cannot_have_been_exposed_yet(came_s, early):
    results = {5 + n: Received({}, "", at_s) for n, at_s in came_s.items()}
    found = too_early(results, range(5, 8), sent_s=10.0, frame_time_s=1.0)
    assert found == (None if early is None else 5 + early)


def test_an_image_too_many_whose_result_lags_is_not_taken_for_the_next_points(station, eiger):
    """The extra one has the id of the next point's first image, and comes while that is triggered."""
    slow = made_of(station, frame_time_s=100.0)
    staged(slow)
    station.on_command["trigger"] = lambda: station.deliver(0)
    with pytest.raises(PointIncomplete, match="image 0 of series 1 came before it can have been exposed"):
        point(slow)
    slow.unstage().wait(30)
    assert [one.images for one in slow.series] == [3]
    assert "before it can have been exposed" in slow.series[0].doubt


def test_more_images_than_triggered_make_the_series_doubtful(station, eiger, caplog):
    staged(eiger)
    point(eiger)
    station.contradicts = True
    eiger.unstage().wait(30)
    (series,) = eiger.series
    assert "more images than the 3 triggered came: points of this series may hold images of others" in series.doubt
    assert series.problems == ""
    assert series.doubt in caplog.text


def test_more_images_that_come_at_the_very_end(station, eiger):
    staged(eiger)
    point(eiger)
    station.on_command["disarm"] = lambda: station.end_series(unexpected=1)
    eiger.unstage().wait(30)
    assert "more images than the 3 triggered came" in eiger.series[0].doubt


def test_staged_again_while_the_staging_before_still_ends(station, eiger):
    """After a halt nobody waits for the unstaging."""
    staged(eiger)
    entered, go, handler = gate()
    station.on_command["triggered"] = handler
    ending = eiger.unstage()
    assert entered.wait(30)
    begun = eiger.stage()
    station.on_command = {}
    go.set()
    ending.wait(30)
    begun.wait(30)
    assert station.diary == ["arm", ("triggered", 1, 0), "disarm", "arm"]
    assert point(eiger)["eiger_series_id"] == 2
    eiger.unstage().wait(30)
    assert [one.series_id for one in eiger.series] == [2]
    assert station.opened == []


def test_a_staging_does_not_wait_for_ever_for_the_one_before(station):
    eiger = staged(made_of(station, Patience(prepare_s=0.01, end_s=0.01)))
    entered, go, handler = gate()
    station.on_command["triggered"] = handler
    ending = eiger.unstage()
    assert entered.wait(30)
    with pytest.raises(DetectorError, match=r"the staging before has not ended within 0\.01 s"):
        staged(eiger)
    eiger.unstage().wait(30)
    with pytest.raises(DetectorError, match="the staging before has not ended"):
        staged(eiger)
    assert len(station.opened) == 1, "the first one's results are still heard"
    station.on_command = {}
    go.set()
    ending.wait(30)
    eiger.unstage().wait(30)
    assert point(staged(eiger))["eiger_series_id"] == 2
    eiger.unstage().wait(30)


def test_a_series_that_edge_serve_has_closed_meanwhile_is_not_triggered(station, eiger):
    """It closes one that is idle for long; what is then exposed is late."""
    staged(eiger)
    point(eiger)
    station.end_series("idle")
    assert point(eiger)["eiger_series_id"] == 2
    assert station.diary.count("trigger") == 2
    eiger.unstage().wait(30)
    assert (eiger.series[0].doubt, eiger.series[0].problems) == ("`edge serve` has closed it (idle)", "")


@pytest.mark.parametrize("failing", ["put", "arm"])
def test_what_failed_to_be_staged_is_not_triggered(station, eiger, failing, monkeypatch):
    if failing == "put":
        monkeypatch.setattr(station, "put", lambda *_: silent())
    station.on_command["arm"] = silent
    with pytest.raises(DetectorError, match="no answer"):
        staged(eiger)
    station.on_command = {}
    with pytest.raises(DetectorError, match="its staging failed"):
        point(eiger)
    assert "trigger" not in station.diary


def test_a_stop_does_not_abort_what_is_armed_after_it(station, eiger):
    staged(eiger)
    entered, go, handler = gate()
    station.on_command["triggered"] = handler
    eiger.stop()
    assert entered.wait(30)
    station.on_command = {}
    assert point(eiger)["eiger_series_id"] == 2
    go.set()
    for thread in threading.enumerate():
        if thread.name == "eiger abort":
            thread.join(30)
    assert "abort" not in station.diary
    assert point(eiger)["eiger_series_id"] == 2


class Silence:
    """A subscriber to whom nothing comes."""

    def __init__(self, *_: object, name: str) -> None:
        self.closed = threading.Event()

    def __enter__(self) -> "Silence":
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()

    def receive(self, timeout_s: float) -> None:
        self.closed.wait(1e-3)


def test_the_receiver_does_not_hold_up_the_end_of_the_process(monkeypatch):
    monkeypatch.setattr(dataplane, "Subscriber", Silence)
    before = set(threading.enumerate())
    plane = DataPlane("tcp://nowhere:1", "det", "peaks")
    inboxes = [plane.open(), plane.open()]
    receivers = set(threading.enumerate()) - before
    assert len(receivers) == 2 and all(one.daemon for one in receivers)
    plane.close(inboxes[0])
    assert [one.open for one in inboxes] == [False, True], "an opening closes only itself"
    plane.close(inboxes[0])
    plane.close(inboxes[1])
    assert not any(one.is_alive() for one in receivers)


class Unsaid(Future):
    """A future at the instant when it is done and has not yet called back."""

    def add_done_callback(self, fn) -> None:
        pass


def test_times_of_an_answer_that_comes_this_very_instant():
    agent = ScriptedAgent()
    answer = Unsaid()
    agent.request = lambda key, n=1: answer
    suggesting = Suggesting(agent, "run", 10.0, ())
    suggesting.ask()
    answer.set_result(agent.suggestions(0))
    proposal = suggesting.take()
    assert proposal.thinking_s >= 0 and 0 <= proposal.age_s < 600
