import numpy as np
import pytest
from scipy.optimize import approx_fprime

from edge.agent import hyperparameters as module
from edge.agent.hyperparameters import (
    LENGTH_BOUNDS,
    WHITE_FLOOR,
    Data,
    TrainingStopped,
    cost,
    train,
    untrained,
)
from edge.agent.kernel import squared_distances


def drawn(n: int, noise: float = 0.05) -> Data:
    """Smooth data, shorter along the first axis."""
    rng = np.random.default_rng(1)
    positions = rng.uniform(size=(n, 2))
    values = 100 + 10 * np.sin(12 * positions[:, 0] + 1.5 * positions[:, 1])
    return Data(positions, values + rng.normal(0, noise, n), np.full(n, noise**2))


def test_the_gradient_is_that_of_the_cost():
    known = drawn(25)
    squared = squared_distances(known.positions, known.positions, np.ones(2))
    values, noise = (known.values - 100) / 7, known.variances
    for parameters in ([-1.0, -0.5, 0.2, -6.0], [-2.0, 0.5, -1.0, -2.0]):
        at = np.array(parameters)
        _, gradient = cost(at, squared, values, noise)
        numeric = approx_fprime(at, lambda p: cost(p, squared, values, noise)[0], 1e-6)
        np.testing.assert_allclose(gradient, numeric, rtol=1e-3, atol=1e-3)


def test_the_shorter_axis_is_found_and_little_noise():
    learned = train(drawn(80))
    assert learned.lengths[0] < 0.4 * learned.lengths[1]
    assert learned.white < 1e-2
    assert 2 < learned.scale < 200


def test_units_and_offset_of_the_values_do_not_matter():
    known = drawn(40)
    learned = train(known)
    other = train(Data(known.positions, 1e6 * known.values - 5e7, 1e12 * known.variances))
    np.testing.assert_allclose(other.lengths, learned.lengths, rtol=1e-3)
    np.testing.assert_allclose(other.mean, 1e6 * learned.mean - 5e7, rtol=1e-3)


def test_unknown_scatter_becomes_white_noise():
    known = drawn(120, noise=3.0)
    learned = train(Data(known.positions, known.values, np.zeros(120)))
    assert learned.scale**2 * learned.white == pytest.approx(9.0, rel=0.5)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_values_without_any_spread(value):
    rng = np.random.default_rng(0)
    learned = train(Data(rng.uniform(size=(10, 2)), np.full(10, value), np.zeros(10)))
    assert np.isfinite([learned.mean, learned.scale, learned.white, *learned.lengths]).all()
    assert learned.scale > 0
    assert learned.white >= WHITE_FLOOR


def test_points_all_at_one_place():
    rng = np.random.default_rng(0)
    learned = train(Data(np.full((30, 2), 0.3), rng.normal(size=30), np.zeros(30)))
    assert all(LENGTH_BOUNDS[0] <= length <= LENGTH_BOUNDS[1] for length in learned.lengths)


def test_too_few_points_are_left_to_the_priors():
    known = drawn(2)
    assert train(known) == untrained(known)
    assert untrained(Data(np.empty((0, 2)), np.empty(0), np.empty(0))).scale == 1.0


def test_more_points_than_needed_are_thinned_out_evenly(monkeypatch):
    monkeypatch.setattr(module, "MOST_TRAINED_ON", 15)
    known = drawn(43)
    few = Data(known.positions[::3], known.values[::3], known.variances[::3])
    assert train(known) == train(few)


def test_training_stops_when_told():
    with pytest.raises(TrainingStopped):
        train(drawn(20), stop=lambda: True)
