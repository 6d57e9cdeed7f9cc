import numpy as np
import pytest

from edge.physics.deviance import (
    FLOOR_COUNTS,
    frame_deviance,
    framed,
    noise_deviance,
    poisson_deviance,
    scaled_expectation,
)
from edge.physics.diffraction import counted, mean_counts
from tests.unit.physics.scenes import ring_probe, smooth_object

SIZE = 32
MODES = ring_probe(SIZE, counts=1e5)
PATCH = smooth_object((SIZE, SIZE), 5)
FRAME = counted(mean_counts(MODES, PATCH), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("count", "expected", "deviance"),
    [
        (3.0, 3.0, 0.0),
        (0.0, 2.0, 4.0),
        (4.0, 2.0, 2 * (2 - 4 + 4 * np.log(2))),
        (1.0, 0.0, 2 * (FLOOR_COUNTS - 1 - np.log(FLOOR_COUNTS))),  # what cannot happen costs a lot, not without end
    ],
)
def test_the_deviance_of_one_pixel(count: float, expected: float, deviance: float) -> None:
    assert poisson_deviance(np.array([count]), np.array([expected]))[0] == pytest.approx(deviance)


def test_it_is_never_negative_and_zero_only_at_the_counts_themselves() -> None:
    counts, expected = np.meshgrid(np.arange(30), np.linspace(0.5, 40, 80))
    found = poisson_deviance(counts, expected)
    assert (found >= 0).all()
    assert (found[counts != expected] > 0).all()


def test_the_truth_leaves_only_the_noise() -> None:
    noise = noise_deviance(mean_counts(MODES, PATCH), np.random.default_rng(1))
    assert frame_deviance(FRAME, MODES, PATCH) == pytest.approx(noise, rel=0.2)
    assert frame_deviance(FRAME, MODES, np.ones_like(PATCH)) > 3 * noise


def test_neither_the_scale_nor_the_constant_of_the_phase_is_seen() -> None:
    own = frame_deviance(FRAME, MODES, PATCH)
    assert frame_deviance(FRAME, MODES, 0.7 * np.exp(1.1j) * PATCH) == pytest.approx(own, rel=1e-6)


def test_flagged_pixels_do_not_count() -> None:
    good = np.ones(FRAME.shape, dtype=bool)
    good[10:14, 10:14] = False
    broken = np.where(good, FRAME, 65535)
    assert frame_deviance(broken, MODES, PATCH, good) == pytest.approx(
        frame_deviance(np.where(good, FRAME, 0), MODES, PATCH, good)
    )
    assert frame_deviance(broken, MODES, PATCH) > 10 * frame_deviance(broken, MODES, PATCH, good)


def test_what_cannot_be_judged_is_refused() -> None:
    nothing = np.zeros(FRAME.shape, dtype=bool)
    with pytest.raises(ValueError, match="no measured pixel"):
        frame_deviance(FRAME, MODES, PATCH, nothing)
    with pytest.raises(ValueError, match="no counts are expected"):
        frame_deviance(FRAME, MODES, np.zeros_like(PATCH))


def test_the_factor_makes_both_sums_equal_over_measured_pixels() -> None:
    good = np.zeros(FRAME.shape, dtype=bool)
    good[8:24, 8:24] = True
    expected = scaled_expectation(FRAME, 3 * mean_counts(MODES, PATCH), good)
    assert expected[good].sum() == pytest.approx(FRAME[good].sum())


def test_a_patch_is_framed_by_its_own_mean() -> None:
    patch, weight = np.full((4, 4), 0.8 * np.exp(0.3j)), np.ones((4, 4))
    whole = framed(patch, weight, 8, 2)
    np.testing.assert_allclose(whole, 0.8 * np.exp(0.3j))
    assert whole.shape == (8, 8)
    np.testing.assert_array_equal(framed(PATCH[:4, :4], weight, 8, 2)[2:6, 2:6], PATCH[:4, :4])
