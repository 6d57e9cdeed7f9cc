"""The adaptive map on a real RunEngine: what the documents say, and what the agent is told."""

import json
import math

import pytest
from ophyd import Component, Device, Kind
from ophyd.sim import SynAxis, SynSignal

from edge.agent.messages import Observation
from edge.experiment.callbacks import normalised
from edge.experiment.errors import AgentFailed, BeamLost, DetectorError, PointFailed, PointIncomplete
from edge.experiment.plans import adaptive_map
from edge.experiment.settings import MapSettings, Monitor
from tests.unit.experiment.beamline import Counter, Detector, Documents, Motor, ScriptedAgent

POINTS = 3


class Scene:
    """Devices, agent and documents of one run."""

    def __init__(self, threaded: bool = False, counts=()) -> None:
        self.motors = [Motor("x", threaded), Motor("y", threaded)]
        self.detector = Detector(self.motors, threaded)
        self.monitor = Counter(counts, threaded)
        self.agent = ScriptedAgent()
        self.documents = Documents()

    def plan(self, points: int = POINTS, **settings):
        monitor = Monitor(self.monitor, lower_limit=100.0, reference=1000.0)
        chosen = MapSettings(**{"monitor": monitor, "beam_wait_s": 0.0} | settings)
        return adaptive_map(self.detector, self.motors, self.agent, points, settings=chosen)

    def run(self, engine, points: int = POINTS, **settings):
        return engine(self.plan(points, **settings), self.documents)

    def observations_of_documents(self) -> list[Observation]:
        uid = self.documents.of("start")[0]["uid"]
        suggested = [one["data"]["suggestion_id"] or None for one in self.documents.events("suggestions")]
        observations = []
        for event in self.documents.events("primary"):
            data, number = event["data"], event["seq_num"]
            value, variance = data["det_value"], data["det_value_variance"]
            if "i0" in data:
                value, variance = normalised(value, variance, data["i0"], 1000.0)
            position = {"x": data["x"], "y": data["y"]}
            observations.append(Observation(f"{uid}/{number}", position, value, variance, suggested[number - 1]))
        return observations


def test_a_run_is_one_event_a_point_at_the_readback(engine):
    scene = Scene()
    result = scene.run(engine)
    scene.documents.check()
    assert result.exit_status == "success"
    assert result.plan_result == scene.documents.of("start")[0]["uid"]
    events = scene.documents.events("primary")
    assert [one["data"]["x"] for one in events] == pytest.approx([0.101, 0.201, 0.301])
    assert [one["data"]["det_value"] for one in events] == pytest.approx([0.203 + 1, 0.403 + 2, 0.603 + 3])
    assert scene.agent.ingested == scene.observations_of_documents()
    assert scene.agent.pending == set() and scene.agent.abandoned == []
    assert scene.detector.staged == 0
    assert len(scene.agent.requests) == POINTS, "nothing is asked for after the last point"


def test_the_next_position_is_asked_for_before_the_point_is_measured(engine):
    scene = Scene()
    asked_at_trigger = []
    trigger = scene.detector.trigger
    scene.detector.trigger = lambda: (asked_at_trigger.append(len(scene.agent.requests)), trigger())[1]
    scene.run(engine)
    assert asked_at_trigger == [2, 3, 3]
    known = [one["data"]["suggestion_observations"] for one in scene.documents.events("suggestions")]
    assert known == [0, 0, 1]


def test_the_suggestions_are_on_record(engine):
    scene = Scene()
    scene.run(engine)
    rows = [one["data"] for one in scene.documents.events("suggestions")]
    assert [row["suggestion_id"] for row in rows] == ["s0", "s1", "s2"]
    assert rows[1]["suggestion_position_x"] == 0.2
    assert rows[1]["suggestion_sigma"] == 0.5
    assert rows[1]["suggestion_surrogate_version"] == 3
    assert rows[1]["suggestion_pending"] == 1
    assert rows[1]["suggestion_acquisition"] == "variance"
    assert rows[1]["suggestion_fallback"] is False
    assert all(row["suggestion_thinking_ms"] >= 0 and row["suggestion_age_ms"] >= 0 for row in rows)


