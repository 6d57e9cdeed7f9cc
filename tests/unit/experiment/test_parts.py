"""The small parts: observations from events, normalisation, measurement, records, readings that are held."""

import asyncio
import math
from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ophyd.status import Status

from edge.experiment.callbacks import Fields, PrimaryEvents, is_usable, normalised, observation_of
from edge.experiment.held import Held
from edge.experiment.inbox import Inbox
from edge.experiment.measurement import BraggIntensity
from edge.experiment.records import Record, rejection_record, series_record, series_row, suggestion_record
from edge.experiment.series import SeriesRecord, series_of
from edge.experiment.settings import MapSettings
from edge.experiment.shortfall import never_arrived
from edge.experiment.waiting import finished, settled
from streams.controller import AccountNow
from tests.unit.experiment.beamline import Detector, Motor


def test_normalisation_is_unbiased_and_its_variance_is_that_of_poisson_counts():
    rng = np.random.default_rng(1)
    counts, monitor = rng.poisson(400, 200_000).astype(float), rng.poisson(2500, 200_000).astype(float)
    values, variances = zip(*(normalised(v, v, m, 1000.0) for v, m in zip(counts, monitor, strict=True)), strict=True)
    assert np.mean(values) == pytest.approx(1000 * 400 / 2500, rel=2e-3)
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.02)


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(1, 1e9), st.floats(1e-3, 1e6))
def test_normalisation_scales(value, variance, monitor, reference):
    scaled = normalised(value, variance, monitor, reference)
    plain = normalised(value, variance, monitor)
    assert scaled == pytest.approx((plain[0] * reference, plain[1] * reference**2))
    assert plain[1] >= variance / monitor**2 * (1 - 1e-12)


def test_an_observation_needs_its_fields():
    fields = Fields({"x": "sx"}, "v", "v_variance", "i0", 10.0)
    data = {"sx": 0.5, "v": 4.0, "v_variance": 4.0, "i0": 2.0}
    observation = observation_of(data, fields, "run/1", "s1")
    assert observation.position == {"x": 0.5}
    assert (observation.value, observation.variance) == normalised(4.0, 4.0, 2.0, 10.0)
    with pytest.raises(KeyError):
        observation_of({"sx": 0.5}, fields, "run/1", None)


def test_the_later_event_of_one_number_counts_and_other_streams_and_runs_do_not():
    events = PrimaryEvents()
    fields = Fields({}, "v", "w")
    events("start", {"uid": "run"})
    with pytest.raises(LookupError, match="no event"):
        events.observation(fields, None)
    events("start", {"uid": "nested"})
    events("descriptor", {"uid": "d", "run_start": "run", "name": "primary"})
    events("descriptor", {"uid": "other", "run_start": "run", "name": "rejected"})
    events("descriptor", {"uid": "nested-d", "run_start": "nested", "name": "primary"})
    for descriptor, value in (("d", 1.0), ("d", 2.0), ("other", 3.0), ("nested-d", 4.0)):
        events("event", {"descriptor": descriptor, "seq_num": 1, "data": {"v": value, "w": 1.0}})
    observation = events.observation(fields, "s")
    assert (observation.id, observation.value, observation.suggestion_id) == ("run/1", 2.0, "s")


@pytest.mark.parametrize(("value", "variance"), [(math.nan, 1), (1, math.nan), (math.inf, 1), (1, -1e-9)])
def test_what_is_no_measurement(value, variance):
    assert not is_usable(value, variance)
    assert is_usable(0.0, 0.0)


def peaks(count: int, intensity: float) -> dict[str, np.ndarray]:
    values = np.zeros(128, np.float32)
    values[:count] = intensity
    return {"count": np.array([count], np.int32), "intensity": values, "intensity_sigma": np.sqrt(values)}


def test_bragg_intensity_of_a_point_adds_frames_and_variances():
    measurement = BraggIntensity()
    assert measurement.route == "peaks"
    reduced = measurement.reduce([peaks(2, 100.0), peaks(3, 50.0), peaks(0, 0.0)])
    assert reduced == pytest.approx({"intensity": 350.0, "intensity_variance": 351.0, "peaks": 5 / 3}), "351: no peak"
    assert reduced.keys() == measurement.describe().keys()
    assert next(iter(measurement.describe())) == "intensity"


def test_records_have_fixed_fields():
    record = Record("row", {"a": (int, "mm"), "b": (bool, "")})
    with pytest.raises(ValueError, match="has the fields"):
        record.set_values({"a": 1})
    record.set_values({"a": 1, "b": True})
    assert {key: one["value"] for key, one in record.read().items()} == {"row_a": 1, "row_b": True}
    assert record.describe()["row_a"] == {"source": "plan", "dtype": "integer", "shape": [], "units": "mm"}


