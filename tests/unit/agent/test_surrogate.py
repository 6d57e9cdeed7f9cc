import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.agent.hyperparameters import Data, Hyperparameters
from edge.agent.kernel import correlation
from edge.agent.surrogate import BLOCK, FIRST_CAPACITY, Surrogate
from tests.unit.agent.worlds import dense

HYPER = Hyperparameters(mean=2.0, scale=3.0, lengths=(0.15, 0.4), white=1e-6)
CANDIDATES = np.random.default_rng(0).uniform(size=(40, 2))
# A coarse grid makes repeated and nearly repeated positions likely.
coordinate = st.integers(0, 4).map(lambda k: k / 4) | st.integers(0, 4).map(lambda k: k / 4 + 1e-9)
row = st.tuples(coordinate, coordinate, st.floats(-10, 10), st.sampled_from([0.0, 1e-6, 0.1, 1e6]))


def data(rows) -> Data:
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return Data(table[:, :2], table[:, 2], table[:, 3])


def check(surrogate: Surrogate, known: Data, pending: np.ndarray) -> None:
    mean, variance = dense(CANDIDATES, HYPER, known.positions, known.values, known.variances, pending)
    np.testing.assert_allclose(surrogate.variance, variance, atol=1e-6)
    scale = max(1.0, float(np.abs(known.values).max(initial=0)))
    np.testing.assert_allclose(surrogate.mean, mean, atol=1e-4 * scale, rtol=1e-4)
    np.testing.assert_allclose(surrogate.sigma**2, HYPER.scale**2 * variance, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.lists(row, max_size=12), st.lists(st.tuples(coordinate, coordinate), max_size=3)), max_size=5)
)
def test_however_the_rows_came_the_posterior_is_the_dense_one(steps):
    surrogate = Surrogate(CANDIDATES, HYPER)
    for rows, pending in steps:
        known, out = data(rows), np.array(pending, dtype=np.float64).reshape(-1, 2)
        surrogate.condition(known, out)
        check(surrogate, known, out)


@pytest.mark.parametrize("n", [1, BLOCK - 1, BLOCK + 1, 2 * FIRST_CAPACITY + 3])
def test_row_by_row_is_the_same_as_in_blocks(n):
    rng = np.random.default_rng(n)
    known = Data(rng.uniform(size=(n, 2)), rng.normal(size=n), rng.uniform(0.01, 0.1, n))
    grown, built = Surrogate(CANDIDATES, HYPER), Surrogate(CANDIDATES, HYPER)
    for at in range(1, n + 1):
        grown.condition(Data(known.positions[:at], known.values[:at], known.variances[:at]), rng.uniform(size=(2, 2)))
    grown.condition(known, np.empty((0, 2)))
    built.condition(known, np.empty((0, 2)))
    np.testing.assert_allclose(grown.variance, built.variance, atol=1e-9)
    np.testing.assert_allclose(grown.mean, built.mean, atol=1e-7)
    check(built, known, np.empty((0, 2)))


def test_a_position_repeated_five_hundred_times_stays_positive_definite():
    n = 500
    known = Data(np.full((n, 2), 0.5), np.linspace(-1, 1, n) + 2.0, np.zeros(n))
    surrogate = Surrogate(CANDIDATES, HYPER)
    surrogate.condition(known, np.full((2, 2), 0.5))
    assert np.isfinite(surrogate.mean).all()
    assert (surrogate.variance >= 0).all()
    check(surrogate, known, np.full((2, 2), 0.5))


def test_values_that_changed_in_place_are_noticed():
    known = data([(0.1, 0.2, 1.0, 0.1), (0.7, 0.7, 2.0, 0.1)])
    surrogate = Surrogate(CANDIDATES, HYPER)
    surrogate.condition(known, np.empty((0, 2)))
    changed = Data(known.positions, known.values + np.array([5.0, 0.0]), known.variances)
    surrogate.condition(changed, np.empty((0, 2)))
    check(surrogate, changed, np.empty((0, 2)))


def test_imagined_rows_count_until_the_next_condition():
    known = data([(0.1, 0.2, 1.0, 0.1)])
    surrogate = Surrogate(CANDIDATES, HYPER)
    surrogate.condition(known, np.empty((0, 2)))
    before = surrogate.covariance(np.arange(5))
    projection = surrogate.imagine(7).copy()
    np.testing.assert_allclose(
        surrogate.covariance(np.arange(5)), before - np.outer(projection[:5], projection), atol=1e-12
    )
    _, variance = dense(CANDIDATES, HYPER, known.positions, known.values, known.variances, CANDIDATES[7:8])
    np.testing.assert_allclose(surrogate.variance, variance, atol=1e-9)
    surrogate.condition(known, np.empty((0, 2)))
    check(surrogate, known, np.empty((0, 2)))


def test_the_covariance_is_the_posterior_one():
    known = data([(0.1, 0.2, 1.0, 0.1), (0.6, 0.9, 1.0, 0.5)])
    surrogate = Surrogate(CANDIDATES, HYPER)
    surrogate.condition(known, np.empty((0, 2)))
    lengths = np.array(HYPER.lengths)
    gram = correlation(known.positions, known.positions, lengths) + np.diag(known.variances / 9 + 1e-6)
    across = correlation(known.positions, CANDIDATES, lengths)
    right = correlation(CANDIDATES, CANDIDATES, lengths) - across.T @ np.linalg.solve(gram, across)
    np.testing.assert_allclose(surrogate.covariance(np.arange(40)), right, atol=1e-9)
    np.testing.assert_allclose(np.diag(right), surrogate.variance, atol=1e-9)
