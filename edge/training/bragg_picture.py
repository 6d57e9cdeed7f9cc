"""Errors of centres and pulls as a picture."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from edge.physics.arrays import Float

MOST_PULL = 4.0
NAMES = ("row", "column", "intensity")


def draw_errors(path: Path, distances: Float, signal_to_noise: Float, pulls: Float) -> None:
    """Left the distances [n] in pixels over the signal-to-noise ratio [n]; right the pulls [n, 3] of row, column and
    intensity beside a normal distribution of width one."""
    figure = Figure(figsize=(10.0, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    edges = np.geomspace(signal_to_noise.min(), signal_to_noise.max() * 1.001, 16)
    bins = np.digitize(signal_to_noise, edges) - 1
    middles = np.sqrt(edges[1:] * edges[:-1])
    for share in (50, 75, 95):
        line = [np.percentile(distances[bins == at], share) if (bins == at).any() else np.nan for at in range(15)]
        left.loglog(middles, line, marker=".", label=f"{share} %")
    left.set(xlabel="signal to noise of the spot", ylabel="distance from the true centre, px")
    steps = np.linspace(-MOST_PULL, MOST_PULL, 65)
    for at, name in enumerate(NAMES):
        right.hist(
            pulls[:, at], steps, density=True, histtype="step", label=f"{name}, deviation {pulls[:, at].std():.2f}"
        )
    right.plot(steps, np.exp(-0.5 * steps**2) / np.sqrt(2 * np.pi), "k:", label="normal")
    right.set(xlabel="error / stated sigma", ylabel="share")
    for axes in (left, right):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
