import numpy as np
import pytest
from scipy.stats import poisson

from edge.physics.anscombe import TABLE_TO, anscombe, unbiased_inverse


@pytest.mark.parametrize("mean", [0.0, 0.003, 0.2, 1.0, 7.7, 60.0, TABLE_TO - 1, TABLE_TO + 1, 5000.0])
def test_the_inverse_of_the_mean_is_the_mean(mean):
    counts = np.arange(int(mean + 12 * np.sqrt(mean) + 30))
    transformed = float(poisson.pmf(counts, mean) @ anscombe(counts))
    assert unbiased_inverse(np.array(transformed)) == pytest.approx(mean, abs=1e-5, rel=1e-5)


def test_the_plain_inverse_would_be_too_low():
    counts = np.random.default_rng(0).poisson(4.0, 200_000)
    filtered = anscombe(counts).mean()
    assert filtered**2 / 4 - 3 / 8 == pytest.approx(3.75, abs=0.03)
    assert unbiased_inverse(filtered) == pytest.approx(4.0, abs=0.03)


def test_less_than_nothing_is_nothing():
    np.testing.assert_array_equal(unbiased_inverse(np.array([-3.0, 0.0, 1.2, 2 * np.sqrt(3 / 8)])), 0)


def test_it_rises_without_a_step():
    steps = np.diff(unbiased_inverse(np.linspace(1.3, 60, 20_000)))
    assert (steps > 0).all() and steps.max() < 0.1


def test_noise_is_one():
    rng = np.random.default_rng(1)
    for mean in (5.0, 40.0, 1000.0):
        assert anscombe(rng.poisson(mean, 50_000)).std() == pytest.approx(1, abs=0.03)
