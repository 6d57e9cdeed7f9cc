"""Figures of an evaluation, printed as tables and kept with the command and the machine that made them."""

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from edge.inference.canary import as_bytes
from edge.inference.requests import FRAME
from edge.inference.telemetry import disable_telemetry

Rows: TypeAlias = Sequence[Mapping[str, str | float]]
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


def show(title: str, rows: Rows) -> None:
    """Prints `rows`, which have the same keys, as a table; on a narrow screen headings break, numbers never do."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    cells = [[_shown(value) for value in row.values()] for row in rows]
    for at, heading in enumerate(rows[0]):
        table.add_column(heading, min_width=max(len(row[at]) for row in cells))
    for row in cells:
        table.add_row(*row)
    Console().print(table)


def _shown(value: str | float) -> str:
    if isinstance(value, str | int):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def keep(path: Path, tables: Mapping[str, Rows]) -> None:
    """Writes tables as JSON, with the machine and the command."""
    command = shlex.join(["edge", *sys.argv[1:]])
    facts = {"machine": machine(), "command": command, "tables": tables}
    path.write_text(json.dumps(facts, indent=2) + "\n")


def machine() -> str:
    """What the figures were made on."""
    return f"{platform.machine()}, {os.cpu_count()} cores, no GPU used, Python {platform.python_version()}"
