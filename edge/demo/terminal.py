"""Pictures in a terminal: two pixels a character, upper and lower half block."""

import numpy as np
from matplotlib import colormaps
from rich.color import Color
from rich.style import Style
from rich.text import Text
from scipy.spatial import KDTree

UPPER_HALF = "\u2580"


def picture(image: np.ndarray, columns: int, colours: str = "gray") -> Text:
    """`image` [h, w] float, NaN where nothing is known, as coloured text `columns` wide."""
    rows = max(2, round(columns * image.shape[0] / image.shape[1] / 2) * 2)
    small = _sampled(image, rows, columns)
    rgb = np.round(255 * colormaps[colours](_scaled(small))[..., :3]).astype(int)
    rgb[np.isnan(small)] = 24
    text = Text(no_wrap=True)
    for top, bottom in zip(rgb[::2], rgb[1::2], strict=True):
        for upper, lower in zip(top, bottom, strict=True):
            text.append(UPPER_HALF, Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower)))
        text.append("\n")
    return text


def limits(image: np.ndarray) -> tuple[float, float]:
    """Values between which a picture of `image` is drawn: its 1st and 99th percentile; (0, 1) for nothing."""
    known = image[np.isfinite(image)]
    if not known.size:
        return 0.0, 1.0
    low, high = np.percentile(known, [1, 99])
    return float(low), float(high if high > low else low + 1)


def _scaled(image: np.ndarray) -> np.ndarray:
    low, high = limits(image)
    return np.clip((np.nan_to_num(image, nan=low) - low) / (high - low), 0, 1)


def _sampled(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The pixels nearest to the middles of `rows` x `columns` cells."""
    down = ((np.arange(rows) + 0.5) * image.shape[0] / rows).astype(int)
    across = ((np.arange(columns) + 0.5) * image.shape[1] / columns).astype(int)
    return image[down][:, across]


def nearest(positions: np.ndarray, values: np.ndarray, side: int) -> np.ndarray:
    """A picture [side, side] of scattered `values` [n] at `positions` [n, 2] (x, y) in the unit square, y upwards.

    Every pixel shows the nearest measured value: nothing is made up between them.
    """
    at = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(at, at[::-1])
    _, index = KDTree(positions).query(np.column_stack([x.ravel(), y.ravel()]))
    return values[index].reshape(side, side)
