import numpy as np

from edge.agent.acquisition import ACQUISITIONS, Outlook, integrated_variance
from edge.agent.hyperparameters import Data, Hyperparameters
from edge.agent.surrogate import Surrogate

CANDIDATES = np.random.default_rng(0).uniform(size=(30, 2))
ALL = np.arange(30)
KNOWN = Data(np.array([[0.2, 0.2], [0.8, 0.5]]), np.array([1.0, 2.0]), np.array([0.01, 0.01]))
NOWHERE = np.empty((0, 2))


def surrogate() -> Surrogate:
    made = Surrogate(CANDIDATES, Hyperparameters(0.0, 1.0, (0.2, 0.3), 1e-3))
    made.condition(KNOWN, NOWHERE)
    return made


def outlook(seconds) -> Outlook:
    at = surrogate()
    return Outlook(at.variance, at.usual_noise(), np.broadcast_to(seconds, 30), lambda: at.covariance(ALL))


def test_the_integrated_variance_is_what_measuring_takes_from_the_sum():
    before, scores = surrogate(), integrated_variance(outlook(1.0))
    for candidate in (0, 11, 29):
        after = surrogate()
        after.condition(KNOWN, CANDIDATES[candidate : candidate + 1])
        np.testing.assert_allclose(scores[candidate], (before.variance - after.variance).sum(), rtol=1e-9)


def test_rates_are_per_second():
    seconds = np.linspace(0.1, 2.0, 30)
    for name, of in (("variance_rate", "variance"), ("integrated_variance_rate", "integrated_variance")):
        np.testing.assert_allclose(ACQUISITIONS[name](outlook(seconds)) * seconds, ACQUISITIONS[of](outlook(1.0)))
    np.testing.assert_allclose((ACQUISITIONS["sigma_rate"](outlook(seconds)) * seconds) ** 2, surrogate().variance)


def test_every_function_prefers_what_is_far_from_all_that_is_known_when_time_is_equal():
    near = int(np.argmin(np.abs(CANDIDATES - KNOWN.positions[0]).max(axis=1)))
    for name, score in ACQUISITIONS.items():
        scores = score(outlook(1.0))
        assert scores.shape == (30,), name
        assert scores.argmax() != near, name