def test_the_start_document_survives_json_and_names_everything(engine):
    scene = Scene()
    scene.run(engine)
    start = scene.documents.of("start")[0]
    assert json.loads(json.dumps(start["plan_args"])) == start["plan_args"]
    assert start["plan_name"] == "adaptive_map"
    assert (start["motors"], start["detectors"], start["num_points"]) == (["x", "y"], ["det", "i0"], POINTS)
    assert [list(one) for one in start["hints"]["dimensions"]] == [[["x"], "primary"], [["y"], "primary"]]
    hints = next(one for one in scene.documents.of("descriptor") if one["name"] == "primary")["hints"]
    assert hints["det"] == {"fields": ["det_value"]}


def test_the_accounts_of_the_series_are_on_record(engine):
    scene = Scene()
    scene.run(engine)
    rows = [one["data"] for one in scene.documents.events("series")]
    assert [(row["series_id"], row["series_images"], row["series_verdict"]) for row in rows] == [
        (1, 10, "complete"),
        (2, 20, "complete"),
    ]


def test_the_run_ends_well_when_the_agent_has_nothing_left(engine):
    scene = Scene()
    scene.agent.left = 2
    assert scene.run(engine, points=10).exit_status == "success"
    assert len(scene.documents.events("primary")) == 2
    assert scene.documents.of("stop")[0]["exit_status"] == "success"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ((math.nan, 1.0), "nan"),
        ((1.0, math.inf), "inf"),
        ((1.0, -1.0), "-1"),
        (PointIncomplete("images 3, 4 never came", 7, (3, 4)), "images 3, 4 never came"),
        (DetectorError("no answer"), "no answer"),
    ],
)
def test_a_bad_point_is_repeated_and_never_observed(engine, script, words):
    scene = Scene()
    scene.detector.script[1] = script
    scene.run(engine)
    scene.documents.check()
    (rejected,) = scene.documents.events("rejected")
    assert words in rejected["data"]["rejection_reason"]
    assert (rejected["data"]["rejection_attempt"], rejected["data"]["rejection_suggestion_id"]) == (1, "s1")
    assert rejected["data"]["x"] == pytest.approx(0.201)
    assert scene.detector.triggers == POINTS + 1
    assert scene.agent.ingested == scene.observations_of_documents()
    assert len(scene.agent.ingested) == POINTS
    assert all(math.isfinite(one.value) for one in scene.agent.ingested)


def test_a_point_without_beam_is_repeated(engine):
    scene = Scene(counts=[1000, 99.0, 0.0, 500.0])
    scene.run(engine)
    rejected = scene.documents.events("rejected")
    assert [one["data"]["rejection_beam_lost"] for one in rejected] == [True, True]
    assert [one["data"]["i0"] for one in scene.documents.events("primary")] == [1000.0, 500.0, 1000.0]
    assert scene.agent.ingested == scene.observations_of_documents()


def test_beam_that_stays_away_ends_the_run(engine):
    scene = Scene(counts=[1000, 0, 0, 0])
    with pytest.raises(BeamLost, match=r"x = 0\.2, y = 0\.1 was bad in 3 of 3 attempts.*i0 counted 0, less than 100"):
        scene.run(engine)
    scene.documents.check()
    assert scene.documents.of("stop")[0]["exit_status"] == "fail"
    assert "i0 counted 0" in scene.documents.of("stop")[0]["reason"]
    assert len(scene.documents.events("rejected")) == 3
    assert len(scene.agent.ingested) == 1
    assert scene.agent.pending == set(), "what will not be measured is abandoned"
    assert scene.detector.staged == 0


def test_a_point_that_stays_bad_ends_the_run_with_its_cause(engine):
    scene = Scene()
    scene.detector.script = {n: PointIncomplete(f"image {n} never came", 7, (n,)) for n in range(1, 9)}
    with pytest.raises(PointFailed, match="2 of 2 attempts; the last time: det: image 2 never came") as caught:
        scene.run(engine, attempts=2)
    assert isinstance(caught.value.__cause__, PointIncomplete)
    assert len(scene.agent.ingested) == 1


