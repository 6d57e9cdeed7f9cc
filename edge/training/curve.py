"""The loss curve of a training as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from edge.training.course import Step


def draw_curve(path: Path, fits: Mapping[str, Sequence[Step]]) -> None:
    """One panel a fit: the loss, and the figure that it reports, over the steps."""
    seen = {name: points for name, points in fits.items() if points}
    if not seen:
        return
    figure = Figure(figsize=(5.0 * len(seen), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for at, (name, points) in enumerate(seen.items(), start=1):
        axes = figure.add_subplot(1, len(seen), at)
        steps = [point.steps for point in points]
        axes.plot(steps, [point.loss for point in points], linewidth=0.8, label="loss")
        if any(point.figure != point.loss for point in points):
            axes.plot(steps, [point.figure for point in points], linewidth=0.8, label="reported figure")
        positive = all(point.loss > 0 and point.figure > 0 for point in points)
        axes.set(title=name, xlabel="steps", yscale="log" if positive else "linear")
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
