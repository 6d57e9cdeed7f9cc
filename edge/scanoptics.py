"""How large a pixel of a reconstruction is, from what an HDF5 file says of wavelength, distance and detector.

Far field: dx = wavelength x distance / (N x pixel of the detector), for frames of N pixels. CXI 1.6 stores SI units
without naming them; in NeXus files a number without the attribute `units` is not used. Files hold several distances and
energies (of attenuators, slits, the storage ring): the distance is that of the group of the detector's pixels, the
wavelength that of a beam or else a monochromator or source, and where several of those differ nothing is said.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py

PLANCK_LIGHT_J_M = 1.98644586e-25
ELEMENTARY_CHARGE_C = 1.602176634e-19

_WAVELENGTHS = ("wavelength", "incident_wavelength")
_ENERGIES = ("energy", "incident_energy", "photon_energy")
_DISTANCES = ("distance", "detector_distance")
_PIXELS = ("x_pixel_size", "y_pixel_size")
_WANTED = {*_WAVELENGTHS, *_ENERGIES, *_DISTANCES, *_PIXELS}
_LIGHT = ("beam", "monochromator", "source", "")
"""In the name of the group, best first."""

_MOST_PHOTON_J = 1e6 * ELEMENTARY_CHARGE_C
"""More than this is the energy of electrons, by which a source in NeXus is described."""

_ALIKE = 1e-3
_UNITS = {
    "m": 1.0, "meter": 1.0, "meters": 1.0, "metre": 1.0, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "micron": 1e-6,
    "nm": 1e-9, "angstrom": 1e-10, "angstroms": 1e-10, "å": 1e-10,
    "j": 1.0, "ev": ELEMENTARY_CHARGE_C, "kev": 1e3 * ELEMENTARY_CHARGE_C,
}  # fmt: skip


class _Number(NamedTuple):
    """A dataset that holds one number."""

    group: str  # its path, "" at the top
    name: str
    value: float  # in SI units


def field_of_view_m(path: Path) -> float | None:
    """wavelength x distance / pixel of the detector, in metres: the field of view. None where the file does not say.

    Divided by the pixels of a frame it is the pixel of a reconstruction. Raises OSError for a file that is no HDF5.
    """
    with h5py.File(path, "r") as file:
        found = _numbers(file, "cxi_version" in file)
    pixels = [one for one in found if one.name in _PIXELS]
    lengths = [one for one in found if one.name in _DISTANCES]
    wavelength, distance, pixel = _wavelength(found), _agreed(_nearest(lengths, pixels)), _agreed(pixels)
    if not (wavelength and distance and pixel):
        return None
    return abs(wavelength * distance / pixel)


def _wavelength(found: Sequence[_Number]) -> float | None:
    lengths = [one for one in found if one.name in _WAVELENGTHS]
    energies = [one for one in found if one.name in _ENERGIES and 0 < one.value < _MOST_PHOTON_J]
    lengths += [one._replace(value=PLANCK_LIGHT_J_M / one.value) for one in energies]
    for word in _LIGHT:
        chosen = [one for one in lengths if word in one.group.rsplit("/", 1)[-1].lower()]
        if chosen:
            return _agreed(chosen)
    return None


def _nearest(distances: list[_Number], pixels: Sequence[_Number]) -> list[_Number]:
    """Those in the group of a detector's pixels, or else in the nearest group around it; any where none is."""
    around = {one.group for one in pixels}
    while around:
        chosen = [one for one in distances if one.group in around]
        if chosen:
            return chosen
        around = {group.rpartition("/")[0] for group in around if group}
    return distances


def _agreed(numbers: Sequence[_Number]) -> float | None:
    """The value of all; None without any, or where they differ."""
    values = [one.value for one in numbers]
    if not values or max(values) - min(values) > _ALIKE * max(map(abs, values)):
        return None
    return values[0]


def _numbers(file: Any, si: bool) -> list[_Number]:
    """All datasets of the names wanted that hold one number whose unit is known."""
    found: list[_Number] = []

    def visit(path: str, item: Any) -> None:
        group, _, name = path.rpartition("/")
        if name not in _WANTED or not isinstance(item, h5py.Dataset):
            return
        if item.shape is None or item.size != 1 or item.dtype.kind not in "iuf":
            return
        units = item.attrs.get("units", "" if si else None)
        text = units.decode(errors="replace") if isinstance(units, bytes) else units
        factor = 1.0 if text == "" and si else _UNITS.get(str(text).lower())
        if factor is not None:
            found.append(_Number(group, name, float(item[...].ravel()[0]) * factor))

    file.visititems(visit)
    return found
