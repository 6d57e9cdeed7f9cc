"""`edge orient`: how the detector image and the scan axes of a ptychography scan belong together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from threadpoolctl import threadpool_limits

from edge.bench.rows import write
from edge.bench.sizing.telling import tables_console
from edge.commands.orient_scan import Measured, OrientError, Sample, measured, sample
from edge.commands.orient_starts import STARTS, Outcome, outcome_of, outcome_rows, outcome_table
from edge.commands.orient_telling import beam_after, picture, ranking_table, rows, scan_words, toml_lines, words
from edge.physics.orientation_ranking import Ranking, rank
from edge.physics.probe import load_probe
from edge.scanfiles import Origin, ScanFileError, open_scan


@click.command()
@click.option(
    "--data",
    "--scan",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    help="File of the scan: whatever `edge replay` reads, with positions.",
)
@click.option("--dataset", help="Name of the frames in a file that holds several stacks.")
@click.option(
    "--origin",
    type=click.Choice(["auto", "corner", "centre"]),
    default="auto",
    show_default=True,
    help="Where the zero frequency of the stored frames is.",
)
@click.option(
    "--probe",
    "probe_file",
    type=click.Path(path_type=Path),
    help="Modes [modes, height, width] in a .npy file, better than the guess in the scan's file.",
)
@click.option(
    "--pixel-size",
    "pixel_nm",
    type=click.FloatRange(0, min_open=True),
    metavar="NM",
    help="Of a reconstruction from whole frames, for positions in metres; default: what the file says.",
)
@click.option(
    "--frames",
    type=click.IntRange(8, 1024),
    default=48,
    show_default=True,
    help="Frames of a neighbourhood, half of them held out.",
)
@click.option("--places", type=click.IntRange(1, 32), default=3, show_default=True, help="Neighbourhoods.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the choice of frames.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write what was found to a file.")
@click.option(
    "--plot",
    "plot_file",
    type=click.Path(path_type=Path),
    help="Write a picture: what each of the 8 relative turns makes of a part of the sample.",
)
@click.option(
    "--every-start",
    is_flag=True,
    help="Check the command itself: turn the data in 8 x 4 ways first, count how many it undoes.",
)
def orient(
    path: Path,
    dataset: str | None,
    origin: Origin,
    probe_file: Path | None,
    pixel_nm: float | None,
    frames: int,
    places: int,
    seed: int,
    json_file: Path | None,
    plot_file: Path | None,
    every_start: bool,
) -> None:
    """Rank the 8 turns of the detector image x the signs and the exchange of the scan axes.

    Wrong ones are the commonest failure in ptychography. Half of some neighbouring frames are reconstructed, and must
    predict the other half. Exit code 0: clear; 1: not clear; 2: the scan cannot be judged.
    """
    try:
        with open_scan(path, dataset, origin) as scan, threadpool_limits(1):
            probe = None if probe_file is None else _probe(probe_file)
            found = measured(path, scan, probe, pixel_nm)
            if every_start:
                right = _every_start(found, lambda one: sample(one, places, frames, seed), json_file)
            else:
                right = _once(found, sample(found, places, frames, seed), json_file, plot_file)
    except (ScanFileError, OrientError) as error:
        raise click.UsageError(str(error)) from error
    if not right:
        raise click.exceptions.Exit(1)


def _probe(path: Path) -> NDArray[np.complex64]:
    try:
        return load_probe(path)
    except (OSError, ValueError, EOFError) as error:
        raise OrientError(f"--probe {path}: {error}") from error


def _once(scan: Measured, taken: Sample, json_file: Path | None, plot_file: Path | None) -> bool:
    with _bar("fits") as progress:
        ranking = rank(taken.hoods, taken.guess, progress)
    _tell(scan, taken, ranking)
    if json_file is not None:
        _written(json_file, lambda: write(json_file, rows(ranking)))
    if plot_file is not None:
        _written(plot_file, lambda: picture(plot_file, ranking))
    return ranking.clear


def _tell(scan: Measured, taken: Sample, ranking: Ranking) -> None:
    size, held = taken.beam.size, sum(len(fit.misfits) for fit in ranking.relatives[0].fits)
    click.echo(
        f"{len(scan.positions)} frames, beam at (row, col) {taken.beam.centre}; {size} x {size} pixels around it used, "
        f"{taken.beam.share:.0%} of the counts;\n{held} frames in {len(taken.hoods)} neighbourhood(s) held out; "
        f"step {taken.step:.2f} of the probe's diameter" + ("; no guess of the probe is used" if ranking.blind else "")
    )
    tables_console().print(ranking_table(ranking))
    for line in words(ranking):
        click.echo(line)
    if not ranking.clear:
        return
    turn = ranking.recommended
    click.echo(f"\nrecommended: image {turn.image}, scan axes {scan_words(turn)}. In the table of its [[source]]:\n")
    for line in toml_lines(turn):
        click.echo(f"    {line}")
    row, col = beam_after(turn, taken.beam.centre, scan.shape)
    click.echo(f"\nTurned after any orientation set already. The beam is then at row {row}, column {col}.")
    others = [f"image {one.image}, scan {scan_words(one)}" for one in ranking.equivalent[1:]]
    if others:
        click.echo("the frames fit equally: " + "; ".join(others))


def _every_start(scan: Measured, sampled: Callable[[Measured], Sample], json_file: Path | None) -> bool:
    """Whether every start was undone."""
    taken = sampled(scan)
    reference = rank(taken.hoods, taken.guess)
    found: list[Outcome] = []
    with _bar("starts") as progress:
        for start in STARTS:
            taken = sampled(scan.turned(start))
            found.append(outcome_of(start, reference, rank(taken.hoods, taken.guess)))
            progress(len(found), len(STARTS))
    tables_console().print(outcome_table(found))
    click.echo(f"the file as it is: image {reference.recommended.image}, scan {scan_words(reference.recommended)}")
    for row in outcome_rows(found):
        value = f"{row.value:.3g}" if isinstance(row.value, float) else f"{row.value} of {len(found)}"
        click.echo(f"{row.name}: {value} ({row.detail})")
    if json_file is not None:
        _written(json_file, lambda: write(json_file, outcome_rows(found)))
    return all(one.undone and one.clear for one in found)


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on the terminal's standard error."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f}"))
    with Progress(
        *columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _written(path: Path, action: Callable[[], None]) -> None:
    try:
        action()
    except (OSError, ValueError) as error:
        raise OrientError(f"cannot write {path}: {error}") from error
