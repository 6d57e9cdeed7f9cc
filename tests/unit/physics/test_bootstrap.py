import numpy as np
import pytest

from edge.physics.bootstrap import bootstrap, mean_interval, ratio_interval


def test_the_interval_of_a_mean_is_that_of_normal_theory():
    values = np.random.default_rng(3).normal(5, 2, 400)
    low, high = mean_interval(values)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_nineteen_of_twenty_intervals_hold_the_truth():
    rng = np.random.default_rng(4)
    held = 0
    for seed in range(200):
        low, high = mean_interval(rng.normal(0, 1, 60), seed)
        held += low <= 0 <= high
    assert 0.90 <= held / 200 <= 0.985


def test_frames_of_a_ratio_are_drawn_together():
    below = np.random.default_rng(5).uniform(1, 100, 50)
    low, high = ratio_interval(2 * below, below)
    assert low == pytest.approx(2) and high == pytest.approx(2)


def test_repeats_itself():
    assert mean_interval(np.arange(9.0)) == mean_interval(np.arange(9.0))


def test_draws_without_a_number_are_left_out():
    def statistic(drawn):
        return float("nan") if 0 in drawn else float(drawn.mean())

    low, high = bootstrap(statistic, 5)
    assert 1 <= low <= high <= 4
    assert np.isnan(bootstrap(lambda drawn: float("nan"), 5)).all()


def test_refuses_what_tells_no_spread():
    with pytest.raises(ValueError, match="two or more"):
        mean_interval(np.array([1.0]))
    with pytest.raises(ValueError, match="same frames"):
        ratio_interval(np.ones(3), np.ones(4))
