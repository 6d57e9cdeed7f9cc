import numpy as np
import pytest

from edge.agent.messages import Observation
from edge.agent.path import snake_raster
from edge.agent.space import Axis, Space
from edge.demo.judgement import GRID, MapScan, Truth, judge, largest_within, path_seconds, truth_of
from edge.physics.bragg import bragg_sample

SPACE = Space((Axis("x", 0.0, 1.0, speed=2.0), Axis("y", 0.0, 1.0, speed=1.0)))


def field(x, y):
    return 1 + np.sin(3 * x) * np.cos(2 * y)


def scan(path: np.ndarray) -> MapScan:
    observations = tuple(
        Observation(str(at), {"x": x, "y": y}, float(field(x, y)), 1e-8) for at, (x, y) in enumerate(path)
    )
    return MapScan("raster", observations, path, np.arange(len(path)) + 1.0, "success", (), {}, 0)


def known() -> Truth:
    x, y = np.meshgrid(np.linspace(0, 1, GRID), np.linspace(0, 1, GRID))
    return Truth(np.column_stack([x.ravel(), y.ravel()]), field(x, y), (0, 1, 0, 1))


def test_a_smooth_field_is_reconstructed_from_a_raster():
    judged = judge(scan(snake_raster(SPACE, 6, 6)), SPACE, known())
    assert judged.nrmse < 0.01
    assert judged.map.shape == judged.sigma.shape == (GRID, GRID)
    few = judge(scan(snake_raster(SPACE, 3, 3)), SPACE, known())
    assert few.nrmse > judged.nrmse


def test_the_error_is_of_the_field_not_of_its_mirror_image():
    truth = known()
    mirrored = Truth(truth.positions, truth.values.T, truth.extent)
    judged = judge(scan(snake_raster(SPACE, 6, 6)), SPACE, mirrored)
    assert judged.nrmse > 0.05


def test_the_truth_is_the_samples_own_in_x_and_y():
    sample = bragg_sample(3)
    truth = truth_of(sample, SPACE, 1e6)
    at = 17 * GRID + 4
    x, y = truth.positions[at]
    assert truth.values[17, 4] == pytest.approx(float(sample.total(x, y)) / 1e6)
    assert (x, y) == pytest.approx((4 / (GRID - 1), 17 / (GRID - 1)))


def test_beam_time_is_exposure_and_the_way_of_the_slower_axis():
    path = np.array([[0.0, 0.0], [1.0, 0.2], [1.0, 0.0]])
    assert path_seconds(SPACE, path, 0.1) == pytest.approx(3 * 0.1 + 1.0 / 2 + 0.2)
    assert scan(path).travel_mm == pytest.approx(1.2)


def test_the_path_with_the_most_points_that_fits_is_taken():
    paths = [(float(n), np.zeros((n, 2))) for n in (2, 5, 9)]
    assert len(largest_within(6.0, paths)) == 5
    assert len(largest_within(1.0, paths)) == 2  # nothing fits: the shortest
