import numpy as np
import pytest

from edge.physics.peak_judging import Found
from edge.physics.recall import matched_filter, ranked

TRUTH = np.array([[10.0, 10.0], [30.0, 30.0]])


def found(*rows: tuple[float, float, float]) -> Found:
    array = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return Found(array[:, :2], array[:, 2])


def test_recall_at_a_number_of_false_ones():
    one = ranked([found((10, 11, 9.0), (40, 40, 8.0), (30, 29, 7.0), (1, 1, 6.0))], [TRUTH])
    assert one.recall(0) == 0.5  # the first; then comes a false one
    assert one.recall(1) == 1.0
    assert one.false_per_frame == 2


def test_one_spot_is_found_once_by_the_surer_one():
    one = ranked([found((10, 10, 1.0), (10, 11.5, 2.0))], [TRUTH])
    assert one.true.tolist() == [True, False]


def test_frames_are_drawn_whole():
    two = ranked([found((10, 10, 3.0), (50, 50, 2.0), (30, 30, 1.0)), found()], [TRUTH, TRUTH])
    assert two.frames == 2 and two.recall(0) == 0.25 and two.recall(0.5) == 0.5
    assert two.hits(0, np.array([0, 0, 0])) == (3, 6)
    assert two.hits(1, np.array([0, 0, 0])) == (6, 6)
    assert two.hits(9, np.array([1, 1])) == (0, 4)


def test_nothing_to_find():
    none = ranked([found((1, 1, 1.0))], [np.empty((0, 2))])
    assert np.isnan(none.recall(1)) and none.false_per_frame == 1


def test_the_filter_finds_a_spot_of_its_width():
    row, col = np.ogrid[:80, :80]
    image = 5 + 30 * np.exp(-((row - 40) ** 2 + (col - 25) ** 2) / (2 * 1.5**2))
    one = matched_filter(np.random.default_rng(0).poisson(image).astype(np.float64), 1.5)
    best = int(np.argmax(one.scores))
    assert one.places[best] == pytest.approx([40, 25], abs=1)
    assert one.scores[best] > 2 * np.sort(one.scores)[-2]


def test_the_best_threshold_by_f1():
    one = ranked([found((10, 10, 9.0), (60, 60, 8.0), (30, 30, 7.0), (1, 1, 6.0), (2, 9, 5.0))], [TRUTH])
    assert one.best == (pytest.approx(4 / 5), 1.0)
    assert ranked([found()], [TRUTH]).best == (0.0, 0.0)
