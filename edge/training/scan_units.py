"""Positions in pixels of the object, for scans that hold them in metres."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.scanfiles import Scan
from edge.scanoptics import field_of_view_m


def told_pixel_m(path: Path, scan: Scan, size_px: int) -> float | None:
    """Pixel of the object, in metres, for frames of `size_px` pixels, as the scan's file tells it; None where not.

    Raises OSError where the file cannot be read.
    """
    field = field_of_view_m(path) if scan.format in ("hdf5", "cxi") else None
    return None if field is None else field / size_px


def in_pixels(scan: Scan, pixel_m: float | None, size_px: int) -> Scan:
    """The scan with positions in pixels of its own frames; as it is where they are, or where nobody knows the pixel.

    `pixel_m` is the object's for frames of `size_px` pixels. Frames of more pixels are cropped to those, which makes
    the object's pixel larger, so the scan's own is smaller by as much.
    """
    if scan.positions is None or scan.position_units == "px" or pixel_m is None:
        return scan
    own = pixel_m * size_px / np.array(scan.shape)
    return replace(scan, positions=scan.positions / own, position_units="px")