@pytest.mark.parametrize("threaded", [False, True])
def test_detector_and_monitor_fail_together(engine, threaded):
    """Two Statuses that fail one after the other: the second must not strike at some later message."""
    scene = Scene(threaded)
    scene.detector.script = {0: DetectorError("dead"), 2: DetectorError("dead")}
    scene.monitor.failing = {0: DetectorError("dead too"), 2: DetectorError("dead too")}
    scene.run(engine)
    scene.documents.check()
    assert len(scene.documents.events("rejected")) == 2
    assert scene.agent.ingested == scene.observations_of_documents()


def test_a_detector_that_cannot_be_staged_says_so(engine):
    scene = Scene()
    scene.detector.stage_error = DetectorError("no answer from the detector")
    with pytest.raises(DetectorError, match="no answer from the detector"):
        scene.run(engine)
    assert scene.documents.of("stop")[0]["reason"] == "no answer from the detector"
    assert scene.detector.staged == 0
    assert scene.agent.pending == set()


@pytest.mark.parametrize("threaded", [False, True])
def test_a_motor_that_fails_ends_the_run_with_its_words(engine, threaded):
    scene = Scene(threaded)
    scene.motors[1].error = OSError("y is stuck")
    with pytest.raises(OSError, match="y is stuck"):
        scene.run(engine)
    assert scene.documents.of("stop")[0]["reason"] == "y is stuck"
    assert scene.agent.pending == set() and scene.detector.staged == 0
    scene.motors[1].error = None


def test_a_late_suggestion_is_replaced_and_then_used(engine):
    scene = Scene()
    scene.agent.keep = {1}
    fallback = [{"x": 0.9, "y": 0.8}, {"x": 0.7, "y": 0.6}]
    release = scene.agent.kept

    def tell(name, document):
        if name == "event" and document["data"].get("suggestion_fallback"):
            release[1].set_result(scene.agent.suggestions(1))

    engine(scene.plan(suggest_timeout_s=1e-3, fallback=fallback), [scene.documents, tell])
    rows = [one["data"] for one in scene.documents.events("suggestions")]
    assert [row["suggestion_id"] for row in rows] == ["s0", "", "s1"]
    assert rows[1]["suggestion_position_x"] == 0.9
    assert "no answer within 0.001 s" in rows[1]["suggestion_reason"]
    assert [one.suggestion_id for one in scene.agent.ingested] == ["s0", None, "s1"]
    assert scene.agent.ingested == scene.observations_of_documents()
    assert len(scene.agent.requests) == 2, "the late answer serves: nothing else is asked for meanwhile"


def test_an_agent_that_never_answers_leaves_the_fallback_positions(engine):
    scene = Scene()
    scene.agent.keep = set(range(100))
    fallback = [{"x": 0.1 * n, "y": 0.5} for n in range(2)]
    with pytest.raises(AgentFailed, match=r"no answer within .* and no fallback position is left"):
        scene.run(engine, suggest_timeout_s=1e-3, fallback=fallback)
    assert len(scene.documents.events("primary")) == len(scene.agent.ingested) == 2
    scene.agent.kept[0].set_result(scene.agent.suggestions(0))
    assert scene.agent.abandoned == ["s0"], "an answer after the end is abandoned"


def test_an_agent_that_fails_now_and_then_costs_a_fallback(engine):
    scene = Scene()
    scene.agent.fail = {1: ValueError("not positive definite")}
    scene.run(engine, fallback=[{"x": 0.9, "y": 0.9}])
    row = scene.documents.events("suggestions")[1]["data"]
    assert row["suggestion_fallback"] is True
    assert row["suggestion_reason"] == "ValueError: not positive definite"


