"""The detector device: which images make a point, and what happens when that is in doubt."""

import threading

import pytest

from edge.experiment.detector import DetectorError, EdgeDetector, Exposure, Patience, PointIncomplete
from edge.experiment.errors import CommandRefused
from streams.codecs.results import SeriesStarted
from tests.unit.experiment.control import Station, SumMeasurement, gate, refuse, silent

SHORT = Patience(margin_s=1, announce_s=0.01, results_s=0.01, end_s=0.01)


@pytest.fixture
def station():
    made = Station()
    yield made
    names = [one.name for one in threading.enumerate() if one.name.startswith("eiger")]
    assert names == [], "the worker ends with the staging"


@pytest.fixture
def eiger(station):
    device = made_of(station)
    yield device
    device.unstage().wait(30)
    device_threads = [one for one in threading.enumerate() if one.name.startswith("eiger")]
    for thread in device_threads:
        thread.join(30)


def made_of(station, patience=SHORT, **exposure) -> EdgeDetector:
    return EdgeDetector(
        "eiger",
        station,
        station,
        SumMeasurement(),
        Exposure(**{"frames": 3, "triggers": 100, "frame_time_s": 1e-9} | exposure),
        patience,
    )


def staged(eiger) -> EdgeDetector:
    eiger.stage().wait(30)
    return eiger


def point(eiger) -> dict:
    eiger.trigger().wait(30)
    return {key: one["value"] for key, one in eiger.read().items()}


def test_armed_once_and_a_point_is_a_range_of_images(station, eiger):
    staged(eiger)
    first, second = point(eiger), point(eiger)
    assert station.config["nimages"] == 3 and station.config["ntrigger"] == 100
    assert station.config["trigger_mode"] == "ints"
    assert station.config["frame_time"] == 1e-9, "a station in memory has its images at once"
    assert [first["eiger_series_id"], first["eiger_first_image"], first["eiger_frames"]] == [1, 0, 3]
    assert [second["eiger_series_id"], second["eiger_first_image"], second["eiger_frames"]] == [1, 3, 3]
    assert (first["eiger_total"], second["eiger_total"]) == (0 + 1 + 2, 3 + 4 + 5)
    assert first["eiger_order"] == 1, "results came in reverse, and are reduced in the order of their ids"
    assert second["eiger_latency_ms"] >= 0
    eiger.unstage().wait(30)
    assert station.diary == ["arm", "trigger", "trigger", ("triggered", 1, 6), "disarm"]
    (series,) = eiger.series
    assert (series.series_id, series.series_uid, series.images, series.verdict) == (1, "uid-1", 6, "complete")
    assert (series.doubt, series.problems) == ("", "")
    assert station.opened == []
    assert station.named == {(1, "uid-1")}


def test_a_point_tells_how_many_of_its_frames_are_untrained(station, eiger):
    staged(eiger)
    assert point(eiger)["eiger_untrained"] == 0
    station.untrained = ("energy 12 keV, trained at 8.8 keV",)
    assert point(eiger)["eiger_untrained"] == 3


def test_descriptions_cover_readings(station, eiger):
    staged(eiger)
    point(eiger)
    assert eiger.describe().keys() == eiger.read().keys()
    assert eiger.describe_configuration().keys() == eiger.read_configuration().keys()
    assert eiger.hints == {"fields": ["eiger_total"]}
    assert eiger.read_configuration()["eiger_frames_per_point"]["value"] == 3


def test_results_of_other_series_sources_and_points_do_not_count(station, eiger):
    staged(eiger)
    point(eiger)
    station.lost = {4}

    def strangers() -> None:
        station.deliver(4, uid="uid-of-yesterday")
        station.deliver(4, source="another")
        station.deliver(1)  # late, of the point before

    station.on_command["trigger"] = strangers
    with pytest.raises(PointIncomplete) as caught:
        point(eiger)
    assert caught.value.lacking == (4,)


def test_an_incomplete_point_says_what_is_missing_and_a_new_series_is_armed(station, eiger):
    staged(eiger)
    point(eiger)
    station.lost = {4}
    with pytest.raises(PointIncomplete, match=r"1 of 3 results of series 1 .* images 4 never reached `edge serve`"):
        point(eiger)
    with pytest.raises(RuntimeError, match="no reading"):
        eiger.read()
    station.lost = set()
    again = point(eiger)
    assert (again["eiger_series_id"], again["eiger_first_image"]) == (2, 0)
    tail = station.diary[station.diary.index(("account", 1)) :]
    assert tail == [("account", 1), ("triggered", 1, 6), "disarm", "arm", "trigger"]
    eiger.unstage().wait(30)
    assert [one.images for one in eiger.series] == [6, 3]
    assert "images 4 never reached" in eiger.series[0].doubt


