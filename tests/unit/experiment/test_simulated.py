"""Motor and monitor of the simulated beamline, against a stage in memory."""

import json
import threading

import httpx
import pytest

from edge.experiment.simulated import DetectorError, LimitError, SimulatedMonitor, SimulatedMotor


class Stage:
    """Moves by a step at each look; while it is stuck never to the end of its range."""

    STEP = 0.4

    def __init__(self) -> None:
        self.value = self.target = 0.0
        self.stuck = False
        self.asked: list[str] = []
        self.looked = threading.Event()
        self.answers: dict[str, httpx.Response] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.method} {request.url.path.rpartition('/')[2]}")
        if (answer := self.answers.get(request.url.path.rpartition("/")[2])) is not None:
            return answer
        if request.url.path.endswith("/stop"):
            self.target = self.value
        elif request.url.path.endswith("/count"):
            return httpx.Response(200, json={"value": 1e6 * json.loads(request.content)["value"]})
        elif request.method == "PUT":
            self.target = json.loads(request.content)["value"]
        elif not (self.stuck and self.target == 1.0):
            self.value += max(-self.STEP, min(self.STEP, self.target - self.value))
        if request.method == "GET" and self.value != self.target:
            self.looked.set()
        moving = self.value != self.target
        document = {"value": self.value, "target": self.target, "moving": moving, "speed": 100.0, "low": 0, "high": 1}
        return httpx.Response(200, json=document)


@pytest.fixture
def stage():
    return Stage()


@pytest.fixture
def motor(stage):
    made = SimulatedMotor("x", "http://sim", "x", transport=httpx.MockTransport(stage))
    yield made
    made.close()


def test_a_move_is_done_when_the_stage_stands_at_the_target(stage, motor):
    motor.set(1.0).wait(30)
    assert stage.value == 1.0
    assert motor.read()["x"]["value"] == 1.0
    assert motor.locate() == {"setpoint": 1.0, "readback": 1.0}
    assert motor.describe()["x"]["units"] == "mm"
    assert motor.hints == {"fields": ["x"]}


def test_reading_asks_nobody(stage, motor):
    before = len(stage.asked)
    motor.read(), motor.describe(), motor.locate(), motor.check_value(0.5)
    assert len(stage.asked) == before


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_outside_the_limits(motor, stage, value):
    with pytest.raises(LimitError, match="its limits are 0 and 1"):
        motor.set(value)
    assert stage.target == 0.0


@pytest.mark.parametrize("success", [True, False])
def test_stop_on_the_way(stage, motor, success):
    stage.stuck = True
    status = motor.set(1.0)
    assert stage.looked.wait(30)
    motor.stop(success=success)
    assert (status.exception(30) is None) is success
    assert "PUT stop" in stage.asked
    assert motor.locate()["readback"] == stage.value < 1.0


def test_a_new_target_replaces_the_old_one(stage, motor):
    stage.stuck = True
    first = motor.set(1.0)
    assert stage.looked.wait(30)
    motor.set(0.5).wait(30)
    assert first.success
    assert motor.read()["x"]["value"] == 0.5


def test_a_move_that_is_refused(stage, motor):
    stage.answers["x"] = httpx.Response(500, text="no")
    with pytest.raises(DetectorError, match="refused with 500"):
        motor.set(0.5).wait(30)


@pytest.mark.parametrize("document", [[], {"value": "here"}, {"value": 1}])
def test_a_server_of_another_kind(stage, document):
    stage.answers["x"] = httpx.Response(200, json=document)
    with pytest.raises(DetectorError, match="not what `edge simulate` answers"):
        SimulatedMotor("x", "http://sim", "x", transport=httpx.MockTransport(stage))


def test_the_monitor_counts_for_its_time(stage):
    monitor = SimulatedMonitor("i0", "http://sim", 0.25, transport=httpx.MockTransport(stage))
    with pytest.raises(RuntimeError, match="trigger it first"):
        monitor.read()
    monitor.trigger().wait(30)
    assert monitor.read()["i0"]["value"] == 250_000
    assert monitor.describe().keys() == monitor.read().keys()
    stage.answers["count"] = httpx.Response(503)
    with pytest.raises(DetectorError, match="refused with 503"):
        monitor.trigger().wait(30)
    with pytest.raises(RuntimeError, match="counted nothing"):
        monitor.read()
    monitor.close()
