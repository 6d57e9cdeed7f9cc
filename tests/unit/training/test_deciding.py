"""Which version is better: only what is surely better counts as it, and frames of one piece of the object as one."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from edge.training.deciding import (
    LEAST_TILES,
    SIDE,
    TEST_FRACTIONS,
    Gain,
    gain,
    judging_split,
    side_of_check,
    tiles,
)

PATCH_PX = 96
ROWS, COLUMNS = 6, 40


def places(rows: int = ROWS, columns: int = COLUMNS, step: float = 20.0) -> np.ndarray:
    found = np.mgrid[:rows, :columns] * step
    return np.moveaxis(found, 0, -1).reshape(-1, 2)


def deviances(seed: int, spread: float = 0.02) -> np.ndarray:
    return 1 + spread * np.random.default_rng(seed).standard_normal(ROWS * COLUMNS)


def of_places() -> np.ndarray:
    return tiles(places(), PATCH_PX)


@pytest.mark.parametrize(
    ("rows_px", "columns_px", "count"), [(70, 328, 3), (191, 191, 1), (192, 192, 4), (100, 600, 6), (0, 0, 1)]
)
def test_a_tile_is_as_large_as_a_patch(rows_px: int, columns_px: int, count: int):
    positions = np.random.default_rng(0).uniform(0, 1, (2000, 2)) * (rows_px, columns_px) - 50
    positions[:2] = (-50, -50), (rows_px - 50, columns_px - 50)
    tile = tiles(positions, PATCH_PX)
    assert sorted(set(tile.tolist())) == list(range(count))
    for name in range(count) if count > 1 else ():
        assert (np.ptp(positions[tile == name], axis=0) <= np.array([rows_px, columns_px])).all()
    centres = np.array([positions[tile == name].mean(axis=0) for name in range(count)])
    apart = np.abs(centres[:, None] - centres[None]).max(axis=-1) + 1e9 * np.eye(count)
    assert apart.min() > 0.9 * PATCH_PX


def test_tiles_that_nobody_is_in_do_not_count():
    positions = np.array([[0.0, 0.0], [500.0, 500.0]])
    assert tiles(positions, PATCH_PX).tolist() == [0, 1]


@pytest.mark.parametrize(("by", "standing"), [(0.05, "better"), (-0.05, "worse"), (0.0, "open")])
def test_standing_of_the_other_version(by: float, standing: str):
    found = gain(deviances(1), deviances(2) - by, of_places())
    assert found.standing == standing and found.tiles == 8
    assert found.low is not None and found.high is not None
    assert found.low <= found.mean <= found.high and found.frames == ROWS * COLUMNS
    assert found.before - found.after == pytest.approx(found.mean)


def test_the_interval_is_students():
    """By hand: six tiles of one frame, 1 to 6; t of 5 degrees of freedom, 99 % a side, is 3.365 (any table)."""
    found = gain(np.arange(1.0, 7.0), np.zeros(6), np.arange(6))
    assert found.low == pytest.approx(3.5 - 3.365 * np.sqrt(3.5 / 6), abs=1e-3)


def test_fewer_than_six_tiles_decide_nothing():
    tile = np.arange(ROWS * COLUMNS) % (LEAST_TILES - 1)
    found = gain(deviances(1), deviances(1) - 5.0, tile)
    assert found.standing == "open" and found.low is None and found.mean == pytest.approx(5.0)


def test_what_only_one_piece_of_the_object_gains_is_not_surely_better():
    """All frames of a tile see one piece: a hundred of them are one witness."""
    tile, after = of_places(), deviances(1).copy()
    after[tile == 3] -= 1.0
    found = gain(deviances(1), after, tile)
    assert found.mean > 0.05 and found.standing == "open"
    naive = gain(deviances(1), after, np.arange(len(after)))
    assert naive.standing == "better", "what frames taken one by one would have said"


def test_pairs_count_not_the_spread_between_frames():
    """Frames differ by far more than versions do."""
    before = deviances(1, spread=1.0)
    assert gain(before, before - 0.01, of_places()).standing == "better"


@pytest.mark.parametrize(
    ("rows_px", "columns_px", "step"), [(70, 600, 10), (130, 600, 10), (200, 300, 10), (400, 800, 20)]
)
def test_no_difference_is_seldom_taken_for_one(rows_px: int, columns_px: int, step: int):
    """Half of the variance between two versions that are alike belongs to the object, as a patch averages it."""
    rng, patch = np.random.default_rng(7), PATCH_PX // step
    positions = places(rows_px // step, columns_px // step, step)
    tile, wrong, draws = tiles(positions, PATCH_PX), {"better": 0, "worse": 0, "open": 0}, 600
    assert tile.max() + 1 >= LEAST_TILES or rows_px == 200
    for _ in range(draws):
        scene = uniform_filter(rng.normal(size=(rows_px // step + patch, columns_px // step + patch)), patch)
        of_object = scene[: rows_px // step, : columns_px // step].ravel() * patch
        noise = rng.normal(size=len(positions))
        wrong[gain(of_object + noise, np.zeros(len(noise)), tile).standing] += 1
    assert wrong["better"] <= 0.05 * draws and wrong["worse"] <= 0.05 * draws, wrong


def test_checks_repeated_for_ever_are_wrong_as_seldom_as_two():
    assert side_of_check(0) == SIDE
    assert 1.9 * SIDE < sum(side_of_check(number) for number in range(1000)) < 2 * SIDE
    tile = of_places()
    first, later = (gain(deviances(1), deviances(2), tile, side_of_check(number)) for number in (0, 5))
    assert first.low is not None and later.low is not None and later.low < first.low


def test_a_scan_is_cut_so_that_there_are_tiles_enough():
    wide = places(15, 40)  # 280 x 780 pixels
    split, tile = judging_split(wide, 128, PATCH_PX)
    assert tile.max() + 1 >= LEAST_TILES and len(tile) == len(split.test)
    assert np.ptp(wide[split.test][:, 0]) <= 60 + 20, "the first test fraction is enough across the rows"
    assert wide[split.training][:, 0].min() > wide[split.test][:, 0].max() + 128
    tall, other = judging_split(wide[:, ::-1], 128, PATCH_PX)
    assert tall.test.tolist() == split.test.tolist() and other.max() == tile.max(), "and so across the columns"


def test_of_a_small_scan_the_most_is_made():
    small = places(20, 20)  # 380 x 380 pixels: no cut leaves six tiles
    split, tile = judging_split(small, 128, PATCH_PX)
    assert 1 < tile.max() + 1 < LEAST_TILES and len(split.test) < 1.2 * TEST_FRACTIONS[-1] * len(small)
    with pytest.raises(ValueError, match="no two blocks"):
        judging_split(places(5, 5), 128, PATCH_PX)


def test_what_is_not_finite_is_no_gain():
    bad = deviances(1).copy()
    bad[3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        gain(deviances(1), bad, of_places())
    with pytest.raises(ValueError, match="deviances of"):
        gain(deviances(1), bad[1:], of_places())


def test_limits_decide():
    assert Gain(1, 1, 0.1, 0.001, 0.2, 9).standing == "better"
    assert Gain(1, 1, 0.1, 0.0, 0.2, 9).standing == "open"
    assert Gain(1, 1, -0.1, -0.2, 0.0, 9).standing == "open"
    assert Gain(1, 1, 0.1, None, None, 9).standing == "open"
