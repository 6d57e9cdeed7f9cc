"""CrystFEL geometry files, after crystfel_geometry(5)."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.conditioning.geom import MAX_PANELS, GeometryError, MaskFile, parse

ONE = """
p0/min_fs = 0
p0/max_fs = 9
p0/min_ss = 0
p0/max_ss = 4
p0/corner_x = -5.5
p0/corner_y = +2.5
p0/fs = x
p0/ss = y
"""

TYPICAL = """
; AGIPD-like: two of sixteen modules, two tiles each
photon_energy = 9300 eV
adu_per_eV = 0.0001
clen = 118 mm ; the camera length
res = 5000
data = /entry_1/data_1/data
dim0 = %
dim2 = ss
dim3 = fs
mask = /entry_1/data_1/mask
mask_good = 0x0000
mask_bad = 0xffff
flag_morethan = 2147483645
rigid_group_q0 = p0a0,p0a1
rigid_group_collection_quadrants = q0

bad_beamstop/min_x = -3.5
bad_beamstop/max_x = 4.5
bad_beamstop/min_y = -1
bad_beamstop/max_y = 1.5

p3a0/dim1 = 3
p3a0/min_fs = 0.0
p3a0/max_fs = 127.0
p3a0/min_ss = 0
p3a0/max_ss = 63
p3a0/fs = +0.0021x -1.0000000y
p3a0/ss = +0.99999x +0.0021y -.001z
p3a0/corner_x = -531.0
p3a0/corner_y = 640.5
p3a0/coffset = 0.001

mask_edge_pixels = 2
p0a0/dim1 = 0
p0a0/min_fs = 0
p0a0/max_fs = 127
p0a0/min_ss = 64
p0a0/max_ss = 127
p0a0/fs = -y
p0a0/ss = 1x
p0a0/corner_x = -464.9
p0a0/corner_y = 6e2
p0a0/no_index = 1

