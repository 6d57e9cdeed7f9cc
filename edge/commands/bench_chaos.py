"""`edge bench chaos`: rows of the failure table at random on a running system."""

import faulthandler
import logging
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from edge.bench.chaos import report, run
from edge.bench.chaos.settings import Options
from edge.bench.rows import write
from edge.demo.children import ChildError
from streams.sockets import SocketError

BEYOND_S = 900.0
"""What a run may take beyond its time: the start, the capacity, the last judgement. Then it is broken off."""


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0), default=30.0, show_default=True, help="How long.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of rows, moments and pauses.")
@click.option("--output", type=click.Path(path_type=Path), default="bench-output", show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the numbers to a file.")
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), envvar="EDGE_DATA",
              help="Folder with measured frames; default: EDGE_DATA, else simulated ones.")  # fmt: skip
def chaos(minutes: float, seed: int, output: Path, json_file: Path | None, data: Path | None) -> None:
    """Hurt a running system at random, while a detector sends at 70 % of its capacity, and count what that costs.

    `edge up` runs Triton, data plane and agent. Rows of the failure table are drawn one after the other. Each image
    that is sent needs one result in the files and one at the subscriber, or a reason in the account of its series. Exit
    code 1 where a bar is missed.
    """
    folder = output.absolute() / "chaos" / datetime.now().strftime("%Y%m%dT%H%M%S")
    logging.getLogger("streams").setLevel(logging.ERROR)  # of connections that we cut ourselves
    faulthandler.dump_traceback_later(60 * minutes + BEYOND_S, exit=True)
    columns = (
        TextColumn("{task.fields[faults]} faults"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("starting", total=60 * minutes, faults=0)

            def hear(measured: run.Measured, what: str) -> None:
                bar.update(task, completed=measured.seconds, description=what, faults=len(measured.struck))

            measured = run.measure(folder, Options(), minutes, seed, data, hear)
    except (ChildError, SocketError, OSError) as error:
        raise click.ClickException(f"{error} (logs in {folder})") from error
    finally:
        faulthandler.cancel_dump_traceback_later()
    if json_file:
        write(json_file, report.rows(measured))
    Console(width=max(Console().width, 120)).print(report.table(measured))
    for line in report.summary(measured):
        click.echo(line)
    failures = report.failures(measured)
    if failures:
        raise click.ClickException(f"{'; '.join(failures)} (logs in {folder})")
    click.echo("verdict: every image has its result or its reason, and nobody had to do anything")