def test_every_record_describes_what_it_reads():
    series = SeriesRecord(1, "uid", 6, "", "unknown", "its end was not announced")
    for record, row in ((series_record(), series_row(series)),):
        record.set_values(row)
        assert record.read().keys() == record.describe().keys()
    assert series_row(series)["received"] == -1
    assert "suggestion_position_x" in suggestion_record(["x"]).describe()
    assert "rejection_reason" in rejection_record().describe()


def test_detectors_of_other_kinds_have_no_series():
    class Other:
        series = 3

    assert series_of(Other()) == series_of(object()) == ()


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"suggest_timeout_s": 0.0}, {"beam_wait_s": -1.0}])
def test_impossible_settings(wrong):
    with pytest.raises(ValueError, match=r"one attempt at least|suggest_timeout_s is above 0"):
        MapSettings(**wrong)


@pytest.mark.parametrize(
    ("expected", "missing", "lacking", "never"),
    [
        (30, {"": [(4, 5), (8, 30)]}, [4, 6], [4]),
        (30, {"a": [(4, 6)], "b": [(5, 6)]}, [4, 5], [5]),
        (30, {}, [4], []),
        (None, {}, [4, 5, 6], [5, 6]),
        (None, {"": [(2, 3)]}, [2, 4, 5, 6], [2, 6]),
    ],
)
def test_images_that_never_arrived(expected, missing, lacking, never):
    now = AccountNow("uid", True, "", {"expected": expected, "received": 5}, {}, missing)
    assert never_arrived(now, lacking) == never


def test_the_inbox_wakes_and_ends():
    inbox = Inbox("det")
    assert inbox.wait(lambda: True, 0.0)
    assert not inbox.wait(lambda: False, 0.0)
    inbox.close()
    assert not inbox.wait(lambda: False, 600.0), "nobody waits for a receiver that has ended"


def test_waiting_survives_cancelling_and_repeats():
    async def scenario() -> None:
        future: Future[int] = Future()
        factory = settled(future, math.inf)
        first, second = factory(), factory()
        first.cancel()
        assert not future.cancelled()
        future.set_exception(ValueError("the agent's"))
        await asyncio.wait_for(second, 30)
        await asyncio.wait_for(factory(), 30)
        late: Future[int] = Future()
        await asyncio.wait_for(settled(late, 0.0)(), 30)
        status = Status()
        watcher = finished(status)()
        status.set_exception(ValueError("the device's"))
        await asyncio.wait_for(watcher, 30)

    asyncio.run(scenario())


def test_held_readings_stay():
    motor = Motor("x")
    held = Held(motor)
    with pytest.raises(RuntimeError, match="nothing is held of x"):
        held.read()
    asyncio.run(awaited(held))
    motor.position = 77.0
    assert held.read()["x"]["value"] == 0.0
    assert (held.name, held.parent, held.hints, held.triggerable) == ("x", None, {"fields": ["x"]}, False)


def test_held_devices_may_answer_later_and_may_fail():
    class Slow(Motor):
        async def read(self):
            await asyncio.sleep(0)
            return super().read()

        async def describe(self):
            return super().describe()

        async def read_configuration(self):
            return {"c": {"value": 1, "timestamp": 0}}

        async def describe_configuration(self):
            return {"c": {"source": "s", "dtype": "integer", "shape": []}}

    held = Held(Slow("x"))
    asyncio.run(awaited(held))
    assert held.read()["x"]["value"] == 0.0
    assert asyncio.run(held.describe()).keys() == {"x"}
    assert asyncio.run(held.read_configuration()).keys() == asyncio.run(held.describe_configuration()).keys() == {"c"}

    class Broken(Motor):
        def read(self):
            raise OSError("no such device")

    held = Held(Broken("x"))
    asyncio.run(awaited(held))
    assert isinstance(held.failure, OSError)


def test_a_failed_trigger_is_kept_and_not_read():
    detector = Detector([Motor("x")])
    detector.script[0] = ValueError("dead")
    held = Held(detector)
    assert held.trigger().success
    assert str(held.failure) == "dead"
    asyncio.run(awaited(held))
    with pytest.raises(RuntimeError, match="nothing is held of det: dead"):
        held.read()
    held.trigger()
    asyncio.run(awaited(held))
    assert held.failure is None and held.read()["det_value"]["value"] == 2.0


async def awaited(held: Held) -> None:
    await asyncio.wait([held.hold()])
    await asyncio.sleep(0)


def test_an_earlier_trigger_that_is_still_out_is_given_up():
    statuses = []

    class Open(Detector):
        def trigger(self):
            statuses.append(Status(obj=self))
            return statuses[-1]

    held = Held(Open([]))
    first, second = held.trigger(), held.trigger()
    assert first.done and first.success and not second.done
    statuses[0].set_exception(ValueError("of the one given up"))
    assert held.failure is None and not second.done
    statuses[1].set_finished()
    assert second.done
