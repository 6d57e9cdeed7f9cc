from dataclasses import replace

import numpy as np
import pytest

from edge.physics.peak_judging import Tally, deviations, pairs, tally
from edge.physics.spot_shapes import APART_PX, Shape, add_spot, photons_for, random_places, ratio_of
from edge.physics.spots import Kind, blemish, random_background, random_spots, without

CLEAN = without(Kind(background=(5.0, 5.0), per_megapixel=(900.0, 900.0), rings=0.0))
NOBODY = np.empty((0, 2))


def test_spots_are_drawn_where_and_as_bright_as_they_say() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        frame = random_spots((120, 140), CLEAN, rng)
        spots = frame.spots
        inside = (
            (spots.row > 20) & (spots.row < 100) & (spots.col > 20) & (spots.col < 120) & (spots.signal_to_noise > 40)
        )
        places = np.stack([spots.row, spots.col], axis=1)
        for place, photons in zip(places[inside], spots.photons[inside], strict=True):
            if np.sort(np.hypot(*(places - place).T))[1:2].min(initial=np.inf) > 30:
                row, col = np.rint(place).astype(int)
                window = frame.expected[row - 12 : row + 13, col - 12 : col + 13]
                background = np.median(np.concatenate([window[0], window[-1], window[:, 0], window[:, -1]]))
                assert window.sum() - background * window.size == pytest.approx(photons, rel=0.25)
                weight = np.maximum(window - background, 0)[9:16, 9:16]
                middle = [weight.sum(axis=1 - axis) @ np.arange(-3, 4) / weight.sum() for axis in (0, 1)]
                assert np.hypot(*(middle + np.rint(place) - place)) < 0.4


def test_spots_keep_their_distance_and_are_counted_by_poisson_statistics() -> None:
    frame = random_spots((200, 200), CLEAN, np.random.default_rng(1))
    places = np.stack([frame.spots.row, frame.spots.col], axis=1)
    away = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    assert away[np.triu_indices(len(places), 1)].min() > APART_PX
    pull = (frame.image - frame.expected) / np.sqrt(frame.expected)
    assert pull.std() == pytest.approx(1, abs=0.03)


def test_the_signal_to_noise_ratio_is_that_of_the_definition() -> None:
    frame = random_spots((200, 200), CLEAN, np.random.default_rng(1))
    spots = frame.spots
    # With sigma between 0.7 and 3 pixels the effective area 4 pi sigma^2 is between 6 and 113 pixels.
    under = (spots.photons / spots.signal_to_noise) ** 2 - spots.photons
    assert (under > 0).all()
    assert ((under > 30) & (under < 4500)).all()


def test_blemishes_are_flags_gaps_and_hot_pixels() -> None:
    rng = np.random.default_rng(0)
    flagged = hot = 0
    for _ in range(20):
        image = np.full((100, 100), 3, np.uint16)
        blemish(image, rng)
        flagged += int((image == 65535).sum())
        hot += int(((image > 3) & (image < 65535)).sum())
    assert flagged > 100 and hot > 20


def test_backgrounds_have_their_level() -> None:
    rng = np.random.default_rng(0)
    level = [random_background((64, 64), CLEAN, rng, (5.0, 90.0)).min() for _ in range(20)]
    assert min(level) > 1 and max(level) < 20


def test_pairs_are_the_closest_and_each_but_once() -> None:
    found = np.array([[10.0, 10.0], [11.0, 10.0], [50.0, 50.0]])
    truth = np.array([[10.9, 10.0], [50.0, 53.0]])
    assert pairs(found, truth).tolist() == [[1, 0]]
    assert pairs(NOBODY, truth).shape == (0, 2)


def test_tallies_add_up() -> None:
    found = np.array([[10.0, 10.0], [30.0, 30.0], [70.0, 70.0]])
    one = tally(found, np.array([[10.5, 10.0], [90.0, 90.0]]), np.array([[30.0, 31.0]]))
    assert one == Tally(hits=1, false=1, missed=1)
    both = one + Tally(hits=3, false=0, missed=1)
    assert (both.precision, both.recall) == (0.8, pytest.approx(4 / 6))
    assert both.f1 == pytest.approx(2 * 0.8 * (4 / 6) / (0.8 + 4 / 6))
    assert np.isnan(Tally().precision) and np.isnan(Tally().recall) and Tally().f1 == 0


def test_spots_are_longer_than_wide_as_asked() -> None:
    image = np.zeros((81, 81))
    add_spot(image, (40.0, 40.0), 1000.0, Shape(2.0, long=1.5, turn=0.0))
    row = np.arange(81) - 40
    down, right = (np.sqrt(image.sum(axis=axis) @ row**2 / image.sum()) for axis in (1, 0))
    assert image.sum() == pytest.approx(1000)
    assert (down, right) == (pytest.approx(3.0, rel=0.02), pytest.approx(2 / 1.5, rel=0.02))


def test_a_spot_beyond_the_border_adds_what_falls_inside() -> None:
    image = np.zeros((30, 30))
    add_spot(image, (-0.5, 15.0), 100.0, Shape(1.5))
    assert image.sum() == pytest.approx(50, rel=0.01)
    add_spot(image, (-100.0, 15.0), 100.0, Shape(1.5))
    assert image.sum() == pytest.approx(50, rel=0.01)


def test_photons_and_ratio_are_each_other_s_inverse() -> None:
    ratio = np.array([0.3, 3.0, 100.0])
    assert ratio_of(photons_for(ratio, 7.0, 1.2), 7.0, 1.2) == pytest.approx(ratio)
    assert photons_for(5.0, 0.0, 1.0) == pytest.approx(25)
    assert ratio_of(0.0, 0.0, 1.0) == 0


def test_overlapping_spots_have_a_second_one_beside() -> None:
    rng = np.random.default_rng(3)
    places = random_places((400, 400), 60, 0.5, rng)
    away = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))[np.triu_indices(len(places), 1)]
    close = away[away < APART_PX]
    assert 15 < len(close) < 50 and close.min() > 0.5
    assert np.median(close) == pytest.approx(4.2, abs=0.8)
    frame = random_spots((200, 200), replace(CLEAN, overlapping=1.0), rng)
    assert len(frame.spots.row) == len(frame.spots.photons)
    assert ((frame.spots.row >= 0) & (frame.spots.row <= 199)).all()


def test_a_frame_says_where_its_rings_have_their_centre() -> None:
    kind = replace(CLEAN, rings=1.0, per_megapixel=(1.0, 1.0))
    frame = random_spots((150, 160), kind, np.random.default_rng(8))
    row, col = np.arange(150)[:, None], np.arange(160)[None, :]
    away = np.rint(np.hypot(row - frame.beam[0], col - frame.beam[1])).astype(int)
    level = np.log(frame.expected)
    means = np.bincount(away.ravel(), level.ravel()) / np.maximum(np.bincount(away.ravel()), 1)
    # What is left after the radial mean is the texture alone.
    assert (level - means[away]).std() < 0.5 * level.std()


def test_deviations_are_those_of_counting() -> None:
    image = np.full((40, 40), 100.0)
    image[20:22, 20:22] += 200
    good = np.ones((40, 40), dtype=bool)
    good[:, :3] = False
    found = deviations(image, good, np.array([[20.0, 20.0], [8.0, 30.0], [0.0, 0.0]]))
    assert found == pytest.approx([800 / np.sqrt(3300), 0, 0])
