import numpy as np
import pytest

from edge.physics.count_judging import (
    FLOOR,
    GROUPS,
    count_groups,
    group_sums,
    pixel_groups,
    poisson_deviance,
    pulls,
    scores,
)

RNG = np.random.default_rng(0)
TRUTH = np.exp(RNG.uniform(-4, 4, (6, 40, 50)))


def test_deviance():
    assert poisson_deviance(np.array([2.0]), np.array([2.0]))[0] == 0
    assert poisson_deviance(np.array([2.0]), np.array([0.0]))[0] == pytest.approx(4.0)
    assert poisson_deviance(np.array([3.0]), np.array([2.0]))[0] == pytest.approx(2 * (1 + 2 * np.log(2 / 3)))


def test_scores_are_one_a_frame():
    predicted, wanted = np.zeros((2, 3, 3)), np.zeros((2, 3, 3))
    wanted[1] = 2.0
    found = scores(predicted, wanted)
    assert found.square.tolist() == [0, 4]
    assert found.deviance == pytest.approx([2 * FLOOR, 2 * (FLOOR - 2 + 2 * np.log(2 / FLOOR))])


def test_what_is_not_good_is_left_out():
    predicted, wanted = np.ones((1, 2, 2)), np.array([[[1.0, 1.0], [1.0, 1e6]]])
    good = wanted < 10
    found = scores(predicted, wanted, good=good)
    assert found.square.tolist() == [0] and found.deviance.tolist() == [0]


def test_groups_share_the_counts_or_the_pixels():
    by_count, by_pixel = count_groups(TRUTH), pixel_groups(TRUTH)
    assert set(by_count.ravel()) == set(by_pixel.ravel()) == set(range(GROUPS))
    counts = group_sums(TRUTH, by_count).sum(axis=0)
    assert counts == pytest.approx(np.full(GROUPS, TRUTH.sum() / GROUPS), rel=0.01)
    assert (np.bincount(by_pixel.ravel()) == TRUTH.size // GROUPS).all()
    for groups in (by_count, by_pixel):
        assert TRUTH[groups == 3].max() <= TRUTH[groups == 4].min()


def test_a_calibrated_estimate_has_no_bias_in_any_group():
    """Gamma prior, Poisson counts: the mean of the posterior is known."""
    rng = np.random.default_rng(1)
    truth = rng.gamma(0.7, 4.0, (40, 50, 50))
    expected = (rng.poisson(truth) + 0.7) / (1 + 1 / 4.0)
    wanted = rng.poisson(9 * truth) / 9
    groups = count_groups(expected)
    off = group_sums(expected, groups).sum(axis=0) / group_sums(wanted, groups).sum(axis=0) - 1
    assert np.abs(off).max() < 0.02
    chosen = count_groups(wanted)  # by what it is compared with, the same estimate looks wrong
    off = group_sums(expected, chosen).sum(axis=0) / group_sums(wanted, chosen).sum(axis=0) - 1
    assert off[0] > 0.3 and off[-1] < -0.1


def test_pulls_are_of_deviation_one_where_the_variance_is_right():
    rng = np.random.default_rng(2)
    truth = rng.gamma(0.7, 4.0, 100_000)
    expected = (rng.poisson(truth) + 0.7) / 1.25
    variance = expected / 1.25
    wanted = rng.poisson(9 * truth) / 9
    assert pulls(expected, variance, wanted, expected / 9).std() == pytest.approx(1, abs=0.02)
    assert pulls(expected, 4 * variance, wanted, expected / 9).std() < 0.6
