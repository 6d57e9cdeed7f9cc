"""Modules put together: one detector image on the pixel grid, from a geometry.

The image's columns go along x and its rows along y of the geometry, so that one panel with `fs = x` and `ss = y` is
left as it is. The grid begins at the outermost edges of the panels. Each of its pixels takes the panel's pixel
that its centre lies in: nothing is interpolated, a count stays a count, and a turned panel gets no holes. Where panels
are turned by no multiple of 90 degrees, a few pixels come twice or not at all; sums over peaks change by that much.
"""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.conditioning.errors import ConditioningError
from edge.conditioning.geom import BadRegion, Geometry, Panel

NOTHING = -1
"""Index of grid pixels that no panel covers."""

MAX_GRID_PIXELS = 1 << 27
"""Largest image that is assembled; an EIGER2 16M has 1 << 24."""

_SNAP = 1e-6
"""Pixels by which the numbers of a file may miss a pixel's edge."""


class Assembly(msgspec.Struct, frozen=True):
    """Where each pixel of the assembled image comes from."""

    shape: tuple[int, int]
    index: NDArray[np.intp]  # [height, width] into the flat [modules, rows, columns]; NOTHING in gaps
    beam: tuple[float, float]  # (x, y) of the geometry's origin in the image; pixel (0, 0) covers 0 to 1 in both


def assemble(geometry: Geometry, module_shape: tuple[int, int]) -> Assembly:
    """Work out the image of modules of `module_shape` (rows, columns) each.

    Raises:
        ConditioningError: the panels do not lie within the modules, or the image would be absurdly large.
    """
    panels = [panel for panel in geometry.panels if not panel.ignored]
    if not panels:
        raise ConditioningError("the geometry ignores all its panels (no_index)")
    for panel in panels:
        _check_within(panel, module_shape)
    corners = np.concatenate([_corners(panel) for panel in panels])
    left, top = (float(edge) for edge in corners.min(0))
    width, height = (math.ceil(extent - _SNAP) for extent in corners.max(0) - corners.min(0))
    if width * height > MAX_GRID_PIXELS:
        raise ConditioningError(
            f"the panels of the geometry span {height} x {width} pixels; are corner_x and corner_y in pixels?"
        )
    index = np.full((height, width), NOTHING, np.intp)
    for panel in panels:
        _place(panel, module_shape, index, (left, top))
    return Assembly((height, width), index, (-left, -top))


def bad_pixels(geometry: Geometry, module_shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The bad regions and edges of a geometry, [modules, rows, columns].

    Raises:
        ConditioningError: the panels do not lie within the modules.
    """
    bad = np.zeros((len(geometry.modules), *module_shape), np.bool_)
    for panel in geometry.panels:
        _check_within(panel, module_shape)
        pixels = bad[panel.module, panel.min_ss : panel.max_ss + 1, panel.min_fs : panel.max_fs + 1]
        if panel.edge:
            pixels[: panel.edge], pixels[-panel.edge :] = True, True
            pixels[:, : panel.edge], pixels[:, -panel.edge :] = True, True
        for region in geometry.bad_regions:
            if region.panel in (None, panel.name):
                pixels |= _in_laboratory(region, panel) if region.in_laboratory else _in_data(region, panel)
    return bad


def _in_data(region: BadRegion, panel: Panel) -> NDArray[np.bool_]:
    fs = np.arange(panel.min_fs, panel.max_fs + 1)
    ss = np.arange(panel.min_ss, panel.max_ss + 1)[:, None]
    least_fs, greatest_fs, least_ss, greatest_ss = region.bounds
    return (fs >= least_fs) & (fs <= greatest_fs) & (ss >= least_ss) & (ss <= greatest_ss)


def _in_laboratory(region: BadRegion, panel: Panel) -> NDArray[np.bool_]:
    """The pixels whose centre lies in the region."""
    along, across = _extent(panel)
    fs, ss = np.arange(along) + 0.5, (np.arange(across) + 0.5)[:, None]
    x = panel.corner[0] + fs * panel.fs[0] + ss * panel.ss[0]
    y = panel.corner[1] + fs * panel.fs[1] + ss * panel.ss[1]
    least_x, greatest_x, least_y, greatest_y = region.bounds
    return (x >= least_x) & (x <= greatest_x) & (y >= least_y) & (y <= greatest_y)


def _extent(panel: Panel) -> tuple[int, int]:
    """Pixels along fs and ss."""
    return panel.max_fs - panel.min_fs + 1, panel.max_ss - panel.min_ss + 1


def _corners(panel: Panel) -> NDArray[np.float64]:
    """(x, y) of the four."""
    along, across = _extent(panel)
    steps = np.array([(0, 0), (along, 0), (0, across), (along, across)], np.float64)
    return np.array(panel.corner) + steps @ np.array([panel.fs, panel.ss])


def _check_within(panel: Panel, module_shape: tuple[int, int]) -> None:
    rows, columns = module_shape
    if panel.max_ss >= rows or panel.max_fs >= columns:
        raise ConditioningError(
            f"panel {panel.name[:40]!r} of the geometry reaches to ss {panel.max_ss} and fs {panel.max_fs}, the frames "
            f"have {rows} rows (ss) and {columns} columns (fs)"
        )


def _place(panel: Panel, module_shape: tuple[int, int], index: NDArray[np.intp], origin: tuple[float, float]) -> None:
    """Enter the panel's pixels into the rectangle of the grid that it lies in."""
    corners = _corners(panel) - origin
    first = np.maximum(np.floor(corners.min(0)).astype(int) - 1, 0)
    last = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, index.shape[::-1])
    x = np.arange(first[0], last[0]) + 0.5 + origin[0] - panel.corner[0]
    y = (np.arange(first[1], last[1]) + 0.5 + origin[1] - panel.corner[1])[:, None]
    area = panel.fs[0] * panel.ss[1] - panel.fs[1] * panel.ss[0]
    fs = np.floor((x * panel.ss[1] - y * panel.ss[0]) / area + _SNAP).astype(np.intp)
    ss = np.floor((y * panel.fs[0] - x * panel.fs[1]) / area + _SNAP).astype(np.intp)
    along, across = _extent(panel)
    inside = (fs >= 0) & (fs < along) & (ss >= 0) & (ss < across)
    rows, columns = module_shape
    source = (panel.module * rows + panel.min_ss + ss) * columns + panel.min_fs + fs
    window = index[first[1] : last[1], first[0] : last[0]]
    np.copyto(window, source, where=inside)
