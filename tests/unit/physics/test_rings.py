from dataclasses import replace

import numpy as np
import pytest

from edge.physics.ring_frames import SUBSTANCES, RingKind, random_geometry, ring_frame, water
from edge.physics.rings import CERIA, ICE, SALT, Geometry, Line, Look, ring_image

GEOMETRY = Geometry(wavelength=1.0, distance_px=1000.0, beam=(60.0, 70.0))


def radii(shape: tuple[int, int], beam: tuple[float, float]) -> np.ndarray:
    return np.hypot(np.arange(shape[0])[:, None] - beam[0], np.arange(shape[1])[None, :] - beam[1])


def test_spacings_are_those_of_the_tables() -> None:
    """PDF 42-1142, 5-628 and 34-394, to the second decimal."""
    assert [round(line.spacing, 2) for line in ICE][:6] == [3.91, 3.68, 3.45, 2.68, 2.26, 2.08]
    assert [round(line.spacing, 2) for line in SALT][:5] == [3.26, 2.82, 1.99, 1.70, 1.63]
    assert [round(line.spacing, 2) for line in CERIA][:4] == [3.12, 2.71, 1.91, 1.63]
    assert max(line.strength for line in ICE + SALT + CERIA) == 1


def test_the_radius_is_by_bragg_s_law() -> None:
    two_theta = 2 * np.arcsin(1.0 / (2 * 2.82))
    assert GEOMETRY.radius_px(2.82) == pytest.approx(1000 * np.tan(two_theta))
    assert np.isnan(GEOMETRY.radius_px(0.6))


def test_a_smooth_ring_is_where_and_as_wide_as_it_is_told() -> None:
    line = Line(20.0, 0.7)
    image = ring_image((120, 140), GEOMETRY, [line], Look(2.0), np.random.default_rng(0))
    away = radii((120, 140), GEOMETRY.beam) - GEOMETRY.radius_px(20.0)
    np.testing.assert_allclose(image, np.where(np.abs(away) < 9, 0.7 * np.exp(-(away**2) / 8), 0), atol=1e-9)


def test_grains_are_long_along_the_ring() -> None:
    look = Look(1.5, grain=0.4, grain_px=12.0)
    image = ring_image(
        (400, 400), replace(GEOMETRY, beam=(200.0, 200.0)), [Line(6.0, 1.0)], look, np.random.default_rng(1)
    )
    ring = GEOMETRY.radius_px(6.0)
    angle = np.arange(0, 2 * np.pi, 1 / ring)
    along = image[tuple(np.rint(200 + ring * f(angle)).astype(int) for f in (np.sin, np.cos))]
    assert 0.2 < along.std() < 0.6
    assert along.mean() == pytest.approx(0.95, abs=0.15)
    # Neighbours within a grain are alike, those three grains on are not.
    steps = along - along.mean()
    assert np.mean(steps * np.roll(steps, 6)) > 0.6 * steps.var()
    assert abs(np.mean(steps * np.roll(steps, 60))) < 0.5 * steps.var()


def test_textured_rings_are_brighter_in_some_directions() -> None:
    look = Look(2.0, texture=0.8)
    image = ring_image(
        (400, 400), replace(GEOMETRY, beam=(200.0, 200.0)), [Line(6.0, 1.0)], look, np.random.default_rng(0)
    )
    ridge = image[np.abs(radii((400, 400), (200.0, 200.0)) - GEOMETRY.radius_px(6.0)) < 0.5]
    assert ridge.max() > 1.6 and ridge.min() < 0.4


@pytest.mark.parametrize("substance", SUBSTANCES)
def test_frames_of_rings_hold_no_spot_and_show_their_rings(substance) -> None:
    kind = RingKind(background=(1.0, 1.0), height=(50.0, 50.0), blemishes=0.0, smooth=1.0)
    for seed in range(4):
        frame = ring_frame((160, 180), substance, np.random.default_rng(seed), kind)
        assert len(frame.spots.row) == 0
        assert frame.image.dtype == np.uint16
        assert frame.expected.max() > 30
        away = np.rint(radii((160, 180), frame.beam)).astype(int)
        means = np.bincount(away.ravel(), frame.expected.ravel()) / np.maximum(np.bincount(away.ravel()), 1)
        # Between two whole radii the narrowest ring changes by a fifth of its height or so.
        assert np.abs(frame.expected - means[away]).max() < 25


def test_the_chosen_line_crosses_the_picture() -> None:
    rng = np.random.default_rng(4)
    for _ in range(30):
        geometry = random_geometry((100, 120), SALT[1], rng)
        away = radii((100, 120), geometry.beam)
        assert away.min() - 2 < geometry.radius_px(SALT[1].spacing) < away.max() + 2


def test_water_is_brightest_at_3_1_angstrom() -> None:
    distance = np.arange(1.0, 900.0)
    bright = water(distance, GEOMETRY)
    assert distance[bright.argmax()] == pytest.approx(GEOMETRY.radius_px(2 * np.pi / 2.0), abs=8)
    assert bright.max() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("radius", [1.0, 3.0, 8.0, 20.0])
def test_rings_shorter_than_a_grain_are_no_brighter(radius) -> None:
    rng = np.random.default_rng(0)
    look = Look(2.0, grain=0.5, grain_px=40.0)
    spacing = 1.0 / (2 * np.sin(0.5 * np.arctan(radius / GEOMETRY.distance_px)))
    for _ in range(20):
        image = ring_image((120, 140), GEOMETRY, [Line(spacing, 1.0)], look, rng)
        assert 0.2 < image.max() < 5
