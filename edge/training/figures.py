"""Figures of an evaluation, printed as tables and kept as rows (`edge.bench.rows`)."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from edge.bench.rows import Row, write
from edge.inference.canary import as_bytes
from edge.inference.requests import FRAME
from edge.inference.telemetry import disable_telemetry

TIME = "Time, ONNX Runtime, one thread"


class Percentiles(NamedTuple):
    """Of a distribution, shown as "0.1/0.2/0.3"; NaN where there is none."""

    p50: float
    p75: float
    p95: float


Lines: TypeAlias = Sequence[Mapping[str, str | float | Percentiles]]
"""Lines of a table by heading; the same headings in each, the first of them names the line."""


class Figures(NamedTuple):
    """A table of figures; its name and the first column name the rows that are kept."""

    name: str
    title: str
    lines: Lines
    units: Mapping[str, str] = {}  # by heading; "1" for those that are not here


Run: TypeAlias = Callable[[NDArray[Any]], dict[str, NDArray[Any]]]
"""Image [height, width] of uint16 -> outputs of that one frame, by name."""


def graph_run(path: Path) -> Run:
    """The graph in `path` on one thread, frame by frame."""
    disable_telemetry()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(image: NDArray[Any]) -> dict[str, NDArray[Any]]:
        answer: Any = session.run(names, {FRAME: as_bytes(image[None].astype(np.uint16))})
        return {name: array[0] for name, array in zip(names, answer, strict=True)}

    return run


def median_ms(run: Run, image: NDArray[Any], times: int = 20) -> float:
    """Median time of `run` on one image."""
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        run(image)
        seconds.append(time.perf_counter() - begin)
    return 1e3 * float(np.median(seconds))


def show(figures: Figures) -> None:
    """Prints a table; on a narrow screen headings break, numbers never do."""
    table = Table(title=figures.title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    cells = [[_shown(value) for value in line.values()] for line in figures.lines]
    for at, heading in enumerate(figures.lines[0]):
        table.add_column(heading, min_width=max(len(row[at]) for row in cells))
    for row in cells:
        table.add_row(*row)
    Console().print(table)


def publish(tables: Iterable[Figures], json_file: Path | None) -> None:
    """Show each table when it is there; keep the rows of all in `json_file`."""
    rows: list[Row] = []
    for figures in tables:
        show(figures)
        rows += kept(figures)
    if json_file is not None:
        write(json_file, rows)


def kept(figures: Figures) -> list[Row]:
    """One row a number: "TABLE/FIRST COLUMN/HEADING". Percentiles are a median, the others in the detail."""
    rows = []
    for line in figures.lines:
        (first, of), *rest = line.items()
        for heading, value in rest:
            name = f"{figures.name}/{first} {_shown(of)}/{heading}"
            unit, detail = figures.units.get(heading, "1"), figures.title
            if isinstance(value, Percentiles):
                beside = {"of": detail, "p75": value.p75, "p95": value.p95}
                rows.append(Row(name, value.p50, unit, detail=beside))
            else:
                rows.append(Row(name, value, "" if isinstance(value, str) else unit, detail=detail))
    return rows


def _shown(value: str | float | Percentiles) -> str:
    if isinstance(value, Percentiles):
        return "/".join(f"{one:.3f}" for one in value if math.isfinite(one))
    if isinstance(value, str | int):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
