"""Where the pixels of assembled images come from, against the positions that the geometry file states."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.conditioning.assembly import NOTHING, assemble, bad_pixels
from edge.conditioning.errors import ConditioningError
from edge.conditioning.geom import BadRegion, Geometry, Panel, parse


def panel(name="p", module=0, fs=(0, 9), ss=(0, 4), corner=(0.0, 0.0), turn=0.0, size=1.0, **changes) -> Panel:
    cos, sin = size * np.cos(turn), size * np.sin(turn)
    return Panel(name, module, *fs, *ss, corner, (cos, sin), (-sin, cos), **changes)


def geometry(*panels: Panel, bad=()) -> Geometry:
    modules = tuple(("", (at,)) for at in range(1 + max(each.module for each in panels)))
    return Geometry(panels, modules, tuple(bad), (), None, None)


def source_of(index: int, shape: tuple[int, int]) -> tuple[int, int, int]:
    """(module, ss, fs)"""
    module, within = divmod(index, shape[0] * shape[1])
    return module, *divmod(within, shape[1])


@pytest.mark.parametrize("corner", [(0.0, 0.0), (-5.0, -2.5), (-2040.648848, -2153.863685), (3.999999, 0.5)])
def test_one_upright_panel_is_left_as_it_is(corner):
    assembly = assemble(geometry(panel(corner=corner)), (5, 10))
    assert assembly.shape == (5, 10)
    np.testing.assert_array_equal(assembly.index, np.arange(50).reshape(5, 10))
    assert assembly.beam == pytest.approx((-corner[0], -corner[1]))


@pytest.mark.parametrize("quarters", range(4))
def test_quarter_turns_move_every_pixel_exactly_once(quarters):
    assembly = assemble(geometry(panel(turn=quarters * np.pi / 2, corner=(3.25, -8.5))), (5, 10))
    expected = np.rot90(np.arange(50).reshape(5, 10), -quarters)  # y grows with the rows: seen so, it turns clockwise
    np.testing.assert_array_equal(assembly.index, expected)


def test_a_mirrored_panel():
    text = "p/min_fs=0\np/max_fs=9\np/min_ss=0\np/max_ss=4\np/corner_x=10\np/corner_y=0\np/fs=-x\np/ss=y\n"
    assembly = assemble(parse(text), (5, 10))
    np.testing.assert_array_equal(assembly.index, np.fliplr(np.arange(50).reshape(5, 10)))


def test_two_slabs_of_one_stacked_image_with_a_gap():
    upper = panel("a", ss=(0, 4), corner=(-5.0, -7.0))
    lower = panel("b", ss=(5, 9), corner=(-5.0, 2.0))
    assembly = assemble(geometry(upper, lower), (10, 10))
    assert assembly.shape == (14, 10)
    pixels = np.arange(100).reshape(10, 10)
    np.testing.assert_array_equal(assembly.index[:5], pixels[:5])
    assert (assembly.index[5:9] == NOTHING).all()
    np.testing.assert_array_equal(assembly.index[9:], pixels[5:])
    assert assembly.beam == (5, 7)


def test_modules_of_their_own():
    assembly = assemble(geometry(panel("a", 0), panel("b", 1, corner=(12.0, 0.0))), (5, 10))
    assert assembly.shape == (5, 22)
    np.testing.assert_array_equal(assembly.index[:, 12:], 50 + np.arange(50).reshape(5, 10))
    assert (assembly.index[:, 10:12] == NOTHING).all()


def test_an_ignored_panel_is_a_gap():
    assembly = assemble(geometry(panel("a"), panel("b", 1, corner=(12.0, 0.0), ignored=True)), (5, 10))
    assert assembly.shape == (5, 10)


placed = st.builds(
    lambda x, y, turn, size: ((x, y), turn, size),
    st.floats(-40, 40),
    st.floats(-40, 40),
    st.floats(-np.pi, np.pi),
    st.floats(0.9, 1.1),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(placed, min_size=1, max_size=3))
def test_every_pixel_lies_where_the_geometry_says(places):
    panels = [panel(str(at), at, corner=corner, turn=turn, size=size) for at, (corner, turn, size) in enumerate(places)]
    assembly = assemble(geometry(*panels), (5, 10))
    for row in range(assembly.shape[0]):
        for column in range(assembly.shape[1]):
            centre = np.array([column + 0.5 - assembly.beam[0], row + 0.5 - assembly.beam[1]])
            within = [np.linalg.solve(np.array([p.fs, p.ss]).T, centre - p.corner) for p in panels]  # (fs, ss)
            index = int(assembly.index[row, column])
            if index == NOTHING:
                assert not any(1e-5 < fs < 10 - 1e-5 and 1e-5 < ss < 5 - 1e-5 for fs, ss in within)
            else:
                module, ss, fs = source_of(index, (5, 10))
                assert abs(within[module][0] - (fs + 0.5)) <= 0.5 + 1e-5
                assert abs(within[module][1] - (ss + 0.5)) <= 0.5 + 1e-5


def test_a_slightly_turned_panel_has_no_holes_and_loses_few_pixels():
    assembly = assemble(geometry(panel(fs=(0, 127), ss=(0, 63), turn=0.003)), (64, 128))
    used = assembly.index[assembly.index != NOTHING]
    assert abs(used.size - 64 * 128) < 64
    assert np.unique(used).size > 0.99 * 64 * 128


@pytest.mark.parametrize("shape", [(4, 10), (5, 9)])
def test_frames_that_are_smaller_than_the_panels_are_refused(shape):
    with pytest.raises(ConditioningError, match=f"ss 4 and fs 9.*{shape[0]} rows"):
        assemble(geometry(panel()), shape)
    with pytest.raises(ConditioningError, match="reaches"):
        bad_pixels(geometry(panel()), shape)


def test_an_absurd_image_is_refused_before_it_is_allocated():
    with pytest.raises(ConditioningError, match="pixels\\?"):
        assemble(geometry(panel(), panel("far", corner=(1e6, 1e6))), (5, 10))


def test_a_geometry_that_ignores_everything_is_refused():
    with pytest.raises(ConditioningError, match="no_index"):
        assemble(geometry(panel(ignored=True)), (5, 10))


def test_bad_regions_of_the_data_are_inclusive_and_of_one_panel():
    bad = [BadRegion("a", (2, 3, 1, 1), False, "p"), BadRegion("b", (0, 0, 0, 99), False, None)]
    pixels = bad_pixels(geometry(panel(ss=(0, 4)), panel("q", ss=(5, 9)), bad=bad), (10, 10))
    expected = np.zeros((1, 10, 10), bool)
    expected[0, 1, 2:4] = True
    expected[0, :, 0] = True
    np.testing.assert_array_equal(pixels, expected)


def test_a_bad_region_of_the_laboratory_takes_the_pixels_whose_centre_lies_in_it():
    region = BadRegion("beamstop", (-1.0, 1.0, -0.6, 0.6), True, None)
    shown = geometry(panel(corner=(-5.0, -2.5), turn=0.0), panel("m", 1, corner=(5.0, 2.5), turn=np.pi), bad=[region])
    upright, turned = bad_pixels(shown, (5, 10))
    expected = np.zeros((5, 10), bool)
    expected[2, 4:6] = True
    np.testing.assert_array_equal(upright, expected)
    np.testing.assert_array_equal(turned, expected)


def test_edges_of_a_panel():
    pixels = bad_pixels(geometry(panel(edge=2)), (6, 10))[0]
    assert not pixels[5].any()
    assert (~pixels[:5]).sum() == 6
    assert not pixels[2, 2:8].any()
