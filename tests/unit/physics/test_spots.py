import numpy as np
import pytest

from edge.physics.peak_judging import Tally, brightest_pixel, centre_of_mass, pairs, tally
from edge.physics.spots import APART_PX, Kind, blemish, random_background, random_spots, without
from edge.training.peak_frames import NOTHING, SPOT, UNSURE, labelled, peak_set

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
                assert np.hypot(*(centre_of_mass(frame.expected, place[None])[0] - place)) < 0.4


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
    level = [random_background((64, 64), CLEAN, rng).min() for _ in range(20)]
    assert min(level) > 1 and max(level) < 20


def test_labels_stand_on_the_spots() -> None:
    rng = np.random.default_rng(2)
    kind = without(Kind(signal_to_noise=(20.0, 20.0), per_megapixel=(1200.0, 1200.0)))
    frame = random_spots((90, 100), kind, rng)
    labels, offsets = labelled(frame)
    assert len(frame.spots.row) > 3
    for row, col in zip(frame.spots.row, frame.spots.col, strict=True):
        at = round(row), round(col)
        assert labels[at] == SPOT
        assert at + offsets[(slice(None), *at)].astype(float) == pytest.approx([row, col], abs=0.01)
    assert (labels == SPOT).sum() < 6 * len(frame.spots.row)
    assert set(np.unique(labels)) == {NOTHING, SPOT, UNSURE}


def test_faint_and_hidden_spots_are_neither() -> None:
    rng = np.random.default_rng(2)
    faint = labelled(random_spots((90, 100), without(Kind(signal_to_noise=(3.0, 3.0))), rng))[0]
    assert (faint == UNSURE).any() and not (faint == SPOT).any()
    nothing = labelled(random_spots((90, 100), without(Kind(signal_to_noise=(1.0, 1.0))), rng))[0]
    assert not nothing.any()
    frame = random_spots((90, 100), without(Kind(signal_to_noise=(20.0, 20.0))), rng)
    frame.image[:] = 65535
    assert not (labelled(frame)[0] == SPOT).any()


def test_a_set_has_a_label_for_every_pixel() -> None:
    heard: list[int] = []
    made = peak_set(3, Kind(), np.random.default_rng(0), heard.append)
    assert made.images.shape == made.labels.shape == (3, 96, 96)
    assert made.offsets.shape == (3, 2, 96, 96)
    assert heard == [0, 3]


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


def test_simple_guesses_of_a_place() -> None:
    row, col = np.arange(21)[:, None], np.arange(21)[None, :]
    image = 3 + 50 * np.exp(-((row - 10.3) ** 2 + (col - 8.8) ** 2) / 3)
    assert brightest_pixel(image, np.array([[10.0, 9.0]])).tolist() == [[10.0, 9.0]]
    assert centre_of_mass(image, np.array([[10.0, 9.0]]))[0] == pytest.approx([10.3, 8.8], abs=0.05)
