"""A frame as several methods leave it, side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from edge.physics.arrays import Float

DIMMEST = 0.02
"""Counts; what is less is drawn as that."""


def draw_picture(path: Path, names: Sequence[str], images: Sequence[Float]) -> None:
    """One panel an image [height, width] of counts, all in one logarithmic scale."""
    figure = Figure(figsize=(3.2 * len(images), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    scale = LogNorm(DIMMEST, max(float(np.max(images)), 10 * DIMMEST))
    for at, (name, image) in enumerate(zip(names, images, strict=True), start=1):
        axes = figure.add_subplot(1, len(images), at)
        axes.imshow(np.maximum(image, DIMMEST), norm=scale, cmap="magma", interpolation="nearest")
        axes.set(title=name, xticks=[], yticks=[])
    figure.colorbar(ScalarMappable(scale, "magma"), ax=figure.axes, label="counts", shrink=0.8)
    figure.savefig(path, dpi=110)
