"""`edge bench hostile`: attacks on every port of a running system."""

import faulthandler
import logging
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from edge.bench.hostile import report, run
from edge.bench.rows import write
from edge.demo.children import ChildError
from streams.sockets import SocketError

BEYOND_S = 400.0
"""What a run may take beyond its time. Then it is broken off."""


@click.command()
@click.option("--seconds", type=click.FloatRange(min=1), default=60.0, show_default=True, help="How long.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what is sent.")
@click.option("--output", type=click.Path(path_type=Path), default="bench-output", show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the numbers to a file.")
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), envvar="EDGE_DATA",
              help="Folder with measured frames; default: EDGE_DATA, else simulated ones.")  # fmt: skip
def hostile(seconds: float, seed: int, output: Path, json_file: Path | None, data: Path | None) -> None:
    """Attack every port at which a running system listens, while a detector sends series after series.

    Garbage, wrong greetings, floods, half-open connections, broken HTTP, HTTP/2, msgpack, CBOR and JSON, oversized and
    endless messages, floods of subscriptions, absurd requests. No process may die, every series has to be complete,
    memory has to stay bounded, and counters have to tell. Exit code 1 otherwise.
    """
    folder = output.absolute() / "hostile" / datetime.now().strftime("%Y%m%dT%H%M%S")
    logging.getLogger("streams").setLevel(logging.ERROR)
    faulthandler.dump_traceback_later(seconds + BEYOND_S, exit=True)
    columns = (
        TextColumn("{task.fields[bursts]} bursts"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("starting", total=None, bursts=0)

            def hear(measured: run.Measured, what: str) -> None:
                bar.update(task, description=what, bursts=measured.attacks.total())

            measured = run.measure(folder, seconds, seed, data, hear)
    except (ChildError, SocketError, OSError) as error:
        raise click.ClickException(f"{error} (logs in {folder})") from error
    finally:
        faulthandler.cancel_dump_traceback_later()
    if json_file:
        write(json_file, report.rows(measured))
    Console(width=max(Console().width, 140)).print(report.table(measured))
    for line in report.summary(measured):
        click.echo(line)
    failures = report.failures(measured)
    if failures:
        raise click.ClickException(f"{'; '.join(failures)} (logs in {folder})")
    click.echo("verdict: nothing died, every series is complete, and the counters tell")
