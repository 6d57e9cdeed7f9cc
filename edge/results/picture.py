"""A picture of a result file: its signal over the scan, or over the image ids."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from edge.results.errors import ResultFileError
from edge.results.reader import curve


def draw(path: Path, picture: Path) -> None:
    """Write a picture of the first channel's signal; each image counts as the mean of its values.

    Raises:
        ResultFileError: the file cannot be read, or the picture not be written.
    """
    if path.suffix == ".log":
        raise ResultFileError(f"{path} is a log; build its file first, with --build")
    name, units, ids, values, axes = curve(path)
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    at = figure.add_subplot()
    label = name if units in ("", "1") else f"{name} ({units})"
    if len(axes) == 2:
        (across, x), (up, y) = axes.items()
        points = at.scatter(x, y, c=values, s=20)
        figure.colorbar(points, label=label)
        at.set(xlabel=across, ylabel=up, aspect="equal")
    else:
        at.plot(ids, values, ".", markersize=3)
        at.set(xlabel="image id", ylabel=label)
    at.set_title(path.name, fontsize="small")
    try:
        figure.savefig(picture, dpi=120)
    except (OSError, ValueError) as error:
        raise ResultFileError(f"cannot write {picture}: {error}") from error
