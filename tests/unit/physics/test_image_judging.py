import numpy as np
import pytest

from edge.physics.image_judging import image_errors, phases, structural_similarity, without_slope
from tests.unit.physics.scenes import smooth_object

TRUTH = smooth_object((70, 60), 8)
EVERYWHERE = np.ones(TRUTH.shape, dtype=bool)


def test_the_same_image_with_another_constant_is_perfect() -> None:
    found = image_errors(TRUTH * np.exp(2.2j), TRUTH, EVERYWHERE)
    assert found.phase_mae_rad == pytest.approx(0, abs=1e-6)
    assert found.phase_ssim == pytest.approx(1, abs=1e-6)
    assert found.phase_psnr_db > 100
    assert found.amplitude_rmse == pytest.approx(0, abs=1e-6)


def test_a_known_error_has_its_signal_to_noise() -> None:
    sign = np.where(np.indices(TRUTH.shape).sum(axis=0) % 2, 1, -1)
    found = image_errors(0.9 * TRUTH * np.exp(0.1j * sign), TRUTH, EVERYWHERE)
    assert found.phase_mae_rad == pytest.approx(0.1, abs=1e-3)
    assert found.phase_rmse_rad == pytest.approx(0.1, abs=1e-3)
    low, high = np.quantile(np.angle(TRUTH), [0.005, 0.995])
    assert found.phase_psnr_db == pytest.approx(20 * np.log10((high - low) / 0.1), abs=0.2)
    assert found.amplitude_mae == pytest.approx(0.1 * np.abs(TRUTH).mean(), rel=1e-4)


def test_a_constant_guess_has_no_structure() -> None:
    guess = image_errors(np.ones(TRUTH.shape), TRUTH, EVERYWHERE)
    blurred = image_errors(
        TRUTH * np.exp(0.05j * np.random.default_rng(0).standard_normal(TRUTH.shape)), TRUTH, EVERYWHERE
    )
    assert guess.phase_ssim < 0.2
    assert blurred.phase_ssim > 0.8


def test_pixels_outside_the_mask_are_nothing() -> None:
    mask = EVERYWHERE.copy()
    mask[:, 40:] = False
    wrong = np.where(mask, TRUTH, -5j)
    assert image_errors(wrong, TRUTH, mask).phase_ssim == pytest.approx(1, abs=1e-6)
    values = np.angle(TRUTH)
    assert structural_similarity(np.where(mask, values, 9.0), values, mask, 1.0) == pytest.approx(1, abs=1e-9)
    with pytest.raises(ValueError, match="nothing to judge"):
        image_errors(TRUTH, TRUTH, np.zeros_like(mask))


def test_differences_are_taken_on_the_circle() -> None:
    _, off = phases(TRUTH * np.exp(1j * np.pi), TRUTH, EVERYWHERE)
    assert np.abs(off).max() < 1e-5


@pytest.mark.parametrize("slope", [(0.0, 0.0), (0.01, -0.003), (0.2, 0.31)])
def test_a_slope_is_found_and_removed(slope: tuple[float, float]) -> None:
    row, col = np.indices(TRUTH.shape)
    tilted = TRUTH * np.exp(1j * (slope[0] * row + slope[1] * col + 0.7))
    level, found = without_slope(tilted, TRUTH, EVERYWHERE)
    assert found == pytest.approx(slope, abs=1e-6)
    assert image_errors(level, TRUTH, EVERYWHERE).phase_mae_rad < 1e-5
