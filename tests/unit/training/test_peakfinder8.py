"""peakfinder8 itself needs an environment of its own, named by EDGE_RIVAL_PYTHON; continuous integration has none."""

import os
from pathlib import Path

import numpy as np
import pytest

from edge.physics.peak_judging import Tally, tally
from edge.physics.spots import Kind, random_spots, without
from edge.training.rivals.calling import interpreter_with
from edge.training.rivals.peakfinder8 import MODULE, Settings, best, find, grid, unpacked


@pytest.fixture(scope="module")
def python() -> Path:
    named = [Path(one) for one in os.environ.get("EDGE_RIVAL_PYTHON", "").split(os.pathsep) if one]
    found = interpreter_with(named, MODULE)
    if found is None:
        pytest.skip("no interpreter in EDGE_RIVAL_PYTHON has peakfinder8 (PyPI ondamonitor with numpy<2)")
    return found


def test_peaks_are_sorted_into_settings_and_frames() -> None:
    count = np.array([[1, 0], [2, 1]])
    place = np.arange(8.0).reshape(4, 2)
    found = unpacked(count, place, np.arange(4.0))
    assert [[one.scores.tolist() for one in frames] for frames in found] == [[[0], []], [[1, 2], [3]]]
    assert found[1][1].places.tolist() == [[6, 7]]
    with pytest.raises(ValueError, match="4 peaks are announced, 3 places"):
        unpacked(count, place[:3], np.arange(3.0))


def test_the_best_setting_has_the_highest_mean_f1() -> None:
    good, bad = Tally(9, 1, 1), Tally(1, 9, 9)
    assert best([[bad, good], [good, good], [bad, bad]]) == 1


def test_the_grid_tries_every_setting_once() -> None:
    tried = grid()
    assert len(set(tried)) == len(tried) > 50
    assert {one.min_pixel_count for one in tried} == {1, 2, 3, 4, 5, 6}


def test_the_real_one_finds_strong_spots(python) -> None:
    kind = without(Kind(background=(3.0, 3.0), signal_to_noise=(40.0, 40.0), sigma_px=(1.2, 1.2), rings=0.0))
    rng = np.random.default_rng(0)
    frames = [random_spots((256, 300), kind, rng) for _ in range(2)]
    for frame in frames:
        frame.image[:, 100:104] = 65535
    searched = [Settings(5.0), Settings(60.0)]
    found, seconds = find(python, [(frame.image, frame.beam) for frame in frames], searched, timed=True)
    assert seconds.shape == (2, 2) and (seconds > 0).all()
    for one, frame in zip(found[0], frames, strict=True):
        where = np.stack([frame.spots.row, frame.spots.col], axis=1)
        hidden = np.abs(where[:, 1] - 101.5) < 6
        total = tally(one.places, where[~hidden], where[hidden])
        assert total.recall > 0.9 and total.precision > 0.9
        assert len(one.scores) == len(one.places)
    assert sum(len(one.places) for one in found[1]) < sum(len(one.places) for one in found[0])
