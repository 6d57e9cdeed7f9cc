import numpy as np
import pytest

from edge.physics.diffraction import MAX_UINT16_COUNT, counted, lit_patch, mean_counts
from edge.physics.probe import flux, load_probe, orthogonal_modes, probe_intensity, probe_mask, save_probe
from edge.physics.simulation import simulate_scan
from tests.unit.physics.scenes import ring_probe, smooth_object

MODES = ring_probe(64)


def test_no_counts_are_lost() -> None:
    assert mean_counts(MODES, np.ones((64, 64))).sum() == pytest.approx(flux(MODES), rel=1e-5)


def test_a_phase_ramp_moves_the_beam_the_same_way() -> None:
    # Three periods over the patch along the columns: three pixels on the detector.
    ramp = np.exp(2j * np.pi * 3 * np.arange(64) / 64)[None, :] * np.ones((64, 1))
    straight = mean_counts(MODES, np.ones((64, 64)))
    np.testing.assert_allclose(mean_counts(MODES, ramp), np.roll(straight, 3, axis=1), atol=1e-2)


def test_the_beam_is_in_the_centre() -> None:
    image = mean_counts(MODES, np.ones((64, 64)))
    index = np.arange(64)
    assert np.sum(index * image.sum(axis=1)) / image.sum() == pytest.approx(32, abs=0.5)
    assert np.sum(index * image.sum(axis=0)) / image.sum() == pytest.approx(32, abs=0.5)


def test_modes_add_as_intensities() -> None:
    scene = smooth_object((64, 64), 1)
    together = mean_counts(MODES, scene)
    apart = mean_counts(MODES[:1], scene) + mean_counts(MODES[1:], scene)
    np.testing.assert_allclose(together, apart, rtol=1e-5)


def test_a_fraction_of_a_position_moves_the_probe_towards_larger_indices() -> None:
    scene = smooth_object((80, 80), 2)
    whole, patch = lit_patch(MODES, scene, np.array([5.0, 7.0]))
    moved, same = lit_patch(MODES, scene, np.array([5.0, 7.5]))
    assert whole is MODES
    np.testing.assert_array_equal(patch, same)
    columns = np.arange(64)
    before, after = (float(np.sum(columns * probe_intensity(m)) / flux(m)) for m in (whole, moved))
    assert after - before == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("position", [(-0.1, 0.0), (0.0, 17.0), (16.5, 17.2)])
def test_a_patch_outside_the_object_is_refused(position: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="leaves the object"):
        lit_patch(MODES, np.ones((80, 80)), np.array(position))


def test_counts_never_reach_the_flags_of_a_detector() -> None:
    image = counted(np.full((4, 4), 1e5), np.random.default_rng(0))
    assert image.dtype == np.uint16
    assert (image == MAX_UINT16_COUNT).all()


def test_a_simulated_scan_has_poisson_statistics() -> None:
    positions = np.zeros((300, 2))
    scan = simulate_scan(MODES, np.ones((64, 64)), positions, np.random.default_rng(3), exposure=0.5)
    expected = 0.5 * mean_counts(MODES, np.ones((64, 64)))
    assert scan.frames.dtype == np.uint16
    assert scan.frames.shape == (300, 64, 64)
    assert scan.frames.sum() / 300 == pytest.approx(0.5 * flux(MODES), rel=0.001)
    bright = expected > 5
    ratio = scan.frames[:, bright].var(axis=0).mean() / expected[bright].mean()
    assert ratio == pytest.approx(1, abs=0.1)


def test_the_same_seed_gives_the_same_scan() -> None:
    one, other = (
        simulate_scan(MODES, smooth_object((80, 80), 4), np.array([[1.5, 2.0]]), np.random.default_rng(9))
        for _ in range(2)
    )
    np.testing.assert_array_equal(one.frames, other.frames)


def test_a_probe_survives_its_file(tmp_path) -> None:
    save_probe(tmp_path / "probe.npy", MODES.astype(np.complex128))
    loaded = load_probe(tmp_path / "probe.npy")
    assert loaded.dtype == np.complex64
    np.testing.assert_array_equal(loaded, MODES)
    np.save(tmp_path / "other.npy", np.zeros((3, 4)))
    with pytest.raises(ValueError, match="not complex modes"):
        load_probe(tmp_path / "other.npy")


def test_orthogonal_modes_give_the_same_frames() -> None:
    mixed = np.stack([0.6 * MODES[0] + 0.8 * MODES[1], 0.8 * MODES[0] - 0.6 * MODES[1]])
    back = orthogonal_modes(mixed)
    scene = smooth_object((64, 64), 5)
    np.testing.assert_allclose(mean_counts(back, scene), mean_counts(mixed, scene), atol=1e-2)
    assert abs(np.vdot(back[0], back[1])) < 1e-4 * flux(back)
    assert flux(back[:1]) > flux(back[1:])


def test_the_mask_is_where_the_probe_is_bright() -> None:
    mask = probe_mask(MODES)
    intensity = probe_intensity(MODES)
    assert intensity[mask].min() >= 0.25 * intensity.max() > intensity[~mask].max()
