# pyright: reportMissingImports=false
"""`--watch` of a training: fine-tunes as scans finish, and shows what was decided."""

import functools
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edge.models.spec import ModelSpec
from edge.scanfiles import Scan
from edge.training.course import CheckpointError, TrainingError
from edge.training.decisions import Decision
from edge.training.run import Recipe, TrainingRun, training_run
from edge.training.scan_deviance import deviances
from edge.training.watching import Place, WatchError, watching

BUDGET_S = 300.0
LOOK_S = 1.0
NEXT_START = "it serves from the next start of a server on"

FineTuned = Callable[[TrainingRun, Path, Scan, NDArray[np.intp]], Any]
"""Goes on from a version folder with some frames of a scan; writes a version to the run's folder."""


@dataclass(frozen=True)
class Watched:
    """What the options of a watch say."""

    folder: Path
    once: bool = False
    still_s: float = 5.0


def watch_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a watch; the command gets them as `watched`, None where it shall not watch."""

    @click.option("--watch", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER",
                  help="Fine-tune whenever a scan is complete in FOLDER, and deploy what is better. --out is then the "
                       "folder of your own models (server.models), --budget the time for each scan.")  # fmt: skip
    @click.option("--once", is_flag=True, help="With --watch: end when all scans that are there were dealt with.")
    @click.option("--still", default=5.0, show_default=True, metavar="SECONDS", type=click.FloatRange(0.1),
                  help="With --watch: a file is complete when it has not changed for so long.")  # fmt: skip
    @functools.wraps(command)
    def whole(*, watch: Path | None, once: bool, still: float, **others: Any) -> None:
        if watch is None and once:
            raise click.UsageError("--once belongs to --watch")
        command(watched=None if watch is None else Watched(watch, once, still), **others)

    return whole


def watch(spec: ModelSpec, watched: Watched, own: Path, recipe: Recipe, fine_tuned: FineTuned) -> None:
    """Make versions in `own` of the scans that come, until Ctrl-C or SIGTERM, or all were dealt with.

    Raises click.ClickException where it cannot.
    """
    recipe = replace(recipe, budget_s=recipe.budget_s or BUDGET_S)
    own.mkdir(parents=True, exist_ok=True)

    def tune_once(start: Path, scan: Scan, chosen: NDArray[np.intp], out: Path, fresh: bool) -> None:
        with training_run(spec, recipe, out, fresh) as run:
            fine_tuned(run, start, scan, chosen)

    def tune(start: Path, scan: Scan, chosen: NDArray[np.intp], out: Path) -> None:
        try:
            try:
                tune_once(start, scan, chosen, out, fresh=False)
            except click.ClickException as error:
                if not isinstance(error.__cause__, CheckpointError):
                    raise
                tune_once(start, scan, chosen, out, fresh=True)  # what was left is of other options
        except click.ClickException as error:
            raise TrainingError(error.message) from error

    def judge(version: Path, scan: Scan, chosen: NDArray[np.intp]) -> NDArray[np.float64]:
        return deviances(version, spec.name, scan, chosen)

    said: list[Decision] = []

    def hear(decision: Decision) -> None:
        said.append(decision)
        Console().print(table(said[-1:]))

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with watching(Place(spec.name, watched.folder, own), tune, judge, watched.still_s, hear) as watching_:
            click.echo(
                f"watching {watched.folder} for scans; versions of {spec.name} go to {own / spec.name}", err=True
            )
            _turn(watching_.turn, watched)
    except WatchError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on where this one was", err=True)
    finally:
        signal.signal(signal.SIGTERM, before)
    if said:
        Console().print(table(said))


def _turn(turn: Callable[[], bool], watched: Watched) -> None:
    idle_since = time.monotonic()
    while True:
        if turn():
            idle_since = time.monotonic()
        elif watched.once and time.monotonic() - idle_since > watched.still_s + 2 * LOOK_S:
            return
        else:
            time.sleep(LOOK_S)


def table(decisions: list[Decision]) -> Table:
    """What was decided, a line each."""
    drawn = Table("scan", "frames", "deviance", "gain (interval)", "what was decided", box=None, pad_edge=False)
    for one in decisions:
        frames, deviance, gain = "", "", ""
        if one.gain is not None:
            frames = f"{one.trained} / {one.gain.frames}" if one.trained else f"{one.gain.frames}"
            deviance = f"{one.gain.before:.4f} -> {one.gain.after:.4f}"
            gain = f"{one.gain.mean:+.4f}"
            if one.gain.low is not None and one.gain.high is not None:
                gain += f" ({one.gain.low:+.4f} to {one.gain.high:+.4f})"
        drawn.add_row(one.scan.name, frames, deviance, gain, words(one))
    return drawn


def words(decision: Decision) -> str:
    """A decision in words."""
    said = {
        "deployed": f"version {decision.version} deployed in place of {decision.base}; {NEXT_START}",
        "kept": f"version {decision.base} stays",
        "rolled_back": f"version {decision.version} set aside; version {decision.base}: {NEXT_START}",
        "confirmed": f"version {decision.version} is not worse than {decision.base} on it",
        "refused": "not used",
    }.get(decision.what, decision.what)
    return f"{said}: {decision.why}" if decision.why else said
