import math

import numpy as np
import pytest

from edge.demo.terminal import UPPER_HALF, limits, picture


def colours(image: np.ndarray, columns: int) -> list[list[tuple[int, int]]]:
    """Grey levels of upper and lower half of every character."""
    lines = picture(image, columns).split("\n")
    found = []
    for line in lines:
        row = []
        for span in line.spans:
            style = span.style
            row.append((style.color.triplet.red, style.bgcolor.triplet.red))
        if row:
            found.append(row)
    return found


def test_two_pixels_a_character():
    image = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert colours(image, 2) == [[(0, 255), (255, 0)]]
    assert picture(image, 2).plain == UPPER_HALF * 2 + "\n"


@pytest.mark.parametrize(("shape", "columns", "lines"), [((100, 100), 64, 32), ((50, 100), 64, 16), ((1, 100), 64, 1)])
def test_the_picture_keeps_its_proportions(shape, columns, lines):
    plain = picture(np.zeros(shape), columns).plain.splitlines()
    assert len(plain) == lines
    assert {len(line) for line in plain} == {columns}


def test_what_is_unknown_is_dark_grey():
    image = np.array([[0.0, math.nan], [1.0, 1.0]])
    assert colours(image, 2) == [[(0, 255), (24, 255)]]


def test_outliers_do_not_set_the_limits():
    image = np.concatenate([np.linspace(0, 1, 1000), [1e6]])
    assert limits(image)[1] < 1.01
    assert limits(np.full(3, math.nan)) == (0.0, 1.0)
    assert limits(np.ones(3)) == (1.0, 2.0)
