"""The judges of the denoiser, on frames whose best estimate is known: gamma distributed truth, Poisson counts."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edge.physics.diffraction import MAX_UINT16_COUNT
from edge.physics.peak_judging import Found
from edge.physics.recall import Ranked
from edge.physics.spots import FLAG
from edge.reference import Reference
from edge.training.evaluate_denoise import _phase, evaluate_denoise
from edge.training.evaluate_denoise_cases import THINNED, thinned_cases
from edge.training.evaluate_denoise_measured import OTHER_FLOORS, Thinned, against_bm3d, bias, calibration, with_bm3d
from edge.training.evaluate_denoise_use import Family, Pair, _whole, compared, faint_frames, gain
from edge.training.rivals.bm3d import Denoised
from edge.training.scan_probe import ScanError

SHAPE = 0.7


@pytest.fixture(scope="module")
def seen() -> Thinned:
    rng = np.random.default_rng(0)
    scale = np.exp(rng.uniform(1, 5, (12, 60, 60)))  # known, as if from the surroundings
    truth = rng.gamma(SHAPE, scale)
    return guessed(rng.poisson(truth).astype(np.uint16), scale)


def guessed(frames: np.ndarray, scale: np.ndarray, seed: int = 0) -> Thinned:
    images, wanted, good = (np.stack(arrays) for arrays in zip(*thinned_cases(frames, seed), strict=True))
    rate = 1 + 1 / (THINNED * scale)
    expected = (np.where(good, images, 0) + SHAPE) / rate
    return Thinned("made", images, wanted, expected, expected / rate, good, np.arange(len(frames)))


def test_the_best_estimate_has_no_bias_and_the_right_variance(seen: Thinned):
    worst = bias([seen])[0]
    assert worst.name == "denoise_bias_pct" and worst.value is not None and abs(worst.value) < 1.5
    assert calibration(seen).value == pytest.approx(1, abs=0.03)


def test_a_wrong_level_and_a_wrong_variance_are_seen(seen: Thinned):
    for worst in bias([replace(seen, expected=1.05 * seen.expected)]):
        assert worst.value is not None and worst.value > 4 and worst.kept is False
    assert calibration(replace(seen, variance=9 * seen.variance)).value == pytest.approx(0.36, abs=0.05)


def test_against_a_rival(seen: Thinned):
    raw = Denoised(seen.images.astype(np.float64), np.ones(12))
    found = against_bm3d(replace(seen, rival=raw))
    assert all(one.kept for one in found[:2]) and all(one.kept is None and one.interval for one in found[2:])
    assert all(one.value is not None and one.value < 0.95 for one in found)
    assert [one.name for one in found[2:]] == [f"denoise_vs_bm3d_deviance/floor {floor:g}" for floor in OTHER_FLOORS]
    same = against_bm3d(replace(seen, rival=Denoised(seen.expected, np.ones(12))))
    assert {one.value for one in same} == {1.0} and not any(one.kept for one in same)
    assert all(one.value is None and "--rival-python" in one.what for one in against_bm3d(seen))


def test_the_bias_is_that_of_all_thinnings_together():
    """One that is a fifth too high and one that is as much too low have none together, and are told one by one."""
    rng = np.random.default_rng(3)
    scale = np.full((6, 50, 50), 60.0)
    frames = rng.poisson(rng.gamma(SHAPE, scale)).astype(np.uint16)
    scans = [guessed(frames, scale, seed) for seed in range(2)]
    wrong = [replace(one, expected=factor * one.expected) for one, factor in zip(scans, (1.2, 0.8), strict=True)]
    for row in bias(wrong):
        assert row.value is not None and abs(row.value) < 8 and row.bars
        assert row.more["each"][0] > 15 and row.more["each"][1] < -15
    dark = replace(scans[0], expected=np.where(scans[0].expected < 1, 1.5, 1) * scans[0].expected)
    by_count, by_pixels = (row.value for row in bias([dark]))
    assert by_count is not None and by_pixels is not None and by_pixels > 40 > by_count  # few counts are in the dark


def test_flagged_pixels_are_not_judged_and_no_rival_sees_them():
    rng = np.random.default_rng(4)
    scale = np.full((4, 40, 40), 60.0)
    frames = rng.poisson(rng.gamma(SHAPE, scale)).astype(np.uint32)
    frames[:, :5] = 2**32 - 1
    frames[0, 20, 20] = 900_000  # more than 16 bits hold, also thinned
    seen = guessed(frames, scale)
    assert (seen.images[:, :5] == FLAG).all() and not seen.good[:, :5].any() and seen.good[:, 5:].all()
    assert seen.images[0, 20, 20] == MAX_UINT16_COUNT
    wrong = replace(seen, expected=np.where(seen.good, seen.expected, 1e6))
    assert [one.value for one in bias([wrong])] == [one.value for one in bias([seen])]
    assert calibration(wrong).value == calibration(seen).value
    assert with_bm3d(seen, (Path(sys.executable),), None).rival is None
    assert all(one.value is None and "flagged" in one.what for one in against_bm3d(seen))
    assert (thinned_cases([np.full((3, 3), 255, np.uint8)])[0].image == FLAG).all()


def test_scaled_counts_do_not_wrap():
    assert _whole(np.array([3.0, 30_000.0, 65_535.0]), 3.0).tolist() == [9, MAX_UINT16_COUNT, FLAG]
    assert _whole(np.array([70_000.0]), 1.0)[0] == MAX_UINT16_COUNT


def test_a_reference_of_another_scan_is_refused(seen: Thinned):
    short = Reference(np.ones((9, 9), np.complex64), np.zeros((5, 2)))
    with pytest.raises(ScanError, match="5 positions"):
        _phase(seen, seen, short)


def test_a_folder_without_a_graph_is_named_at_once(tmp_path):
    answer = CliRunner().invoke(evaluate_denoise, ["--model", str(tmp_path)])
    assert answer.exit_code == 1 and "model.onnx" in answer.output and isinstance(answer.exception, SystemExit)


def test_a_gain_is_that_of_all_experiments_each_at_its_own_threshold():
    spots = np.array([2, 2])
    frame, raw, clean = np.array([0, 1, 0]), np.array([True, False, False]), np.array([True, True, True])
    pair = Pair(Ranked(frame, raw, spots), Ranked(frame, clean, spots), 0.0, ("a", "b"))
    one = gain([pair, pair])
    assert (one.raw, one.denoised, one.points) == pytest.approx((0.25, 0.75, 50))
    assert one.interval[0] <= 50 <= one.interval[1]


def test_settings_are_chosen_for_each_kind_of_frame():
    """A finder that sees the brightest pixels above a limit: what is ten times brighter needs another limit."""

    def find(images, frames, settings):
        return [[_above(image, limit) for image in images] for limit in settings]

    frames = faint_frames(0.1, 3, 0)
    pair = compared(Family((3.0, 30.0), find), frames[:2], frames[2:], lambda image: {"expected": 10.0 * image})
    assert pair.settings == ("3.0", "30.0")
    assert pair.raw.recall(pair.false_per_frame) == pair.denoised.recall(pair.false_per_frame)


def _above(image: np.ndarray, limit: float) -> Found:
    places = np.argwhere(image >= limit)[:400]
    return Found(places.astype(np.float64), image[tuple(places.T)].astype(np.float64))
