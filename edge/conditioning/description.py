"""Where things are in the images that a route sees: what goes out with the start of a series."""

import math
from collections.abc import Mapping
from typing import Any

from edge.conditioning.orientation import Orientation, oriented_point, oriented_shape, swaps_axes
from edge.conditioning.selection import Selection

_BEAM = ("beam_center_x", "beam_center_y")
_PIXEL_SIZES = (("x_pixel_size", "pixel_size_x"), ("y_pixel_size", "pixel_size_y"))
"""Names of SIMPLON v1 and of Stream V2."""


def describe(
    header: Mapping[str, Any],
    shape: tuple[int, int],
    orientation: Orientation,
    selection: Selection,
    beam: tuple[float, float] | None = None,
    pixel_size: float | None = None,
) -> dict[str, Any]:
    """The geometry of a route's images in plain types; the beam and the pixel size where they are known.

    Args:
        header: of the series, in the detector's own words.
        shape: (height, width) before orientation, after assembly.
        orientation: of the conditioned image.
        selection: of the route.
        beam: (x, y) in the assembled image; None: that of the header, in pixels of the frame.
        pixel_size: in metres; None: that of the header.

    The beam is in pixels of the route's images; pixel (row 0, column 0) covers 0 to 1 in both directions.
    """
    turned = oriented_shape(shape, orientation)
    described: dict[str, Any] = {
        "shape": list(selection.shape(turned)),
        "orientation": orientation,
        "region": None if selection.region is None else list(selection.region),
        "binning": selection.binning,
    }
    point = beam or _pair(_known(header, (_BEAM[0],)), _known(header, (_BEAM[1],)))
    if point is not None:
        described |= zip(_BEAM, selection.point(oriented_point(point, shape, orientation)), strict=True)
    sizes = (pixel_size, pixel_size) if pixel_size else _pair(*(_known(header, names) for names in _PIXEL_SIZES))
    if sizes is not None:
        x, y = reversed(sizes) if swaps_axes(orientation) else sizes
        described |= {"x_pixel_size": x * selection.binning, "y_pixel_size": y * selection.binning}
    return described


def _pair(x: float | None, y: float | None) -> tuple[float, float] | None:
    return None if x is None or y is None else (x, y)


def _known(header: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    for name in names:
        value = header.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None
