"""The compiled conditioner against the same steps written plainly."""

import tracemalloc

import numpy as np
import pytest

from edge.conditioning.errors import ConditioningError
from edge.conditioning.geom import parse
from edge.conditioning.jungfrau import Jungfrau
from edge.conditioning.orientation import ORIENTATIONS, oriented
from edge.conditioning.plan import Conditioner
from edge.conditioning.settings import Conditioning

TWO_MODULES = """
dim0 = %
dim2 = ss
dim3 = fs
a/dim1 = 0
b/dim1 = 1
a/min_fs = 0
a/max_fs = 5
a/min_ss = 0
a/max_ss = 3
a/corner_x = -6.0
a/corner_y = -4.0
a/fs = x
a/ss = y
b/min_fs = 0
b/max_fs = 5
b/min_ss = 0
b/max_ss = 3
b/corner_x = 7.0
b/corner_y = 4.0
b/fs = -x
b/ss = -y
bad1/min_fs = 2
bad1/max_fs = 2
bad1/min_ss = 0
bad1/max_ss = 9
bad1/panel = a
"""


def image(shape=(4, 6), dtype=np.uint16, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def conditioned(conditioner: Conditioner, decoded: np.ndarray) -> np.ndarray:
    work = decoded.copy().reshape(-1)
    out = np.full(conditioner.shape, 77, decoded.dtype) if conditioner.moves else work.reshape(conditioner.shape)
    conditioner.apply(work, out)
    return out


def test_nothing_to_do_is_known():
    conditioner = Conditioner(Conditioning(mask=np.zeros((4, 6))), (4, 6), "<u2")
    assert not conditioner.changes
    assert not conditioner.moves


def test_values_are_corrected_in_place_without_a_copy():
    mask = np.zeros((4, 6), np.uint32)
    mask[1, 2] = 1
    conditioner = Conditioner(Conditioning(mask=mask, flatfield=np.full((4, 6), 2.0)), (4, 6), "<u2")
    assert conditioner.changes and not conditioner.moves
    decoded = image().reshape(-1)
    expected = 2 * decoded.reshape(4, 6)
    expected[1, 2] = 65535
    conditioner.apply(decoded, decoded.reshape(4, 6))
    np.testing.assert_array_equal(decoded.reshape(4, 6), expected)


def test_another_buffer_gets_the_image_too():
    mask = np.eye(4, 6, dtype=np.uint32)
    conditioner = Conditioner(Conditioning(mask=mask), (4, 6), "<u2")
    out = np.zeros((4, 6), np.uint16)
    conditioner.apply(image().reshape(-1), out)
    np.testing.assert_array_equal(out, np.where(mask, 65535, image()))


def test_masks_of_file_and_header_and_factors_are_joined():
    file, header = np.zeros((4, 6), np.uint32), np.zeros((4, 6), np.uint32)
    file[0, 0], header[0, 1] = 2, 1
    factors = np.ones((4, 6), np.float32)
    factors[0, 2] = np.nan
    conditioner = Conditioner(Conditioning(mask=file), (4, 6), "<u4", mask=header, flatfield=factors)
    found = conditioned(conditioner, image(dtype=np.uint32))
    assert found[0, :3].tolist() == [2**32 - 2, 2**32 - 1, 2**32 - 2]
    np.testing.assert_array_equal(found[1:], image(dtype=np.uint32)[1:])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_orientation_comes_after_the_mask(orientation):
    mask = np.zeros((4, 6), np.uint32)
    mask[0, 5] = 1
    conditioner = Conditioner(Conditioning(mask=mask, orientation=orientation), (4, 6), "<u2")
    expected = oriented(np.where(mask, 65535, image()), orientation)
    assert conditioner.shape == expected.shape
    np.testing.assert_array_equal(conditioned(conditioner, image()), expected)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_modules_are_put_together_then_turned(orientation):
    modules = image((2, 4, 6))
    conditioner = Conditioner(Conditioning(geometry=parse(TWO_MODULES), orientation=orientation), (4, 6), "<u2")
    assembled = np.full((8, 13), 65535)
    assembled[:4, :6] = modules[0]
    assembled[:4, 2] = 65534
    assembled[4:, 7:] = np.rot90(modules[1], 2)
    expected = oriented(assembled, orientation)
    np.testing.assert_array_equal(conditioned(conditioner, modules), expected)


def test_jungfrau_then_mask_then_geometry():
    shape = (2, 3, 4, 6)
    pedestal, gain = np.full(shape, 1000.0), np.full(shape, 40.0)
    calibration = Jungfrau(pedestal, gain, 10.0)
    mask = np.zeros((2, 4, 6), np.uint32)
    mask[1, 3, 5] = 1
    conditioner = Conditioner(Conditioning(jungfrau=calibration, mask=mask, geometry=parse(TWO_MODULES)), (4, 6), "<u2")
    photons = image((2, 4, 6)) % 20
    found = conditioned(conditioner, (1000 + 400 * photons).astype(np.uint16))
    expected = photons[0].copy()
    expected[:, 2] = 65534
    np.testing.assert_array_equal(found[:4, :6], expected)
    turned = np.rot90(photons[1], 2).copy()
    turned[0, 0] = 65535
    np.testing.assert_array_equal(found[4:, 7:], turned)


@pytest.mark.parametrize(
    ("conditioning", "said"),
    [
        (Conditioning(mask=np.zeros((4, 5))), "mask has 1 x 4 x 5.*frames have 1 x 4 x 6"),
        (Conditioning(mask=np.zeros((2, 4, 6))), "mask has 2 x 4 x 6"),
        (Conditioning(flatfield=np.ones((6, 4))), "flat field has 1 x 6 x 4"),
        (Conditioning(jungfrau=Jungfrau(np.ones((3, 4, 5)), np.ones((3, 4, 5)), 1.0)), "pedestal and gain"),
        (Conditioning(geometry=parse(TWO_MODULES.replace("max_fs = 5", "max_fs = 6"))), "fs 6"),
    ],
)
def test_what_does_not_fit_the_frames_says_what_would(conditioning, said):
    with pytest.raises(ConditioningError, match=said):
        Conditioner(conditioning, (4, 6), "<u2")


def test_absurd_frames_are_refused_before_anything_is_allocated():
    with pytest.raises(ConditioningError, match="no detector's"):
        Conditioner(Conditioning(geometry=parse(TWO_MODULES)), (65535, 65535), "<u2")


def test_raw_jungfrau_frames_have_16_bits():
    calibration = Jungfrau(np.ones((3, 4, 6)), np.ones((3, 4, 6)), 1.0)
    with pytest.raises(ConditioningError, match="uint16, these frames are uint32"):
        Conditioner(Conditioning(jungfrau=calibration), (4, 6), "<u4")


def test_frames_that_hold_no_counts_are_refused():
    with pytest.raises(ConditioningError, match="int16 hold no counts"):
        Conditioner(Conditioning(), (4, 6), "<i2")


@pytest.mark.parametrize(
    "conditioning",
    [
        Conditioning(mask=np.eye(1024)),
        Conditioning(flatfield=np.full((1024, 1024), 1.5)),
        Conditioning(orientation="transpose"),
        Conditioning(jungfrau=Jungfrau(np.ones((3, 1024, 1024)), np.ones((3, 1024, 1024)), 1.0)),
    ],
)
def test_no_image_is_allocated_for_a_frame(conditioning):
    conditioner = Conditioner(conditioning, (1024, 1024), "<u2")
    decoded, out = image((1024, 1024)).reshape(-1), np.empty((1024, 1024), np.uint16)
    conditioner.apply(decoded, out)
    tracemalloc.start()
    try:
        conditioner.apply(decoded, out)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < out.nbytes // 4
