"""Whether what a series tells of its images lies in the range that a model was trained for.

What the card does not name is not judged, and neither is what the series does not tell: nothing is held against a
series because its header is short. What is told and lies outside is said in words, with both numbers.
"""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.models.card import Span, Validity
from edge.models.spec import SENTINELS

EV_ANGSTROM = 12398.419843320026
"""Photon energy in eV times wavelength in angstrom, h c (2019 SI)."""

SLACK = 0.01
"""Relative, on either side of a range: headers are rounded, and a hundredth of an energy or a pixel changes nothing."""

ENERGIES_EV = ("incident_energy", "photon_energy")
WAVELENGTHS_ANGSTROM = ("incident_wavelength", "wavelength")
DISTANCE_M = "detector_distance"
TRANSLATION_M = "detector_translation"
"""Names of Stream V2 and of SIMPLON v1; only Stream V2 has a translation (x, y, z), the other one a distance."""

PIXEL_SIZES_M = ("y_pixel_size", "x_pixel_size")
"""In the geometry of a route: rows and columns, as its images are, binning included."""

MOST_PX = 2**18
"""Pixels of an image whose counts are added up: 512 x 512."""

COUNTS = "counts"
"""The quantity that is measured, where the others are told."""


class Told(msgspec.Struct, frozen=True):
    """What a series tells of the images of one route; None: it does not."""

    frame_shape: tuple[int, int] | None = None  # (height, width)
    energy_ev: float | None = None  # of a photon
    object_pixel_m: tuple[float, float] | None = None  # wavelength x distance / (pixels x pixel size), (row, col)


def told(header: Mapping[str, Any], geometry: Mapping[str, Any]) -> Told:
    """From the header of a series, in its detector's own words, and where things are in the images of a route.

    Args:
        header: see the names above.
        geometry: `shape` [height, width], and `x_pixel_size` and `y_pixel_size` in m, of the route's own images.
    """
    shape = geometry.get("shape")
    frame_shape = (int(shape[0]), int(shape[1])) if shape else None
    energy_ev = _first(header, ENERGIES_EV)
    wavelength = _first(header, WAVELENGTHS_ANGSTROM)
    if energy_ev is None and wavelength is not None:
        energy_ev = EV_ANGSTROM / wavelength
    distance_m = _distance_m(header)
    sizes = [_positive(geometry.get(name)) for name in PIXEL_SIZES_M]
    object_pixel_m = None
    if frame_shape and energy_ev and distance_m and sizes[0] and sizes[1]:
        reach_m2 = EV_ANGSTROM / energy_ev * 1e-10 * distance_m
        object_pixel_m = (reach_m2 / (frame_shape[0] * sizes[0]), reach_m2 / (frame_shape[1] * sizes[1]))
    return Told(frame_shape, energy_ev, object_pixel_m)


def outside(valid: Validity, series: Told) -> dict[str, str]:
    """What lies outside the range, by quantity, in words; empty where nothing is known to."""
    found: dict[str, str] = {}
    shape, trained = series.frame_shape, valid.frame_shape
    if shape is not None and trained is not None and shape != tuple(trained):
        found["frame"] = f"frames of {shape[0]} x {shape[1]}, trained on {trained[0]} x {trained[1]}"
    if series.energy_ev is not None and beyond(valid.energy_ev, series.energy_ev):
        found["energy"] = f"energy {series.energy_ev / 1e3:.4g} keV, trained at {_span(valid.energy_ev, 1e-3)} keV"
    if series.object_pixel_m is not None:
        wrong = [pixel for pixel in series.object_pixel_m if beyond(valid.object_pixel_m, pixel)]
        if wrong:
            trained_nm = _span(valid.object_pixel_m, 1e9)
            found["pixel"] = f"object pixel {wrong[0] * 1e9:.4g} nm, trained at {trained_nm} nm"
    return found


def counts_outside(valid: Validity, counts: float) -> dict[str, str]:
    """The same of the counts in a frame."""
    if not beyond(valid.counts_per_frame, counts):
        return {}
    return {COUNTS: f"{counts:.3g} counts a frame, trained at {_span(valid.counts_per_frame, 1)}"}


def beyond(span: Span | None, value: float) -> bool:
    """Whether a value is outside, by more than `SLACK`; nothing is outside of None."""
    if span is None:
        return False
    return value < span.low * (1 - SLACK) or value > span.high * (1 + SLACK)


def photons(image: NDArray[np.unsignedinteger[Any]]) -> float:
    """Counts in an image [height, width] of unsigned integers, without its flags.

    Of an image of more than `MOST_PX` pixels every so many rows are read and scaled: a range needs no more, and no
    image behind it has to wait.
    """
    height = image.shape[0]
    stride = -(-image.size // MOST_PX) or 1
    rows = image[(min(stride, height) - 1) // 2 :: stride]
    flags = rows >= SENTINELS[image.itemsize]
    counts = float(rows.sum(dtype=np.uint64)) - float(rows.sum(dtype=np.uint64, where=flags))
    return counts * height / len(rows)


def _span(span: Span | None, scale: float) -> str:
    assert span is not None  # nothing is outside of None
    low, high = f"{span.low * scale:.4g}", f"{span.high * scale:.4g}"
    return low if low == high else f"{low} to {high}"


def _distance_m(header: Mapping[str, Any]) -> float | None:
    distance_m = _positive(header.get(DISTANCE_M))
    moved = header.get(TRANSLATION_M)
    if distance_m is None and isinstance(moved, list | tuple | np.ndarray) and len(moved) == 3:
        z = moved[2]  # along the beam; its sign is that of the axis
        distance_m = _positive(abs(z)) if isinstance(z, Real) else None
    return distance_m


def _first(header: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    return next((value for name in names if (value := _positive(header.get(name))) is not None), None)


def _positive(value: Any) -> float | None:
    """Zero stands for "not told" in headers."""
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value) or value <= 0:
        return None
    return float(value)
