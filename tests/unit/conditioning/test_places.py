"""Orientation, selection and what is published of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.conditioning.description import describe
from edge.conditioning.flags import flags_of
from edge.conditioning.orientation import (
    ORIENTATIONS,
    SQUARE,
    copy_oriented,
    oriented,
    oriented_point,
    oriented_shape,
)
from edge.conditioning.selection import WHOLE, Selection, Selector

NUMPY = {
    "as-is": lambda image: image,
    "rotate-90": lambda image: np.rot90(image, 1),
    "rotate-180": lambda image: np.rot90(image, 2),
    "rotate-270": lambda image: np.rot90(image, 3),
    "mirror-columns": np.fliplr,
    "mirror-rows": np.flipud,
    "transpose": np.transpose,
    "anti-transpose": lambda image: np.rot90(np.transpose(image), 2),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_an_orientation_is_numpys(orientation):
    image = np.arange((SQUARE + 5) * (2 * SQUARE + 3), dtype=np.uint32).reshape(SQUARE + 5, -1)
    expected = NUMPY[orientation](image)
    assert oriented_shape(image.shape, orientation) == expected.shape
    np.testing.assert_array_equal(oriented(image, orientation), expected)
    out = np.zeros(expected.shape, np.uint32)
    copy_oriented(image, orientation, out)
    np.testing.assert_array_equal(out, expected)


def test_the_eight_orientations_are_different():
    image = np.arange(9).reshape(3, 3)
    assert len({oriented(image, orientation).tobytes() for orientation in ORIENTATIONS}) == 8


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@given(row=st.integers(0, 4), column=st.integers(0, 6))
def test_a_point_goes_where_its_pixel_goes(orientation, row, column):
    image = np.zeros((5, 7))
    image[row, column] = 1
    x, y = oriented_point((column + 0.5, row + 0.5), image.shape, orientation)
    assert oriented(image, orientation)[int(y), int(x)] == 1
    assert (x % 1, y % 1) == (0.5, 0.5)


def select(selection: Selection, image: np.ndarray) -> np.ndarray:
    selector = Selector(selection, image.shape, flags_of(image.dtype.name))
    assert selector.shape == selection.shape(image.shape)
    out = np.full(selector.shape, 99, image.dtype)
    selector.copy(image, out)
    return out


def test_a_region_is_cut_out():
    image = np.arange(30, dtype=np.uint16).reshape(5, 6)
    np.testing.assert_array_equal(select(Selection((1, 2, 3, 4)), image), image[1:4, 2:6])


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from(["uint8", "uint16", "uint32"]))
def test_binning_is_the_sum_in_python_integers(seed, binning, dtype):
    rng = np.random.default_rng(seed)
    flags = flags_of(dtype)
    image = rng.integers(0, flags.first // 3, (11, 13)).astype(dtype)
    image[rng.random((11, 13)) < 0.05] = flags.gap
    image[rng.random((11, 13)) < 0.05] = flags.bad
    found = select(Selection((1, 2, 10, 9), binning), image)
    part = image[1:11, 2:11].tolist()
    for row in range(10 // binning):
        for column in range(9 // binning):
            pixels = [
                part[row * binning + down][column * binning + right]
                for down in range(binning)
                for right in range(binning)
            ]
            if any(pixel >= flags.first for pixel in pixels):
                # one pixel alone keeps its own flag
                assert found[row, column] == (flags.bad if binning > 1 else pixels[0])
            else:
                assert found[row, column] == min(sum(pixels), flags.largest)


def test_an_unused_selector_is_as_good_as_a_used_one():
    image = np.array([[1, 2], [3, 65535]], np.uint16)
    selector = Selector(Selection(binning=2), (2, 2), flags_of("uint16"))
    out = np.zeros((1, 1), np.uint16)
    selector.copy(image, out)
    assert out.tolist() == [[65534]]
    image[1, 1] = 4
    selector.copy(image, out)
    assert out.tolist() == [[10]]


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection((0, 0, 5, 7)), "beyond the image of 5 x 6"),
        (Selection((1, 0, 5, 6)), "beyond"),
        (Selection(binning=6), "nothing"),
        (Selection((0, 0, 2, 6), 3), "nothing"),
    ],
)
def test_a_selection_that_does_not_fit_is_refused(selection, said):
    assert said in selection.refusal((5, 6))


def test_selections_that_fit_are_not_refused():
    for selection in (WHOLE, Selection((0, 0, 5, 6)), Selection((4, 5, 1, 1)), Selection(binning=5)):
        assert selection.refusal((5, 6)) is None


def test_the_beam_follows_orientation_region_and_binning():
    header = {"beam_center_x": 1.5, "beam_center_y": 4.5, "x_pixel_size": 1e-4, "y_pixel_size": 2e-4}
    image = np.zeros((6, 4))
    image[4, 1] = 1
    told = describe(header, (6, 4), "rotate-90", Selection((0, 2, 4, 4), 2))
    turned = np.rot90(image)[:, 2:6]
    row, column = (int(at[0]) for at in np.nonzero(turned))
    assert told["shape"] == [2, 2]
    assert (told["beam_center_x"], told["beam_center_y"]) == ((column + 0.5) / 2, (row + 0.5) / 2)
    assert (told["x_pixel_size"], told["y_pixel_size"]) == (4e-4, 2e-4)
    assert (told["region"], told["binning"], told["orientation"]) == ([0, 2, 4, 4], 2, "rotate-90")


@pytest.mark.parametrize("header", [{}, {"beam_center_x": 1}, {"beam_center_x": "x", "beam_center_y": float("nan")}])
def test_an_unknown_beam_is_not_made_up(header):
    told = describe(header, (6, 4), "as-is", WHOLE)
    assert told == {"shape": [6, 4], "orientation": "as-is", "region": None, "binning": 1}


def test_names_of_stream_v2():
    told = describe({"pixel_size_x": 7.5e-5, "pixel_size_y": 7.5e-5}, (6, 4), "as-is", WHOLE)
    assert told["x_pixel_size"] == told["y_pixel_size"] == 7.5e-5
