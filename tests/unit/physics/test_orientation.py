import itertools

import numpy as np
import pytest

from edge.conditioning.orientation import ORIENTATIONS, oriented
from edge.physics.orientation import FAMILIES, TURNS, Turn, after, family, members, moved, turn_of, twin

SIGNS = ((1, 1), (-1, 1), (1, -1), (-1, -1))


@pytest.mark.parametrize("image", ORIENTATIONS)
def test_positions_go_where_the_pixels_of_an_image_go(image: str) -> None:
    turn = Turn("as-is", image)
    for row, col in itertools.product(range(-2, 3), repeat=2):
        picture = np.zeros((5, 5))
        picture[row + 2, col + 2] = 1
        found = np.argwhere(oriented(picture, image))[0] - 2
        np.testing.assert_array_equal(moved(np.array([[row, col]]), turn)[0], found)


@pytest.mark.parametrize(("swap", "signs"), list(itertools.product((False, True), SIGNS)))
def test_scan_axes_are_swapped_and_then_negated(swap: bool, signs: tuple[int, int]) -> None:
    turn = turn_of("as-is", signs, swap)
    assert (turn.swap, turn.signs) == (swap, signs)
    wanted = np.array([[5.0, 3.0] if swap else [3.0, 5.0]]) * signs
    np.testing.assert_array_equal(moved(np.array([[3.0, 5.0]]), turn), wanted)


def test_the_turns_are_4_families_of_16_in_twins_of_8() -> None:
    assert len(set(TURNS)) == 64
    assert sorted(itertools.chain(*FAMILIES)) == sorted(ORIENTATIONS)
    assert [len(members(one)) for one in FAMILIES] == [16] * 4
    for relative in ORIENTATIONS:
        assert len(members((relative,))) == 8
        assert members((relative,))[0] == Turn(relative, "as-is")  # the fewest changes
        assert twin(twin(relative)) == relative
        assert set(family(relative)) == {relative, twin(relative)}


def test_turning_image_and_scan_together_leaves_the_relative_turn() -> None:
    for turn, both in itertools.product(TURNS, ORIENTATIONS):
        assert after(turn, Turn(both, both)).relative == turn.relative


def test_one_turn_after_another_does_what_both_do() -> None:
    rng = np.random.default_rng(0)
    picture, places = rng.random((4, 4)), rng.random((3, 2))
    for first, then in zip(TURNS, rng.permutation(np.array(TURNS, dtype=object)), strict=True):
        both = after(first, then)
        np.testing.assert_array_equal(
            oriented(picture, both.image), oriented(oriented(picture, first.image), then.image)
        )
        np.testing.assert_allclose(moved(places, both), moved(moved(places, first), then))
