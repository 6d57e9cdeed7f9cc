"""A series against a card: what is told and outside is said, nothing else is held against it."""

from typing import Any

import numpy as np
import pytest

from edge.models.card import Span, Validity
from edge.models.validity import EV_ANGSTROM, MOST_PX, Told, beyond, counts_outside, outside, photons, told

V2 = {
    "incident_energy": 8800.0,
    "incident_wavelength": EV_ANGSTROM / 8800.0,
    "detector_translation": [0.0, 0.0, -2.0],
}
V1 = {"photon_energy": 8800.0, "wavelength": EV_ANGSTROM / 8800.0, "detector_distance": 2.0}
GEOMETRY = {"shape": [128, 128], "x_pixel_size": 75e-6, "y_pixel_size": 75e-6}
PIXEL_M = 1.4089113458e-10 * 2.0 / (128 * 75e-6)
VALID = Validity((128, 128), Span(1e5, 1e6), Span(8.7e3, 8.9e3), Span(0.9 * PIXEL_M, 1.1 * PIXEL_M), "ab" * 32)


@pytest.mark.parametrize("header", [V2, V1])
def test_what_two_protocols_tell(header: dict[str, Any]):
    found = told(header, GEOMETRY)
    assert found.frame_shape == (128, 128) and found.energy_ev == 8800
    assert found.object_pixel_m == pytest.approx((PIXEL_M, PIXEL_M))
    assert outside(VALID, found) == {}


def test_numbers_of_numpy_are_numbers():
    header = {"photon_energy": np.float32(8800), "detector_translation": np.array([0, 0, -2], np.int64)}
    assert outside(VALID, told(header, GEOMETRY)) == {} and told(header, GEOMETRY).object_pixel_m is not None


def test_a_wavelength_tells_the_energy():
    found = told({"wavelength": 1.0}, {})
    assert found.energy_ev == pytest.approx(12398.42) and found.object_pixel_m is None


def test_the_object_pixel_is_that_of_the_images_of_the_route():
    """Binning keeps the field of view; a crop makes the pixel larger; rows and columns are judged by themselves."""
    binned = told(V1, {"shape": [64, 64], "x_pixel_size": 150e-6, "y_pixel_size": 150e-6})
    assert binned.object_pixel_m == pytest.approx((PIXEL_M, PIXEL_M))
    cropped = told(V1, GEOMETRY | {"shape": [64, 128]})
    assert cropped.object_pixel_m == pytest.approx((2 * PIXEL_M, PIXEL_M))
    valid = Validity(object_pixel_m=VALID.object_pixel_m)
    assert outside(valid, binned) == {} and set(outside(valid, cropped)) == {"pixel"}


def test_reasons_name_both_numbers():
    found = outside(VALID, Told((64, 128), 12_000.0, (PIXEL_M, 2 * PIXEL_M)))
    assert found["frame"] == "frames of 64 x 128, trained on 128 x 128"
    assert found["energy"] == "energy 12 keV, trained at 8.7 to 8.9 keV"
    assert found["pixel"].startswith("object pixel 58.7 nm, trained at 26.4")
    single = outside(Validity(energy_ev=Span(8800, 8800)), Told(energy_ev=12_000.0))
    assert single == {"energy": "energy 12 keV, trained at 8.8 keV"}


def test_what_one_side_does_not_say_is_not_judged():
    assert outside(Validity(), Told((1, 1), 1.0, (1.0, 1.0))) == {}
    assert outside(VALID, Told()) == {}
    assert counts_outside(Validity(), 1e9) == {}


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "8800", True, None, [8800.0]])
def test_what_is_no_number_is_not_told(value: Any):
    """Detectors send zeros where nobody set a value."""
    header = {"photon_energy": value, "wavelength": value, "detector_distance": value, "detector_translation": value}
    assert told(header, GEOMETRY) == Told((128, 128))
    assert told({"detector_translation": [0, 0, value]}, GEOMETRY).object_pixel_m is None


def test_rounding_is_no_reason():
    span = Span(100.0, 200.0)
    assert not any(beyond(span, value) for value in (99.1, 100.0, 201.9))
    assert all(beyond(span, value) for value in (98.9, 202.1))
    assert not beyond(None, 5.0)


def test_counts_a_frame():
    assert counts_outside(VALID, 5e5) == {}
    assert counts_outside(VALID, 123.4) == {"counts": "123 counts a frame, trained at 1e+05 to 1e+06"}


@pytest.mark.parametrize(("dtype", "flag"), [(np.uint8, 255), (np.uint16, 65534), (np.uint32, 2**32 - 2)])
def test_photons_are_counted_without_flags(dtype: Any, flag: int):
    image = np.full((4, 5), 7, dtype)
    image[0, :2] = flag
    assert photons(image) == 7 * 18


def test_of_large_images_some_rows_are_read_and_scaled():
    image = np.random.default_rng(0).poisson(3.0, (1500, 1001)).astype(np.uint16)
    image[::7] = 65535
    exact = float(image[image < 65534].sum())
    assert photons(image) == pytest.approx(exact, rel=0.03)
    assert photons(np.full((3, MOST_PX), 2, np.uint8)) == 3 * MOST_PX * 2, "rows of any length"
    at_the_limit = image[:256, :1000]
    assert photons(at_the_limit) == float(at_the_limit[at_the_limit < 65534].sum()), "small ones are read whole"


class Watched(np.ndarray):
    """How many pixels were added up."""

    read = 0

    def sum(self, *args: Any, **kwargs: Any) -> Any:
        type(self).read = max(type(self).read, self.size)
        return np.asarray(self).sum(*args, **kwargs)


@pytest.mark.parametrize("shape", [(512, 512), (513, 512), (2167, 2070), (4362, 4148)])
def test_never_more_than_so_many_pixels_are_read(shape: tuple[int, int]):
    Watched.read = 0
    assert photons(np.broadcast_to(np.uint16(1), shape).view(Watched)) == shape[0] * shape[1]  # pyright: ignore
    assert 0 < Watched.read <= MOST_PX + shape[1]
