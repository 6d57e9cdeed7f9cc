import numpy as np
import pytest

from edge.physics.ring_frames import ring_frame
from edge.physics.spots import FLAG, Kind, random_spots, without
from edge.training.peak_frames import (
    CUT_COUNTS,
    SCENE_PX,
    SPOT,
    UNSURE,
    alike,
    cover,
    cut_frame,
    labelled,
    peak_set,
    stray_grains,
)


def test_every_spot_is_labelled_where_it_is() -> None:
    frame = random_spots((90, 100), without(Kind(signal_to_noise=(20.0, 20.0))), np.random.default_rng(1))
    listed = labelled(frame)
    assert listed[:, 0].tolist() == frame.spots.row.tolist() and listed[:, 1].tolist() == frame.spots.col.tolist()
    assert set(listed[:, 2]) == {SPOT}


def test_spots_that_nobody_can_see_are_doubtful() -> None:
    rng = np.random.default_rng(2)
    faint = labelled(random_spots((90, 100), without(Kind(signal_to_noise=(1.0, 1.0))), rng))
    assert len(faint) and set(faint[:, 2]) == {UNSURE}
    frame = random_spots((90, 100), without(Kind(signal_to_noise=(20.0, 20.0))), rng)
    frame.image[:] = FLAG
    assert set(labelled(frame)[:, 2]) == {UNSURE}


def test_a_set_holds_scenes_with_their_spots() -> None:
    heard: list[int] = []
    made = peak_set(3, np.random.default_rng(0), heard.append)
    assert made.images.shape == (3, SCENE_PX, SCENE_PX) and made.images.dtype == np.uint16
    assert made.places.shape == (*made.states.shape, 2) and made.places.dtype == np.float32
    assert heard == [0, 1, 2, 3]
    known = made.states > 0
    assert known.any() and set(np.unique(made.states)) <= {0, SPOT, UNSURE}
    assert (made.places[known] >= 0).all() and (made.places[known] < SCENE_PX).all()


def test_scenes_are_brighter_at_their_spots() -> None:
    """Than at places drawn at random; spots too faint for that are among them."""
    rng = np.random.default_rng(4)
    made = peak_set(8, rng)
    higher = []
    for image, places, states in zip(made.images, made.places, made.states, strict=True):
        at = np.rint(places[states == SPOT]).astype(int).clip(0, SCENE_PX - 1)
        by_chance = rng.integers(0, SCENE_PX, at.shape)
        ours, others = image[tuple(at.T)].astype(int), image[tuple(by_chance.T)].astype(int)
        known = (ours != FLAG) & (others != FLAG) & (ours != others)
        higher += list((ours > others)[known])
    assert len(higher) > 50 and np.mean(higher) > 0.7


def test_spots_of_a_frame_may_be_alike() -> None:
    for seed in range(5):
        kind = alike(np.random.default_rng(seed))
        assert 1 < kind.signal_to_noise[1] / kind.signal_to_noise[0] <= 4


def test_below_the_cut_there_is_only_noise() -> None:
    frames = [cut_frame(np.random.default_rng(seed)) for seed in range(4)]
    for frame in frames:
        good = frame.image != FLAG
        assert np.percentile(frame.image[good], 99) <= CUT_COUNTS[1]
        assert np.bincount(frame.image[good]).argmax() > 0, "the noise has a level"
    states = np.concatenate([labelled(frame)[:, 2] for frame in frames])
    assert set(states) == {SPOT, UNSURE}


def test_stray_grains_brighten_a_frame_without_a_spot() -> None:
    rng = np.random.default_rng(5)
    frame = ring_frame((128, 130), "powder", rng)
    before = frame.image.copy()
    while (frame.image == before).all():
        stray_grains(frame, rng)
    assert (frame.image >= before).all() and ((frame.image == FLAG) == (before == FLAG)).all()
    assert len(labelled(frame)) == 0


@pytest.mark.parametrize(("place", "share"), [((10.0, 10.0), 0.0), ((2.0, 10.0), 1 / 7), ((0.0, 0.0), 4 / 49)])
def test_cover_is_the_share_of_bad_pixels_around(place: tuple[float, float], share: float) -> None:
    bad = np.zeros((20, 20), dtype=bool)
    bad[0] = True
    assert cover(bad, np.array([place])).tolist() == pytest.approx([share])
