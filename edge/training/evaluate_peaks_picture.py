"""The comparison as one picture: F1 against signal to noise, true against stated probability, finds on rings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from edge.physics.calibration import Reliability
from edge.physics.peak_judging import Tally
from edge.training.evaluate_peaks_finders import good_pixels
from edge.training.evaluate_peaks_silent import Silent
from edge.training.evaluate_peaks_sweep import Line


def draw(path: Path, lines: Sequence[Line], found: Reliability, silent: Sequence[Silent]) -> None:
    """Two panels and one of each kind of rings."""
    columns = max(2, len(silent))
    figure = Figure(figsize=(4.6 * columns, 9.0), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, columns)
    _sweep(figure.add_subplot(grid[0, : max(columns - 2, 1)]), lines)
    _reliability(figure.add_subplot(grid[0, max(columns - 2, 1) :]), found)
    for at, kind in enumerate(silent):
        _rings(figure.add_subplot(grid[1, at]), kind)
    figure.savefig(path, dpi=90)


def _sweep(axes: Axes, lines: Sequence[Line]) -> None:
    ratios = [line.ratio for line in lines]
    for finder in lines[0].found:
        values = [sum(line.tallies(finder), Tally()).f1 for line in lines]
        axes.plot(ratios, values, marker="o", markersize=3, label=finder)
    axes.set(xscale="log", xlabel="signal to noise", ylabel="F1 within 2 px", title="simulated frames, 1024 x 1024")
    axes.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
    axes.minorticks_off()
    axes.legend()
    axes.grid(alpha=0.3)


def _reliability(axes: Axes, found: Reliability) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axes.plot(found.stated, found.true, marker="o")
    for stated, true, count in zip(found.stated, found.true, found.count, strict=True):
        if count:
            axes.annotate(f"{count}", (stated, true), xytext=(4, -10), textcoords="offset points", fontsize=8)
    title = f"calibration error {found.error:.3f}; peaks a bin beside"
    axes.set(xlabel="stated probability", ylabel="share that are spots", title=title)
    axes.grid(alpha=0.3)


def _rings(axes: Axes, kind: Silent) -> None:
    """The frame with most false peaks."""
    found = kind.found["model"]
    worst = int(np.argmax([len(one.places) for one in found]))
    image = np.log1p(np.where(good_pixels(kind.images[worst]), kind.images[worst], 0).astype(float))
    low, high = np.percentile(image, [1, 99.8])
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    places = found[worst].places
    axes.plot(places[:, 1], places[:, 0], "o", color="red", markerfacecolor="none", markersize=6)
    axes.set(title=f"{kind.name}: {len(places)} false, the worst of {len(found)}", xticks=[], yticks=[])
