"""`edge demo map`: the whole loop on a simulated sample."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from edge.demo import map as mapping
from edge.demo import mapreport
from edge.demo.children import ChildError
from edge.demo.judgement import Judged, judge, truth_of
from edge.demo.report import write_json
from edge.demo.terminal import nearest, picture
from edge.experiment.errors import AgentFailed, DetectorError, PointFailed
from edge.physics.bragg import bragg_sample
from edge.simulate.beamline import MONITOR_RATE_HZ
from streams.codecs import ANNOUNCED
from streams.subscriber import NoAnswer

MOST_COLUMNS = 56
LINES_BELOW = 6
"""What must fit on the screen under the picture."""


@click.command("map")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the sample, noise and agent.")
@click.option(
    "--points", type=click.IntRange(12, 5000), default=100, show_default=True, help="That the agent may choose."
)
@click.option("--protocol", type=click.Choice(ANNOUNCED), default="stream-v2", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default="demo-output", show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the numbers to a file.")
@click.option("--triton-url", metavar="HOST:PORT", help="Use a running Triton instead of the embedded one.")
def map_(seed: int, points: int, output: Path, json_file: Path | None, **options: Any) -> None:
    """Let an agent steer a Bluesky plan over a simulated sample, and compare with a raster and Sobol points.

    Measures the sample three times, for the same beam time: where the agent suggests, along a snake raster, and along
    a short tour of Sobol points. Exit code 1 where a frame was lost or a plan failed.
    """
    console = Console(stderr=True)
    folder = output.absolute() / "map" / datetime.now().strftime("%Y%m%dT%H%M%S")
    truth = truth_of(bragg_sample(seed), mapping.SPACE, MONITOR_RATE_HZ)
    judged: list[Judged] = []
    shown = _Screen(console)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        settings = mapping.Options(seed, points, options["protocol"], folder, options["triton_url"])
        with shown.live:
            for scan in mapping.run(settings, shown.starting, shown.hear):
                judged.append(judge(scan, mapping.SPACE, truth))
    except (ChildError, DetectorError, PointFailed, AgentFailed, NoAnswer, OSError) as error:
        raise click.ClickException(f"{error} (logs in {folder})") from error
    if not console.is_terminal:
        console.print()  # the bars end without a line break there
    outcome = mapreport.numbers(judged)
    mapreport.write_picture(
        output / "map.png", truth, judged, f"simulated sample {seed}: Bragg photons per monitor count"
    )
    Console().print(mapreport.table(outcome))
    if json_file:
        write_json(json_file, outcome)
    click.echo(f"picture: {output / 'map.png'}")
    click.echo(f"documents, raw frames and results (edge results FILE): {folder}")
    failed = [one.scan.strategy for one in judged if one.scan.exit_status != "success"]
    if failed or not outcome["ledger_complete"]:
        raise click.ClickException(f"something was lost: see the table above and the logs in {folder}")


class _Screen:
    """A progress bar for each strategy, and on a terminal the map as it is measured."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._console = console
        self._bar = Bar(*columns, console=console)
        self._task = self._bar.add_task("starting Triton", total=None)
        self._strategy = ""
        self._drawn = 0
        self.live = Live(self._bar, console=console, refresh_per_second=8)

    def starting(self, addresses: Mapping[str, Any]) -> None:
        self._console.print(f"metrics at {addresses['metrics']}")
        self._bar.remove_task(self._task)

    def hear(self, progress: mapping.Progress) -> None:
        done = len(progress.values)
        if progress.strategy != self._strategy:
            self._strategy, self._drawn = progress.strategy, 0
            self._task = self._bar.add_task(f"points, {progress.strategy}", total=progress.points)
        if done == self._drawn:
            return
        self._drawn = done
        self._bar.update(self._task, completed=done)
        if self._console.is_terminal:
            side = max(16, min(MOST_COLUMNS, self._console.width - 2, 2 * (self._console.height - LINES_BELOW)))
            image = nearest(np.array(progress.positions), np.array(progress.values), side)
            self.live.update(Group(picture(image, side, "viridis"), self._bar))
