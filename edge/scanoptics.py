"""How large a pixel of a reconstruction is, from what an HDF5 file says of wavelength, distance and detector.

Far field: dx = wavelength x distance / (N x pixel of the detector), for frames of N pixels. CXI 1.6 stores SI units
without naming them; in NeXus files a number without the attribute `units` is not used.
"""

from pathlib import Path
from typing import Any

import h5py

PLANCK_LIGHT_J_M = 1.98644586e-25
ELEMENTARY_CHARGE_C = 1.602176634e-19

_WAVELENGTHS = ("wavelength", "incident_wavelength")
_ENERGIES = ("energy", "incident_energy", "photon_energy")
_DISTANCES = ("distance", "detector_distance")
_PIXELS = ("x_pixel_size", "y_pixel_size")
_UNITS = {
    "m": 1.0, "meter": 1.0, "meters": 1.0, "metre": 1.0, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "micron": 1e-6,
    "nm": 1e-9, "angstrom": 1e-10, "angstroms": 1e-10, "å": 1e-10,
    "j": 1.0, "ev": ELEMENTARY_CHARGE_C, "kev": 1e3 * ELEMENTARY_CHARGE_C,
}  # fmt: skip


def field_of_view_m(path: Path) -> float | None:
    """wavelength x distance / pixel of the detector, in metres: the field of view. None where the file does not say.

    Divided by the pixels of a frame it is the pixel of a reconstruction. Raises OSError for a file that is no HDF5.
    """
    with h5py.File(path, "r") as file:
        si = "cxi_version" in file
        wavelength = _first(file, _WAVELENGTHS, si)
        energy = _first(file, _ENERGIES, si)
        if wavelength is None and energy:
            wavelength = PLANCK_LIGHT_J_M / energy
        distance, pixel = _first(file, _DISTANCES, si), _first(file, _PIXELS, si)
    if not (wavelength and distance and pixel):
        return None
    return abs(wavelength * distance / pixel)


def _first(file: Any, names: tuple[str, ...], si: bool) -> float | None:
    """The first dataset of one of these names that holds one number, in SI units."""
    found: list[float] = []

    def visit(path: str, item: Any) -> None:
        if path.rsplit("/", 1)[-1] not in names or not isinstance(item, h5py.Dataset):
            return
        if item.shape is None or item.size != 1 or item.dtype.kind not in "iuf":
            return
        units = item.attrs.get("units", "" if si else None)
        text = units.decode(errors="replace") if isinstance(units, bytes) else units
        factor = 1.0 if text == "" and si else _UNITS.get(str(text).lower())
        if factor is not None:
            found.append(float(item[()].item() if item.shape == () else item[...].ravel()[0]) * factor)

    file.visititems(visit)
    return found[0] if found else None
