import numpy as np
import pytest

from edge.physics.judging import errors
from edge.physics.probe import flux, probe_intensity
from edge.physics.rpie import Reconstruction, Settings, first_modes, reconstruct
from edge.physics.scan import jittered, raster
from edge.physics.simulation import simulate_scan
from tests.unit.physics.scenes import ring_probe, smooth_object

SIZE = 32
MODES = ring_probe(SIZE, counts=3e5)
OBJECT = smooth_object((64, 64), 11)
POSITIONS = jittered(raster((30, 30), 4.0), 1.0, (30, 30), np.random.default_rng(0)) + 0.5
SCAN = simulate_scan(MODES, OBJECT, POSITIONS, np.random.default_rng(1))


def last(settings: Settings, modes: np.ndarray) -> tuple[Reconstruction, list[float]]:
    states = list(reconstruct(SCAN.frames, POSITIONS, modes, np.ones((64, 64)), settings, np.random.default_rng(2)))
    return states[-1], [state.residual for state in states]


def phase_error(image: np.ndarray) -> float:
    inner = np.zeros(image.shape, dtype=bool)
    inner[18:46, 18:46] = True
    return errors(np.abs(image), np.angle(image), OBJECT, inner).phase_mae_rad


def test_with_the_true_probe_the_object_is_recovered() -> None:
    state, residuals = last(Settings(12, alpha=0.2, step=1.0, probe_from=99), MODES)
    assert residuals[-1] < 0.05 * residuals[0]
    assert phase_error(state.image) < 0.01


def test_the_probe_is_recovered_with_the_object() -> None:
    guess = ring_probe(SIZE, counts=1.0)[0] * np.exp(-0.3j * np.linspace(-1, 1, SIZE) ** 2)
    counts = float(SCAN.frames.sum() / len(POSITIONS))
    modes = first_modes(guess, 2, counts, np.random.default_rng(3))
    assert flux(modes) == pytest.approx(counts)
    state, residuals = last(Settings(25, step=0.5), modes)
    assert residuals[-1] < 0.05 * residuals[0]
    assert phase_error(state.image) < 0.1
    wanted = probe_intensity(MODES)
    overlap = np.vdot(probe_intensity(state.modes), wanted)
    assert overlap / np.linalg.norm(wanted) / np.linalg.norm(probe_intensity(state.modes)) > 0.98


def test_nothing_handed_in_is_changed() -> None:
    modes, image, frames = MODES.copy(), np.ones((64, 64), dtype=np.complex64), SCAN.frames.copy()
    next(reconstruct(frames, POSITIONS, modes, image, Settings(1, probe_from=0), np.random.default_rng(2)))
    np.testing.assert_array_equal(modes, MODES)
    np.testing.assert_array_equal(image, 1)
    np.testing.assert_array_equal(frames, SCAN.frames)


def test_the_scale_between_probe_and_object_does_not_drift() -> None:
    few, _ = last(Settings(4), MODES)
    many, _ = last(Settings(12), MODES)
    assert flux(many.modes) == pytest.approx(flux(few.modes), rel=0.1)


def test_a_probe_that_is_kept_stays_as_it_was_given() -> None:
    state, _ = last(Settings(3, step=1.0, probe_from=3), MODES)
    np.testing.assert_array_equal(state.modes, MODES)


def test_pixels_that_were_not_measured_are_left_alone() -> None:
    frames = SCAN.frames.astype(np.float32)
    frames[:, 10:13, :] = np.nan
    settings, rng = Settings(12, alpha=0.2, step=1.0, probe_from=99), np.random.default_rng(2)
    *_, state = reconstruct(frames, POSITIONS, MODES, np.ones((64, 64)), settings, rng)
    assert phase_error(state.image) < 0.02
    blind = np.nan_to_num(frames)
    *_, zeros = reconstruct(blind, POSITIONS, MODES, np.ones((64, 64)), settings, np.random.default_rng(2))
    assert phase_error(zeros.image) > 2 * phase_error(state.image)