def test_an_agent_that_fails_for_good_ends_the_run(engine):
    scene = Scene()
    scene.agent.fail = {n: ValueError("broken") for n in range(1, 9)}
    with pytest.raises(AgentFailed, match="3 times in a row, the last time with: broken"):
        scene.run(engine, points=50, fallback=[{"x": 0.5, "y": 0.5}] * 50)
    assert len(scene.documents.events("primary")) == 3


def test_an_agent_that_recovers_is_forgiven(engine):
    scene = Scene()
    scene.agent.fail = {n: ValueError("broken") for n in (1, 2, 4, 5)}
    scene.run(engine, points=8, fallback=[{"x": 0.5, "y": 0.5}] * 4)
    assert len(scene.agent.ingested) == 8


def test_an_agent_that_learns_nothing_ends_the_run(engine):
    scene = Scene()
    scene.agent.refused = set(range(1, 50))
    with pytest.raises(AgentFailed, match=r"refused 3 observations in a row .*the last with: x = 7 is outside 0\.\.1"):
        scene.run(engine, points=50)
    scene.documents.check()
    assert scene.documents.of("stop")[0]["exit_status"] == "fail"
    assert len(scene.documents.events("primary")) == 4, "what was measured is kept"
    assert scene.agent.pending == set() and scene.detector.staged == 0


def test_an_agent_that_refuses_now_and_then_is_forgiven(engine):
    scene = Scene()
    scene.agent.refused = {0, 1, 3, 4}
    assert scene.run(engine, points=8).exit_status == "success"
    assert len(scene.agent.ingested) == 4


def test_axes_by_other_names(engine):
    scene = Scene()
    scene.motors[0].name = "sample_x"
    scene.run(engine, axes={"x": "sample_x"}, monitor=None)
    assert [one.position["x"] for one in scene.agent.ingested] == pytest.approx([0.101, 0.201, 0.301])


def test_an_agent_on_other_axes_is_refused(engine):
    scene = Scene()
    scene.motors[0].name = "sample_x"
    with pytest.raises(ValueError, match=r"MapSettings.axes"):
        scene.run(engine)
    assert scene.motors[0].moves == []


def test_a_missing_field_is_named(engine):
    scene = Scene()
    with pytest.raises(ValueError, match="det has no event field 'det_other_variance'"):
        scene.run(engine, value_field="det_value", variance_field="det_other_variance")


def test_ophyd_devices_as_a_beamline_has_them(engine):
    """Signals, pseudo-motors and detectors of ophyd: staged the old way, read by many fields, hinted by kind."""
    x, y = SynAxis(name="x"), SynAxis(name="y")

    class Scaler(Device):
        counts = Component(SynSignal, func=lambda: 100.0 + x.readback.get(), kind=Kind.hinted)
        counts_variance = Component(SynSignal, func=lambda: 100.0)

        def trigger(self):
            self.counts.trigger()
            return self.counts_variance.trigger()

    agent, documents = ScriptedAgent(), Documents()
    ring = SynSignal(name="ring", func=lambda: 50.0)  # a bare signal hints nothing
    settings = MapSettings(monitor=Monitor(ring, reference=50.0))
    engine(adaptive_map(Scaler(name="scaler"), [x, y], agent, 3, settings=settings), documents)
    documents.check()
    assert [one.value for one in agent.ingested] == pytest.approx([100.1, 100.2, 100.3])
    assert agent.ingested[0].variance == pytest.approx(100.0 + 100.1**2 / 50)
    keys = next(one for one in documents.of("descriptor") if one["name"] == "primary")["object_keys"]
    assert keys["x"] == ["x", "x_setpoint"]


def test_an_actuator_without_its_field_is_named(engine):
    scene = Scene()

    class Odd(Motor):
        @property
        def hints(self):
            return {"fields": []}

        def read(self):
            return {f"{self.name}_position": {"value": self.position, "timestamp": 0.0}}

        def describe(self):
            return {key: {"source": "memory", "dtype": "number", "shape": []} for key in self.read()}

    scene.motors[0] = scene.detector.motors[0] = Odd("x")
    with pytest.raises(ValueError, match=r"x has no event field 'x'; it has .'x_position'."):
        scene.run(engine)
