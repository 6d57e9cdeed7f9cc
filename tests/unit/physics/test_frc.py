import numpy as np
import pytest

from edge.physics.frc import NYQUIST, RingCorrelation, ring_correlation, soft_window
from edge.physics.objects import smooth_texture

RNG = np.random.default_rng(0)
IMAGE = smooth_texture((96, 96), 0.5, RNG) + 1j * smooth_texture((96, 96), 0.5, RNG)
WINDOW = soft_window(np.ones(IMAGE.shape, dtype=bool))


def white(scale: float) -> np.ndarray:
    return scale * (RNG.standard_normal(IMAGE.shape) + 1j * RNG.standard_normal(IMAGE.shape))


def test_equal_images_agree_everywhere_whatever_their_constant() -> None:
    curve = ring_correlation(IMAGE, 0.3j * IMAGE + 2, WINDOW)
    np.testing.assert_allclose(curve.correlation, 1, atol=1e-6)
    assert curve.reach(curve.half_bit) == NYQUIST


def test_noise_agrees_nowhere() -> None:
    curve = ring_correlation(white(1), white(1), WINDOW)
    assert np.mean(curve.correlation[5:]) < 0.2
    assert curve.reach(0.5) < 0.1


def test_the_curve_falls_where_one_image_is_blurred_under_the_noise() -> None:
    frequency = np.hypot(np.fft.fftfreq(96)[:, None], np.fft.fftfreq(96)[None, :])
    blurred = np.fft.ifft2(np.fft.fft2(white(1.0)) * (frequency < 0.2))
    curve = ring_correlation(blurred + white(0.2), blurred + white(0.2), WINDOW)
    assert curve.reach(0.5) == pytest.approx(0.2, abs=0.03)
    assert curve.reach(curve.half_bit) == pytest.approx(0.2, abs=0.03)


def test_half_bit_is_the_published_formula() -> None:
    curve = RingCorrelation(np.array([0.1]), np.array([1.0]), np.array([100]))
    assert curve.half_bit[0] == pytest.approx((0.2071 + 0.19102) / (1.2071 + 0.091020))


def test_a_window_makes_fewer_pixels_independent() -> None:
    narrow = np.zeros(IMAGE.shape, dtype=bool)
    narrow[20:70, 20:70] = True
    full = ring_correlation(IMAGE, IMAGE, np.ones(IMAGE.shape))
    soft = ring_correlation(IMAGE, IMAGE, WINDOW)
    assert soft.pixels[10] < full.pixels[10]
    assert len(ring_correlation(IMAGE, IMAGE, soft_window(narrow)).frequency) < len(full.frequency)


def test_the_window_is_soft_and_stays_inside() -> None:
    mask = np.zeros((60, 80), dtype=bool)
    mask[5:50, 10:70] = True
    window = soft_window(mask, 8)
    assert window[~mask].max() == 0
    assert window.max() == 1
    assert np.abs(np.diff(window, axis=0)).max() < 0.25


def test_what_cannot_be_correlated_is_refused() -> None:
    with pytest.raises(ValueError, match="images of"):
        ring_correlation(IMAGE, IMAGE[:-1], WINDOW)
    with pytest.raises(ValueError, match="leaves nothing"):
        ring_correlation(IMAGE, IMAGE, np.zeros(IMAGE.shape))
