"""What all these commands print, and leave in a file and a picture."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from edge.bench.rows import machine
from edge.bench.sizing.figures import Figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

WIDTH = 120
"""Columns that a table may take at least, however narrow the terminal."""

Describe: TypeAlias = Callable[[str], None]
Advance: TypeAlias = Callable[[], None]


@contextmanager
def counted(total: int) -> Iterator[tuple[Describe, Advance]]:
    """A progress bar on standard error; yields what tells it what is measured, and that one more is."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as bar:
        task = bar.add_task("starting", total=total)
        yield lambda what: bar.update(task, description=what), lambda: bar.advance(task)


@contextmanager
def framed(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error; yields what tells it how many frames came through."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as bar:
        task = bar.add_task("frames", total=total)
        yield lambda done: bar.update(task, completed=min(done, total))


def tables_console() -> Console:
    """Standard output, wide enough."""
    return Console(width=max(Console().width, WIDTH))


def judged(figures: Sequence[Figure]) -> Table:
    """The figures that a bar is promised for, beside it."""
    made = Table("row", "value", "rounds, least to greatest", "bar", "", box=None, padding=(0, 2))
    for one in figures:
        if one.bar is not None:
            verdict = "[bold]MISSED[/]" if one.missed else "kept"
            made.add_row(one.name, f"{one.value:.4g}", spread_text(one), str(one.bar), verdict)
    return made


def spread_text(one: Figure) -> str:
    """Least to greatest of the rounds."""
    return "" if one.spread is None else f"{one.spread[0]:.3g} to {one.spread[1]:.3g}"


def machine_line() -> str:
    """Where this was measured. The load is that of the last minute, this measurement included."""
    on = machine()
    load = on["load_average"][0]
    return f"{on['cpu']}, {on['cores']} cores, {on['system']}, Python {on['python']}; load average {load:.1f}"


def save(picture: "Picture", path: Path) -> None:
    """Write a picture; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, dpi=120, bbox_inches="tight")