def test_frames_that_failed_are_told_from_frames_that_never_came(station, eiger):
    staged(eiger)
    station.holding, station.failed = True, {"wrong_dtype": 3}
    with pytest.raises(PointIncomplete, match=r"images 0, 1, 2 reached it, but no result came .*failed .*wrong_dtype"):
        point(eiger)


def test_a_data_plane_that_died_is_told(station, eiger):
    staged(eiger)
    station.lost = {1}

    def dead(series_id, series_uid):
        raise DetectorError("nobody answers at tcp://memory")

    station.account = dead
    with pytest.raises(PointIncomplete, match="images 1; and nobody answers at tcp://memory"):
        point(eiger)


def test_images_that_nobody_triggered_make_the_point_doubtful(station, eiger):
    staged(eiger)
    station.extra = [3]
    with pytest.raises(PointIncomplete, match="image 3 of series 1 came, but only 3 were triggered"):
        point(eiger)
    assert point(eiger)["eiger_series_id"] == 2


def test_images_that_nobody_triggered_between_points(station, eiger):
    staged(eiger)
    point(eiger)
    station.deliver(3)
    assert point(eiger)["eiger_series_id"] == 2


def test_an_earlier_series_of_the_same_number_is_not_taken_for_the_new_one(station, eiger):
    """`initialize` lets the detector count its series from 1 again."""
    staged(eiger)
    station.inbox.put(SeriesStarted("det", "uid-stale", 2, "sums", "o", 0, 0, None, True), {})
    station.lost = {0}
    with pytest.raises(PointIncomplete):
        point(eiger)
    station.lost = set()
    assert point(eiger)["eiger_series_id"] == 2


@pytest.mark.parametrize(
    ("fault", "kind", "closing", "images"), [(refuse, CommandRefused, "disarm", 3), (silent, DetectorError, "abort", 6)]
)
def test_a_trigger_that_fails_closes_the_series(station, eiger, fault, kind, closing, images):
    staged(eiger)
    point(eiger)
    station.on_command["trigger"] = fault
    with pytest.raises(kind, match="PUT http://memory"):
        point(eiger)
    assert station.diary[-2:] == [("triggered", 1, images), closing]
    station.on_command = {}
    assert point(eiger)["eiger_series_id"] == 2


def test_more_points_than_the_detector_was_armed_for(station):
    eiger = staged(made_of(station, triggers=2))
    station.known = False  # the detector ends such a series by itself
    assert [point(eiger)["eiger_series_id"] for _ in range(5)] == [1, 1, 2, 2, 3]
    eiger.unstage().wait(30)
    assert [one.images for one in eiger.series] == [6, 6, 3]
    assert [one.problems for one in eiger.series[:2]] == ["", ""]
    assert "did not know it any more" in eiger.series[2].problems


def test_several_thresholds_without_a_choice(station, eiger):
    staged(eiger)
    station.channels = ("threshold_1", "threshold_2")
    with pytest.raises(DetectorError, match=r"\['threshold_1', 'threshold_2'\].*channel="):
        point(eiger)


def test_a_trigger_given_up_while_it_waits_ends_well_and_its_late_results_are_nobodys(station):
    eiger = staged(made_of(station, Patience(results_s=30)))
    station.holding = True
    entered, go, handler = gate()
    station.on_command["trigger"] = handler
    first = eiger.trigger()
    assert entered.wait(30)
    second = eiger.trigger()  # the RunEngine paused and repeats it; the first exposure is not over yet
    station.on_command = {}
    station.held, held = [], station.held
    assert not first.done and not second.done
    go.set()
    first.wait(30)
    assert first.success
    with pytest.raises(RuntimeError, match="no reading"):
        eiger.read()
    station.release()
    for image_id in held:
        station.deliver(image_id)
    second.wait(30)
    assert eiger.read()["eiger_first_image"]["value"] == 3
    assert eiger.read()["eiger_series_id"]["value"] == 1
    eiger.unstage().wait(30)


def test_a_trigger_given_up_before_it_began_exposes_nothing(station):
    eiger = staged(made_of(station, Patience(results_s=30)))
    entered, go, handler = gate()
    station.on_command["trigger"] = handler
    statuses = [eiger.trigger()]
    assert entered.wait(30)
    statuses += [eiger.trigger(), eiger.trigger()]
    station.on_command = {}
    go.set()
    for status in statuses:
        status.wait(30)
    assert station.diary.count("trigger") == 2
    eiger.unstage().wait(30)


