import numpy as np
import pytest

from edge.agent import reconstruct as module
from edge.agent.reconstruct import reconstruct
from tests.unit.agent.worlds import SPACE, measured, observation, waves


def test_the_map_is_found_within_its_own_uncertainty(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 37)
    positions = SPACE.candidates(15)
    mean, sigma = reconstruct(SPACE, measured(SPACE.sobol(80, 0), 0), positions)
    off = mean - waves(SPACE.to_unit(positions))
    assert mean.shape == sigma.shape == (225,)
    assert np.sqrt(np.mean(off**2)) < 0.05
    assert np.mean(np.abs(off) < 3 * sigma) > 0.95


def test_one_observation_is_enough_and_none_is_not():
    mean, sigma = reconstruct(SPACE, [observation("only", (0.5, 0.5), 4.0)], SPACE.candidates(3))
    np.testing.assert_allclose(mean, 4.0)
    assert np.isfinite(sigma).all()
    with pytest.raises(ValueError, match="no observations"):
        reconstruct(SPACE, [], SPACE.candidates(3))
