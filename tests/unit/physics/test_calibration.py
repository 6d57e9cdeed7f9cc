import numpy as np
import pytest

from edge.physics.calibration import auc, error_interval, kept_at, reliability

TWO_KINDS = np.array([False, False, True, True])


def test_true_probabilities_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    stated = rng.random(20_000)
    assert reliability(stated, rng.random(20_000) < stated).error < 0.02
    bold = reliability(stated, rng.random(20_000) < stated**2)
    assert bold.error == pytest.approx(1 / 6, abs=0.02)


def test_each_statement_is_in_its_bin() -> None:
    found = reliability(np.array([0.05, 0.55, 0.56, 1.0]), np.array([False, True, False, True]))
    assert found.count.tolist() == [1, 0, 0, 0, 0, 2, 0, 0, 0, 1]
    assert found.true[[0, 5, 9]].tolist() == [0, 0.5, 1]
    assert found.stated[5] == pytest.approx(0.555)
    assert found.error == pytest.approx((0.05 + 2 * 0.055 + 0) / 4)


def test_nothing_stated_has_no_error() -> None:
    assert np.isnan(reliability(np.empty(0), np.empty(0, dtype=bool)).error)


@pytest.mark.parametrize(
    ("scores", "area"), [([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], 0.0), ([1, 1, 1, 1], 0.5), ([1, 3, 2, 4], 0.75)]
)
def test_the_area_is_the_chance_of_the_right_order(scores, area) -> None:
    assert auc(np.array(scores), TWO_KINDS) == area


def test_one_kind_alone_has_no_area() -> None:
    assert np.isnan(auc(np.arange(3.0), np.ones(3, dtype=bool)))


def test_what_is_kept_at_a_recall() -> None:
    scores = np.concatenate([np.arange(100.0), np.arange(-50.0, 50.0)])
    wanted = np.arange(200) < 100
    assert kept_at(1.0, scores, wanted) == (1.0, 0.5)
    assert kept_at(0.9, scores, wanted) == (0.9, 0.4)
    assert np.isnan(kept_at(0.9, scores[:3], np.zeros(3, dtype=bool))).all()


def test_of_few_none_may_be_lost_and_no_limit_is_told() -> None:
    wanted = np.arange(150) < 99
    assert np.isnan(kept_at(0.99, np.arange(150.0), wanted)).all()
    assert kept_at(0.99, np.arange(150.0), np.arange(150) < 100)[0] == 0.99


def test_the_interval_of_the_error_is_of_all_frames_together() -> None:
    rng = np.random.default_rng(1)
    parts = []
    for _ in range(40):
        stated = rng.random(100)
        parts.append((stated, rng.random(100) < stated**2))
    whole = reliability(np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts])).error
    low, high = error_interval([reliability(*one) for one in parts])
    assert low < whole < high and high - low < 0.1
