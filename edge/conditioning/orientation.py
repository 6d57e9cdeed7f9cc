"""How the detector is mounted: the eight ways in which an image can be turned and mirrored.

Points are (x, y) in pixels: x along the columns, y along the rows; pixel (row 0, column 0) covers 0 to 1 in both, so a
beam through the middle of an image of `width` columns is at x = width / 2.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

Orientation: TypeAlias = Literal[
    "as-is",
    "rotate-90",  # counter-clockwise, as numpy's rot90
    "rotate-180",
    "rotate-270",
    "mirror-columns",  # the first column becomes the last
    "mirror-rows",
    "transpose",  # rows become columns
    "anti-transpose",  # about the other diagonal
]
ORIENTATIONS: tuple[Orientation, ...] = get_args(Orientation)

_VIEWS: dict[Orientation, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "as-is": lambda image: image,
    "rotate-90": lambda image: image.T[::-1, :],
    "rotate-180": lambda image: image[::-1, ::-1],
    "rotate-270": lambda image: image.T[:, ::-1],
    "mirror-columns": lambda image: image[:, ::-1],
    "mirror-rows": lambda image: image[::-1, :],
    "transpose": lambda image: image.T,
    "anti-transpose": lambda image: image[::-1, ::-1].T,
}
_POINTS: dict[Orientation, Callable[[float, float, int, int], tuple[float, float]]] = {
    "as-is": lambda x, y, height, width: (x, y),
    "rotate-90": lambda x, y, height, width: (y, width - x),
    "rotate-180": lambda x, y, height, width: (width - x, height - y),
    "rotate-270": lambda x, y, height, width: (height - y, x),
    "mirror-columns": lambda x, y, height, width: (width - x, y),
    "mirror-rows": lambda x, y, height, width: (x, height - y),
    "transpose": lambda x, y, height, width: (y, x),
    "anti-transpose": lambda x, y, height, width: (height - y, width - x),
}


def oriented(image: NDArray[Any], orientation: Orientation) -> NDArray[Any]:
    """The image [height, width] turned: a view."""
    return _VIEWS[orientation](image)


def swaps_axes(orientation: Orientation) -> bool:
    """Whether rows become columns."""
    return orientation in ("rotate-90", "rotate-270", "transpose", "anti-transpose")


def oriented_shape(shape: tuple[int, int], orientation: Orientation) -> tuple[int, int]:
    """(height, width) afterwards."""
    return (shape[1], shape[0]) if swaps_axes(orientation) else shape


def oriented_point(point: tuple[float, float], shape: tuple[int, int], orientation: Orientation) -> tuple[float, float]:
    """Where (x, y) of an image of `shape` (height, width) lies afterwards."""
    return _POINTS[orientation](*point, *shape)


def copy_oriented(image: NDArray[Any], orientation: Orientation, out: NDArray[Any]) -> None:
    """Write the turned image into `out`, in squares where rows become columns: the cache holds both sides of one."""
    turned = oriented(image, orientation)
    if not swaps_axes(orientation):
        np.copyto(out, turned)
        return
    for row in range(0, out.shape[0], SQUARE):
        for column in range(0, out.shape[1], SQUARE):
            square = (slice(row, row + SQUARE), slice(column, column + SQUARE))
            np.copyto(out[square], turned[square])


SQUARE = 64
"""Side of the squares, in pixels."""
