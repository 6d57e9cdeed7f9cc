import numpy as np
import pytest

from edge.physics.judging import PatchJudge, best_shift, errors, mean_errors, stitched_errors
from edge.physics.subpixel import sample_patch
from tests.unit.physics.scenes import smooth_object

TRUTH = smooth_object((60, 60), 8)
EVERYWHERE = np.ones(TRUTH.shape, dtype=bool)


def test_a_constant_offset_costs_nothing() -> None:
    judged = errors(np.abs(TRUTH), np.angle(TRUTH * np.exp(2.5j)), TRUTH, EVERYWHERE)
    assert judged.phase_mae_rad == pytest.approx(0, abs=1e-5)
    assert judged.amplitude_mae == pytest.approx(0, abs=1e-6)
    assert judged.phase_mae_constant_rad > 0.2


def test_a_known_error_is_measured() -> None:
    wrong = np.angle(TRUTH)
    wrong[::2] += 0.1
    wrong[1::2] -= 0.1
    judged = errors(np.abs(TRUTH) + 0.03, wrong, TRUTH, EVERYWHERE)
    assert judged.phase_mae_rad == pytest.approx(0.1, abs=1e-4)
    assert judged.amplitude_mae == pytest.approx(0.03, abs=1e-5)


def test_a_constant_guess_scores_the_constant_error() -> None:
    judged = errors(np.ones(TRUTH.shape), np.zeros(TRUTH.shape), TRUTH, EVERYWHERE)
    assert judged.phase_mae_rad == pytest.approx(judged.phase_mae_constant_rad)


def test_errors_outside_the_mask_do_not_count() -> None:
    mask = EVERYWHERE.copy()
    mask[:30] = False
    phase = np.angle(TRUTH)
    phase[:30] += np.linspace(0, 3, 60)
    assert errors(np.abs(TRUTH), phase, TRUTH, mask).phase_mae_rad == pytest.approx(0, abs=1e-5)
    with pytest.raises(ValueError, match="nothing to judge"):
        errors(np.abs(TRUTH), phase, TRUTH, np.zeros_like(mask))


def test_a_patch_is_compared_at_its_position_and_offset() -> None:
    judge = PatchJudge(TRUTH, np.ones((20, 20), dtype=bool), offset_px=4)
    patch = sample_patch(TRUTH, np.array([14.4, 10.7]), (20, 20))
    assert judge(np.abs(patch), np.angle(patch), np.array([10.4, 6.7])).phase_mae_rad < 1e-5
    assert judge(np.abs(patch), np.angle(patch), np.array([13.4, 6.7])).phase_mae_rad > 0.02
    with pytest.raises(ValueError, match="leaves the image"):
        judge(np.abs(patch), np.angle(patch), np.array([50.0, 6.7]))


def test_the_mean_is_over_frames() -> None:
    one = errors(np.abs(TRUTH), np.angle(TRUTH), TRUTH, EVERYWHERE)
    other = errors(np.abs(TRUTH) + 0.2, np.angle(TRUTH), TRUTH, EVERYWHERE)
    assert mean_errors([one, other]).amplitude_mae == pytest.approx(0.1, abs=1e-5)
    with pytest.raises(ValueError, match="nothing was judged"):
        mean_errors([])


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.4, -0.7), (-2.0, 1.3)])
def test_a_moved_reference_is_found_again(shift: tuple[float, float]) -> None:
    wide = smooth_object((120, 120), 9)
    image = sample_patch(wide, np.array([20.0, 20.0]) - shift, (80, 80))
    reference = wide[20:100, 20:100]
    mask = np.zeros((80, 80), dtype=bool)
    mask[10:-10, 10:-10] = True
    np.testing.assert_allclose(best_shift(image, reference, mask), shift, atol=0.1)
    phase = np.angle(image * 1j).astype(np.float32)
    judged = stitched_errors(np.abs(image), phase, np.ones((80, 80), dtype=np.float32), reference)
    assert judged.errors.phase_mae_rad < 0.02


def test_pixels_of_little_weight_are_not_judged() -> None:
    phase = np.angle(TRUTH)
    weight = np.ones(TRUTH.shape)
    weight[:, 30:] = 0.1
    phase[:, 30:] = np.nan
    assert stitched_errors(np.abs(TRUTH), phase, weight, TRUTH).errors.phase_mae_rad < 0.02
