import numpy as np
import pytest

from edge.physics.demo_scene import demo_scan, landscape
from edge.physics.objects import painted_pattern, random_object, smooth_texture, two_level_pattern
from edge.physics.scan import jittered, raster, spiral
from tests.unit.physics.scenes import ring_probe


@pytest.mark.parametrize("seed", range(6))
def test_objects_absorb_a_little_and_never_amplify(seed: int) -> None:
    scene = random_object((96, 96), np.random.default_rng(seed))
    assert scene.dtype == np.complex64
    assert np.abs(scene).max() <= 1 + 1e-6
    assert np.abs(scene).min() > 0.6
    assert np.angle(scene).std() > 0.05


def test_objects_follow_their_seed() -> None:
    one, same, other = (random_object((64, 64), np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_patterns_stay_within_their_levels() -> None:
    rng = np.random.default_rng(0)
    for pattern in (two_level_pattern((128, 128), rng), painted_pattern((128, 128), rng)):
        assert pattern.min() >= 0
        assert pattern.max() <= 1
    two = two_level_pattern((256, 256), rng)
    assert np.mean((two < 0.01) | (two > 0.99)) > 0.6
    assert 0.2 < two.mean() < 0.8


def test_a_texture_is_as_smooth_as_asked() -> None:
    rng = np.random.default_rng(0)
    fine, coarse = (smooth_texture((128, 128), length, rng) for length in (2.0, 12.0))
    assert fine.std() == pytest.approx(1, abs=1e-3)
    assert np.abs(np.diff(coarse, axis=0)).mean() < 0.3 * np.abs(np.diff(fine, axis=0)).mean()


def test_a_raster_is_a_snake() -> None:
    positions = raster((4, 6), 2.0)
    assert positions.shape == (12, 2)
    assert np.abs(np.diff(positions, axis=0)).sum(axis=1).max() == 2.0
    assert positions.max(axis=0).tolist() == [4.0, 6.0]


def test_a_spiral_covers_its_area_evenly() -> None:
    positions = spiral((40, 60), 4.0)
    assert (positions >= 0).all()
    assert (positions <= (40, 60)).all()
    distance = np.linalg.norm(positions[:, None] - positions[None, :], axis=2) + 1e9 * np.eye(len(positions))
    assert distance.min(axis=1).max() < 5.0
    assert distance.min() > 1.0


def test_jitter_stays_within_the_scan() -> None:
    grid = raster((20, 20), 4.0)
    moved = jittered(grid, 1.5, (20, 20), np.random.default_rng(0))
    assert 0.1 < np.abs(moved - grid).max() <= 1.5
    assert moved.min() >= 0
    assert moved.max() <= 20


def test_the_demo_fits_its_object() -> None:
    scan = demo_scan(ring_probe(32), 30, np.random.default_rng(0))
    assert scan.frames.shape == (25, 32, 32)
    assert scan.positions.shape == (25, 2)
    assert scan.positions.min() >= 0
    assert (np.floor(scan.positions.max(axis=0)) + 32 <= scan.truth.shape).all()


def test_the_landscape_is_a_picture() -> None:
    phase = np.angle(landscape((200, 200)))
    assert phase[50, 52] > 0.8  # the sun
    assert phase[10, 190] == 0  # the sky
    assert 0.2 < phase[195, 100] < 0.4  # the ground
