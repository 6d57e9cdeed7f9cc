"""Stage, beam and monitor as functions of time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.simulate.beamline import MONITOR_RATE_HZ, Beam, Motion, beamline

REST = Motion(0.2, 0.2, 1.0, 5.0)
MM = st.floats(-10, 10)


def test_a_move_takes_its_way_over_its_speed():
    move = REST.at_speed(0.5, 10.0).towards(0.7, 10.0)
    assert [move.position(t) for t in (9.0, 10.0, 10.5, 11.0, 99.0)] == pytest.approx([0.2, 0.2, 0.45, 0.7, 0.7])
    assert [move.moving(t) for t in (10.0, 10.999, 11.0)] == [True, True, False]


def test_a_move_backwards():
    move = REST.towards(-0.3, 10.0)
    assert move.position(10.25) == pytest.approx(-0.05)
    assert move.position(10.5) == -0.3


def test_stopping_and_turning_around_on_the_way():
    move = REST.towards(1.2, 10.0)
    stopped = move.stopped(10.5)
    assert stopped.position(99.0) == pytest.approx(0.7) and not stopped.moving(10.5)
    back = move.towards(0.0, 10.5)
    assert back.position(10.5) == pytest.approx(0.7) and back.position(11.0) == pytest.approx(0.2)


def test_another_speed_on_the_way_does_not_jump():
    move = REST.towards(1.2, 10.0).at_speed(0.1, 10.5)
    assert move.position(10.5) == pytest.approx(0.7)
    assert move.position(11.5) == pytest.approx(0.8)
    assert move.target == 1.2


@given(MM, MM, st.floats(0.001, 1000), st.floats(0, 100), st.floats(0, 100))
def test_a_motion_never_passes_its_target_and_never_turns(start, target, speed, first, second):
    move = Motion(start, target, speed, 0.0)
    early, late = sorted((first, second))
    assert min(start, target) <= move.position(early) <= max(start, target)
    assert abs(target - move.position(late)) <= abs(target - move.position(early))


def test_the_monitor_counts_the_dose():
    beam = Beam(1.0, began=0.0).changed(0.25, 2.0).changed(0.0, 4.0)
    assert [beam.dose_at(t) for t in (4.0, 100.0)] == [2.5, 2.5]
    world = beamline(3, 0.0)
    counts = [world.counts(2.5) for _ in range(400)]
    expected = 2.5 * MONITOR_RATE_HZ
    assert np.mean(counts) == pytest.approx(expected, abs=5 * np.sqrt(expected / 400))
    assert np.var(counts) == pytest.approx(expected, rel=0.4)
    assert world.counts(0.0) == 0


def test_a_beamline_moves_one_axis_at_a_time():
    world = beamline(0, 0.0)
    world.move("x", 0.8, 10.0)
    assert world.position(10.5) == {"x": pytest.approx(0.5), "y": 0.0}
    world.set_speed("x", 0.1, 10.5)
    world.stop("x", 11.5)
    assert world.position(99.0) == {"x": pytest.approx(0.6), "y": 0.0}
    world.set_beam(0.5, 3.0)
    assert (world.beam.intensity, world.beam.dose_at(5.0)) == (0.5, 4.0)