badrow/min_fs = 0
badrow/max_fs = 127
badrow/min_ss = 5
badrow/max_ss = 5
badrow/panel = p3a0
"""


def test_the_smallest_geometry():
    geometry = parse(ONE)
    (panel,) = geometry.panels
    assert (panel.name, panel.module, panel.corner, panel.fs, panel.ss) == ("p0", 0, (-5.5, 2.5), (1, 0), (0, 1))
    assert (panel.min_fs, panel.max_fs, panel.min_ss, panel.max_ss) == (0, 9, 0, 4)
    assert geometry.modules == (("", ()),)
    assert (geometry.bad_regions, geometry.masks, geometry.resolution, geometry.distance) == ((), (), None, None)


def test_a_typical_geometry():
    geometry = parse(TYPICAL)
    third, zeroth = geometry.panels
    assert geometry.modules == (("/entry_1/data_1/data", (0,)), ("/entry_1/data_1/data", (3,)))
    assert (third.module, zeroth.module) == (1, 0)
    assert (third.fs, third.ss) == ((0.0021, -1.0), (0.99999, 0.0021))
    assert (zeroth.fs, zeroth.ss, zeroth.corner) == ((0, -1), (1, 0), (-464.9, 600))
    assert (third.max_fs, third.max_ss) == (127, 63)
    assert (geometry.resolution, geometry.distance) == (5000, 0.118)
    assert (third.ignored, zeroth.ignored) == (False, True)
    beamstop, row = geometry.bad_regions
    assert (beamstop.bounds, beamstop.in_laboratory, beamstop.panel) == ((-3.5, 4.5, -1, 1.5), True, None)
    assert (row.bounds, row.in_laboratory, row.panel) == ((0, 127, 5, 5), False, "p3a0")
    assert geometry.masks == ()  # in the images' own file


def test_a_default_counts_for_panels_first_mentioned_later():
    third, zeroth = parse(TYPICAL).panels
    assert (third.edge, zeroth.edge) == (0, 2)


def test_masks_in_files_of_their_own_by_both_names():
    old = parse("mask_file = m.h5\nmask = /mask\nmask_good = 1\nmask_bad = 0x0\n" + ONE)
    assert old.masks == (MaskFile("m.h5", "/mask", 1, 0),)
    new = parse("mask3_file = n.h5\nmask3_data = /m\nmask3_badbits = 0xff\n" + ONE)
    assert new.masks == (MaskFile("n.h5", "/m", 0, 255),)


def test_a_shift_of_the_detector_moves_every_panel():
    geometry = parse("res = 10000\ndetector_shift_x = 1 mm\ndetector_shift_y = -0.0002 m\n" + ONE)
    assert geometry.panels[0].corner == pytest.approx((4.5, 0.5))
    assert parse("res = 1\ndetector_shift_x = /data/shift\n" + ONE).panels[0].corner == (-5.5, 2.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no panel"),
        ("; nothing\n", "no panel"),
        ("hello", "line 1.*parameter = value"),
        (ONE + "p0/max_fs =\n", "line 10.*parameter = value"),
        (ONE + "p0/colour = 3\n", "line 10.*colour.*misspelt"),
        (ONE.replace("p0/fs = x\n", ""), "'p0'.*no fs"),
        (ONE.replace("fs = x", "fs = 1.0w"), "line 8.*'-0.01x"),
        (ONE.replace("fs = x", "fs = 1.0"), "line 8"),
        (ONE.replace("fs = x", "fs = y"), "line 9.*area"),
        (ONE.replace("max_fs = 9", "max_fs = 9.5"), "line 3.*index"),
        (ONE.replace("max_fs = 9", "max_fs = -1"), "line 3"),
        (ONE.replace("max_fs = 9", "max_fs = nan"), "line 3"),
        (ONE.replace("max_fs = 9", "max_fs = 70000"), "line 3.*65535"),
        (ONE.replace("min_ss = 0", "min_ss = 5"), "line 5.*less than"),
        (ONE.replace("corner_x = -5.5", "corner_x = 1e9"), "line 6.*corner_x"),
        (ONE.replace("corner_x = -5.5", "corner_x = inf"), "line 6"),
        (ONE.replace("fs = x", "fs = 1e300x"), "line 8"),
        ("res = 5000\n" + ONE + "p1/res = 6000\n", "line 11.*one pixel size"),
        ("res = -1\n" + ONE, "line 1.*res"),
        ("detector_shift_x = 1 mm\n" + ONE, "needs res"),
        ("dim00 = 1\ndim0 = 2\n" + ONE, "line 1.*dim00"),
        (ONE + "bad1/min_fs = 3\n", "line 10.*all four"),
        (ONE + "bad1/min_fs = 3\nbad1/min_x = 3\n", "line 11.*all four"),
        (ONE + "bad1/min_fs=0\nbad1/max_fs=0\nbad1/min_ss=0\nbad1/max_ss=0\nbad1/panel=p7\n", "line 14.*p7"),
        (ONE + "bad1/min_x=-12\nbad1/max_x=-56\nbad1/min_y=0\nbad1/max_y=1\n", "line 13.*empty"),
        ("mask_file = m.h5\nmask = /m\nmask_bad = many\n" + ONE, "line 3.*bits"),
        ("\n".join(f"p{at}/res = 1" for at in range(MAX_PANELS + 1)), "more than 4096"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, said):
    with pytest.raises(GeometryError, match=said):
        parse(text)


@given(st.text(alphabet="p0/=.-+xyz123fscornermi_ad;\n \u0663e", max_size=400))
def test_nothing_but_geometry_errors(text):
    with contextlib.suppress(GeometryError):
        parse(ONE + text)


@given(st.data())
def test_nothing_but_geometry_errors_where_a_line_is_changed(data):
    lines = TYPICAL.split("\n")
    at = data.draw(st.integers(0, len(lines) - 1))
    key = lines[at].partition("=")[0]
    lines[at] = f"{key}= " + data.draw(st.text(max_size=20))
    with contextlib.suppress(GeometryError):
        parse("\n".join(lines))
