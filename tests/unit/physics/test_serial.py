import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from edge.physics.rings import Geometry
from edge.physics.serial import VISIBLE_RATIO, SerialKind, reflections, serial_frame, visible_scale
from edge.physics.spot_shapes import ratio_of

CALM = SerialKind(ice=0.0, blemishes=0.0, cell=(40.0, 60.0))


def test_reflections_obey_bragg_s_law() -> None:
    geometry = Geometry(1.2, 900.0, (200.0, 210.0))
    turn = Rotation.from_euler("xyz", [0.3, 0.7, 1.1])
    places, resolution, away = reflections(geometry, np.array([50.0, 60.0, 70.0]), turn, 5e-5, 3.0)
    assert len(places) > 10 and (np.abs(away) < 3).all() and (resolution >= 3.0).all()
    radius = np.hypot(*(places - geometry.beam).T)
    # Nodes off the sphere by a mosaic width scatter a little beside the exact angle.
    assert radius == pytest.approx([geometry.radius_px(one) for one in resolution], rel=0.02)


def test_a_finer_lattice_gives_more_reflections() -> None:
    geometry = Geometry(1.2, 900.0, (200.0, 210.0))
    turn = Rotation.from_euler("xyz", [0.3, 0.7, 1.1])
    few, many = (reflections(geometry, np.full(3, edge), turn, 1e-4, 3.0)[0] for edge in (30.0, 60.0))
    assert len(many) > 4 * len(few)


def test_so_many_spots_are_visible_as_wanted() -> None:
    rng = np.random.default_rng(0)
    strengths, under = rng.exponential(1, 200), rng.uniform(1, 3, 200)
    scale = visible_scale(strengths, under, 1.2, 30)
    assert (ratio_of(scale * strengths, under, 1.2) >= VISIBLE_RATIO - 1e-6).sum() == 30
    assert np.isfinite(visible_scale(strengths[:3], under[:3], 1.2, 30))


def test_hits_have_spots_and_blanks_none() -> None:
    rng = np.random.default_rng(1)
    for _ in range(3):
        blank, hit = (serial_frame((300, 310), one, rng, CALM) for one in (False, True))
        assert len(blank.spots.row) == 0
        assert (hit.spots.signal_to_noise >= VISIBLE_RATIO).sum() >= 10
        assert hit.image.dtype == np.uint16 and hit.image.shape == (300, 310)
        bright = hit.spots.signal_to_noise > 12
        row, col = (np.rint(one[bright]).astype(int) for one in (hit.spots.row, hit.spots.col))
        level = np.median(hit.expected)
        assert np.mean(hit.expected[row, col] > 1.5 * level) > 0.5


def test_spots_fade_with_resolution() -> None:
    rng = np.random.default_rng(5)
    near, far = [], []
    for _ in range(4):
        frame = serial_frame((400, 400), True, rng, CALM)
        away = np.hypot(frame.spots.row - frame.beam[0], frame.spots.col - frame.beam[1])
        near += list(frame.spots.photons[away < 100])
        far += list(frame.spots.photons[away > 180])
    assert np.mean(near) > 2 * np.mean(far)
