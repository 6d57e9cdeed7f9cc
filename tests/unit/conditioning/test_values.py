"""Masks, flat fields and JUNGFRAU calibration against references in float64."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge.conditioning import flatfield, jungfrau
from edge.conditioning.errors import ConditioningError
from edge.conditioning.flags import as_counts, flags_of
from edge.conditioning.flatfield import FlatField, unusable
from edge.conditioning.jungfrau import Jungfrau
from edge.conditioning.mask import PixelMask, already_applied, joined

TYPES = ("uint8", "uint16", "uint32")


@pytest.mark.parametrize(
    ("dtype", "unsigned", "gap", "bad", "largest"),
    [
        ("|u1", "uint8", 255, 254, 253),
        ("<u2", "uint16", 65535, 65534, 65533),
        (">u2", "uint16", 65535, 65534, 65533),
        ("<u4", "uint32", 2**32 - 1, 2**32 - 2, 2**31 - 1),
        ("int32", "uint32", 2**32 - 1, 2**32 - 2, 2**31 - 1),
    ],
)
def test_flags_follow_the_pixel_type_of_the_frame(dtype, unsigned, gap, bad, largest):
    flags = flags_of(dtype)
    assert (flags.dtype, flags.gap, flags.bad, flags.largest) == (unsigned, gap, bad, largest)


@pytest.mark.parametrize("dtype", ["<i2", "|i1", "float32", "uint64"])
def test_other_pixel_types_hold_no_counts(dtype):
    with pytest.raises(ValueError, match="hold no counts"):
        flags_of(dtype)


def test_the_negative_flags_of_int32_are_the_flags_of_uint32():
    raw = np.array([-1, -2, 0, 7], "<i4").view(np.uint8)
    flags = flags_of("<i4")
    counts = as_counts(raw, flags)
    assert counts.tolist() == [flags.gap, flags.bad, 0, 7]
    assert np.shares_memory(counts, raw)


@pytest.mark.parametrize("dtype", TYPES)
def test_bit_0_of_a_mask_is_a_gap_and_any_other_a_bad_pixel(dtype):
    flags = flags_of(dtype)
    counts = np.arange(6, dtype=dtype)
    PixelMask(np.array([[0, 1, 2], [3, 2**31, 0]], np.uint32), flags).apply(counts)
    assert counts.tolist() == [0, flags.gap, flags.bad, flags.gap, flags.bad, 5]


@pytest.mark.parametrize("kind", [bool, np.int8, np.float32])
def test_masks_of_any_number_type_flag_what_is_not_0(kind):
    mask = joined(np.array([[0, 1], [1, 0]], kind))
    counts = np.array([5, 6, 7, 8], np.uint16)
    PixelMask(mask, flags_of("uint16")).apply(counts)
    assert (counts >= 65534).tolist() == [False, True, True, False]


def test_masks_are_joined_bit_by_bit():
    assert joined(None, None) is None
    assert joined(np.array([[0, 1]]), None, np.array([[2, 2]])).tolist() == [[2, 3]]


@pytest.mark.parametrize(
    ("header", "applied"),
    [
        ({}, False),
        ({"pixel_mask_applied": 0}, False),
        ({"pixel_mask_applied": 1}, True),  # SIMPLON 1.6 sends numbers, 1.8 truth values
        ({"pixel_mask_applied": True}, True),
        ({"pixel_mask_enabled": True}, True),  # Stream V2
        ({"flatfield_correction_applied": True}, False),
    ],
)
def test_what_a_detector_did_itself_is_not_done_again(header, applied):
    assert already_applied(header, "pixel_mask") is applied


def test_the_names_for_an_applied_flat_field():
    assert already_applied({"flatfield_correction_applied": 1}, "flatfield")
    assert already_applied({"flatfield_enabled": True}, "flatfield")


@settings(deadline=None)
@given(st.data(), st.sampled_from(TYPES))
def test_a_flat_field_is_the_product_in_float64_and_never_makes_or_hides_a_flag(data, dtype):
    flags = flags_of(dtype)
    top = np.iinfo(dtype).max
    counts = data.draw(arrays.arrays(dtype, (40,), elements=st.integers(0, top)))
    factors = data.draw(arrays.arrays(np.float32, (40,), elements=st.floats(2**-10, 2**10, width=32)))
    corrected = counts.copy()
    FlatField(factors, flags).apply(corrected)
    flagged = counts >= flags.first
    np.testing.assert_array_equal(corrected[flagged], counts[flagged])
    exact = np.minimum(counts[~flagged].astype(np.float64) * factors[~flagged], flags.largest)
    assert (corrected[~flagged] < flags.first).all()
    # to the nearest count; a float32 has 24 bits, so ties may go either way
    assert (np.abs(corrected[~flagged] - exact) <= 0.5 + exact * 2.0**-23).all()


def test_a_count_just_below_the_flags_saturates_there():
    counts = np.array([65533, 60000, 65534, 65535], np.uint16)
    FlatField(np.full(4, 1.5), flags_of("uint16")).apply(counts)
    assert counts.tolist() == [65533, 65533, 65534, 65535]


def test_a_large_count_of_32_bits_is_not_rounded_to_24():
    counts = np.array([2**30 + 1, 2**24 + 1], np.uint32)
    FlatField(np.ones(2), flags_of("uint32")).apply(counts)
    assert counts.tolist() == [2**30 + 1, 2**24 + 1]


def test_an_image_larger_than_a_block_is_corrected_to_its_end():
    size = 2 * flatfield.BLOCK + 7
    counts = np.full(size, 10, np.uint16)
    FlatField(np.linspace(1, 2, size), flags_of("uint16")).apply(counts)
    np.testing.assert_array_equal(counts, np.rint(10 * np.linspace(1, 2, size)))


def test_pixels_without_a_factor_are_masked():
    factors = np.array([[1.0, 0.0, -1.0], [np.nan, np.inf, 1e30]])
    assert unusable(factors).tolist() == [[0, 2, 2], [2, 2, 2]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FlatField(factors, flags_of("uint16")).apply(np.zeros(6, np.uint16))


PEDESTAL = np.array([2000.0, 15000.0, 14000.0])
GAIN = np.array([41.0, -1.4, -0.1])  # ADU/keV; in G1 and G2 the ADC falls with the charge
ENERGY = 12.4


def maps(shape=(2, 4)) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.broadcast_to(values[:, None, None], (3, *shape)).copy() for values in (PEDESTAL, GAIN))


def raw(gain: int, adu: int) -> int:
    return {0: 0b00, 1: 0b01, 2: 0b11}[gain] << 14 | adu


def reference(pixels, pedestal, gain, energy) -> np.ndarray:
    """One pixel at a time, in float64."""
    counts = []
    for pixel, pedestals, gains in zip(pixels, pedestal.reshape(3, -1).T, gain.reshape(3, -1).T, strict=True):
        which = {0b00: 0, 0b01: 1, 0b11: 2}.get(int(pixel) >> 14)
        if which is None or pixel in (0xC000, 0xFFFF):
            counts.append(65534)
            continue
        photons = ((int(pixel) & 0x3FFF) - pedestals[which]) / gains[which] / energy
        counts.append(min(max(photons, 0), 65533))
    return np.array(counts)


def test_photons_of_every_gain_by_hand():
    pedestal, gain = maps((1, 7))
    pixels = np.array(
        [
            raw(0, 2000 + round(41 * 12.4 * 3)),  # 3 photons
            raw(0, 2000 + round(41 * 12.4 * 0.4)),  # rounds to none
            raw(0, 1900),  # below the pedestal
            raw(1, 15000 - round(1.4 * 12.4 * 20)),
            raw(2, 14000 - round(0.1 * 12.4 * 1000)),
            0b10 << 14 | 5000,  # no gain has these bits
            raw(2, 0),  # saturated
        ],
        np.uint16,
    )
    Jungfrau(pedestal, gain, ENERGY).apply(pixels)
    assert pixels.tolist() == [3, 0, 0, 20, 1000, 65534, 65534]


def test_a_lost_packet_is_flagged():
    pedestal, gain = maps((1, 2))
    pixels = np.array([0xFFFF, raw(0, 2000)], np.uint16)
    Jungfrau(pedestal, gain, ENERGY).apply(pixels)
    assert pixels.tolist() == [65534, 0]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_calibration_is_that_of_float64(seed, only_g0):
    rng = np.random.default_rng(seed)
    shape = (5, 17)
    pedestal = PEDESTAL[:, None, None] * rng.uniform(0.9, 1.1, (3, *shape))
    gain = GAIN[:, None, None] * rng.uniform(0.5, 2, (3, *shape))
    pixels = rng.integers(0, 2**14 if only_g0 else 2**16, 85).astype(np.uint16)
    expected = reference(pixels, pedestal, gain, ENERGY)
    Jungfrau(pedestal, gain, ENERGY).apply(pixels)
    np.testing.assert_array_equal(pixels >= 65534, expected >= 65534)
    assert (np.abs(pixels - expected) <= 0.5 + 1e-5 * expected + 1e-3).all()


def test_an_image_larger_than_a_block_uses_the_maps_of_its_own_pixels():
    side = 2 * int(np.sqrt(jungfrau.BLOCK))
    rng = np.random.default_rng(1)
    pedestal = rng.uniform(1000, 3000, (3, side, side))
    gain = rng.uniform(30, 50, (3, side, side))
    pixels = rng.integers(0, 2**14, side * side).astype(np.uint16)
    pixels[:: side * 3] |= 0x4000
    expected = reference(pixels, pedestal, gain, ENERGY)
    Jungfrau(pedestal, gain, ENERGY).apply(pixels)
    assert (np.abs(pixels - expected) <= 0.501).all()


def test_a_pixel_without_gain_is_flagged_where_it_is_used():
    pedestal, gain = maps((1, 4))
    gain[0, 0, 0], gain[1, 0, 1], pedestal[0, 0, 2] = 0, np.nan, np.inf
    pixels = np.array([raw(0, 3000), raw(0, 2000), raw(0, 2000), raw(0, 2000)], np.uint16)
    calibration = Jungfrau(pedestal, gain, ENERGY)
    calibration.apply(pixels)
    assert pixels.tolist() == [65534, 0, 65534, 0]
    pixels = np.array([raw(0, 2000), raw(1, 14000), raw(0, 2000), raw(1, 15000)], np.uint16)
    calibration.apply(pixels)
    assert pixels.tolist() == [65534, 65534, 65534, 0]


def test_more_photons_than_16_bits_hold_stop_below_the_flags():
    pedestal, gain = maps((1, 1))
    pixels = np.array([raw(2, 1)], np.uint16)
    Jungfrau(pedestal, gain, 0.5).apply(pixels)
    assert pixels.tolist() == [65533]


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 4), (3, 4, 5)])
def test_maps_of_another_shape_are_refused(shape):
    pedestal, _ = maps((4, 4))
    with pytest.raises(ConditioningError, match=r"\[3, height, width\]"):
        Jungfrau(pedestal, np.ones(shape), ENERGY)


def test_maps_of_several_modules():
    pedestal, gain = maps((1, 2))
    calibration = Jungfrau(np.stack([pedestal, pedestal + 500]), np.stack([gain, gain]), ENERGY)
    assert (calibration.modules, calibration.shape) == (2, (1, 2))
    pixels = np.full(4, raw(0, 2000 + 509), np.uint16)
    calibration.apply(pixels)
    assert pixels.tolist() == [1, 1, 0, 0]
