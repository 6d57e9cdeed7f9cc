import numpy as np
import pytest

from edge.physics.subpixel import fourier_shift, sample_patch, sampling_matrix
from tests.unit.physics.scenes import ring_probe, smooth_object


def test_a_whole_shift_is_a_roll() -> None:
    modes = ring_probe(32)
    moved = fourier_shift(modes, np.array([3, -2]))
    np.testing.assert_allclose(moved, np.roll(modes, (3, -2), axis=(1, 2)), atol=1e-3)


def test_two_half_shifts_make_a_whole_one() -> None:
    modes = ring_probe(32)
    moved = fourier_shift(fourier_shift(modes, np.array([0.5, 0.25])), np.array([0.5, -0.25]))
    np.testing.assert_allclose(moved, np.roll(modes, 1, axis=1), atol=1e-3)


def test_a_positive_shift_moves_towards_larger_indices() -> None:
    modes = ring_probe(64)[:1]
    power = np.abs(fourier_shift(modes, np.array([0.3, 0.0]))[0]) ** 2
    before = np.abs(modes[0]) ** 2
    rows = np.arange(64)
    centre = [float(np.sum(rows * image.sum(axis=1)) / image.sum()) for image in (before, power)]
    assert centre[1] - centre[0] == pytest.approx(0.3, abs=0.01)


def test_sampling_keeps_a_constant() -> None:
    np.testing.assert_allclose(sampling_matrix(20, 0.37, 19) @ np.ones(20), 1, atol=1e-6)


def test_sampling_far_outside_gives_nothing() -> None:
    assert not sampling_matrix(20, 40.0, 3).any()


def test_sampling_at_whole_pixels_is_exact() -> None:
    image = smooth_object((40, 40), 1)
    np.testing.assert_allclose(sample_patch(image, np.array([4, 7]), (16, 16)), image[4:20, 7:23], atol=1e-6)


def test_sampling_between_pixels_follows_a_smooth_image() -> None:
    row, col = np.meshgrid(np.arange(40.0), np.arange(40.0), indexing="ij")

    def wave(row: np.ndarray, col: np.ndarray) -> np.ndarray:
        return np.exp(1j * (0.3 * row - 0.2 * col))

    got = sample_patch(wave(row, col), np.array([5.3, 6.8]), (16, 16))
    np.testing.assert_allclose(got, wave(row[:16, :16] + 5.3, col[:16, :16] + 6.8), atol=0.01)


@pytest.mark.parametrize("corner", [(-0.1, 3), (3, 24.5), (25, 0)])
def test_a_patch_that_leaves_the_image_is_refused(corner: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="leaves the image"):
        sample_patch(np.ones((40, 40)), np.array(corner), (16, 16))