def test_a_trigger_given_up_never_fails(station, eiger):
    staged(eiger)
    entered, go, handler = gate()
    station.on_command["trigger"] = lambda: (handler(), silent())
    first = eiger.trigger()
    assert entered.wait(30)
    second = eiger.trigger()
    station.on_command["trigger"] = lambda: None
    go.set()
    first.wait(30)
    second.wait(30)
    assert first.success and second.success
    assert eiger.read()["eiger_series_id"]["value"] == 2, "what the failed one exposed is not known"


def test_a_long_exposure_is_aborted_by_unstage(station):
    eiger = staged(made_of(station, frame_time_s=100.0))
    entered, go, handler = gate()

    def aborted() -> None:
        handler()
        refuse()

    station.on_command = {"trigger": aborted, "abort": go.set}
    status = eiger.trigger()
    assert entered.wait(30)
    eiger.unstage().wait(30)
    assert status.done
    abort = station.diary.index("abort")
    assert ("triggered", 1, 3) in station.diary[:abort], "the data plane is told before the series ends"


def test_stop_aborts_and_the_next_trigger_arms_anew(station, eiger):
    staged(eiger)
    point(eiger)
    eiger.stop()
    for thread in threading.enumerate():
        if thread.name == "eiger abort":
            thread.join(30)
    assert station.diary[-2:] == [("triggered", 1, 3), "abort"]
    station.known = False
    assert point(eiger)["eiger_series_id"] == 2
    station.known = True
    eiger.unstage().wait(30)
    assert (eiger.series[0].doubt, eiger.series[0].problems) == ("it was stopped", "")


def test_a_series_that_is_not_announced(station, eiger):
    station.announce = False
    with pytest.raises(DetectorError, match=r"armed http://memory .series 1., but within .* is the address of source"):
        staged(eiger)


def test_a_series_from_another_source(station, eiger):
    station.announced_by = "eiger9m"
    with pytest.raises(DetectorError, match=r"it came from source \['eiger9m'\]"):
        staged(eiger)
    eiger.unstage().wait(30)
    assert station.diary[-1] == "disarm", "armed is armed: it is disarmed although nobody saw the series"


@pytest.mark.parametrize(
    ("state", "first"), [("na", "initialize"), ("error", "initialize"), ("ready", "disarm"), ("idle", "arm")]
)
def test_the_detector_is_made_idle_first(station, eiger, state, first):
    station.now = state
    staged(eiger)
    assert station.diary[0] == first


def test_an_arm_that_is_not_answered_is_taken_back(station, eiger):
    station.on_command["arm"] = silent
    with pytest.raises(DetectorError, match="no answer"):
        staged(eiger)
    assert station.diary == ["arm", "disarm"]


def test_a_detector_that_somebody_uses_is_left_alone(station, eiger):
    station.now = "acquire"
    with pytest.raises(DetectorError, match="state 'acquire'"):
        staged(eiger)
    eiger.unstage().wait(30)
    assert station.diary == []


def test_unstage_of_a_dead_detector_ends_and_hides_nothing(station, eiger):
    staged(eiger)
    station.lost = {0}
    with pytest.raises(PointIncomplete):
        point(eiger)
    station.lost = set()
    point(eiger)
    station.on_command, station.known = {"disarm": silent}, False
    status = eiger.unstage()
    status.wait(30)
    assert status.success
    assert [one.verdict for one in eiger.series] == ["incomplete", "unknown"]
    assert "no answer within 1 s" in eiger.series[1].problems
    assert "did not know it any more" in eiger.series[1].problems
    assert "end was not announced" in eiger.series[1].problems


def test_unstage_without_stage_and_twice(station, eiger):
    assert eiger.unstage().success
    staged(eiger)
    eiger.unstage().wait(30)
    assert eiger.unstage().success
    staged(eiger)
    assert point(eiger)["eiger_series_id"] == 2


def test_trigger_without_stage_and_stage_twice(station, eiger):
    with pytest.raises(RuntimeError, match="not staged"):
        eiger.trigger()
    staged(eiger)
    with pytest.raises(Exception, match="staged already"):
        eiger.stage()


def test_a_defect_of_a_measurement_ends_the_status(station, eiger):
    """Whatever happens in the worker, nobody waits for ever."""
    staged(eiger)

    def broken(arrays):
        raise ZeroDivisionError("a defect")

    eiger._measurement.reduce = broken
    with pytest.raises(ZeroDivisionError):
        point(eiger)


def test_route_of_measurement_and_data_plane_agree(station):
    class Other(SumMeasurement):
        route = "peaks"

    with pytest.raises(ValueError, match=r"'peaks'.*'sums'"):
        EdgeDetector("eiger", station, station, Other(), Exposure())


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"frame_time_s": 0.0}, {"triggers": 0}])
def test_impossible_exposures(wrong):
    with pytest.raises(ValueError, match="exposure"):
        Exposure(**wrong)
