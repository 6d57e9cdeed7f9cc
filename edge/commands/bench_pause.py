"""`edge bench pause`: how soon a pause is honoured."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from edge.bench import pause as benchmark
from edge.bench import report
from edge.bench.rows import write
from edge.demo.children import ChildError
from edge.demo.map import Options
from edge.experiment.errors import AgentFailed, DetectorError, PointFailed
from streams.subscriber import NoAnswer

MOST_POINTS = 200
"""Of one run."""


@click.command()
@click.option("--pauses", type=click.IntRange(1), default=200, show_default=True, help="How many.")
@click.option("--limit-ms", type=click.FloatRange(0.0), default=50.0, show_default=True, help="The bar for each pause.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of moments, sample and agent.")
@click.option("--output", type=click.Path(path_type=Path), default="bench-output", show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the numbers to a file.")
@click.option("--triton-url", metavar="HOST:PORT", help="Use a running Triton instead of the embedded one.")
def pause(
    pauses: int, limit_ms: float, seed: int, output: Path, json_file: Path | None, triton_url: str | None
) -> None:
    """Pause a running adaptive map at random moments, and measure how soon each pause is honoured.

    Everything is at work: a simulated detector, inference, a RunEngine, an agent that thinks and trains. Exit code 1
    where a pause took longer than the limit, or cost or doubled a point.
    """
    console = Console(stderr=True)
    folder = output.absolute() / "pause" / datetime.now().strftime("%Y%m%dT%H%M%S")
    before = os.getloadavg()[0]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        options = Options(seed, MOST_POINTS, "stream-v2", folder, triton_url)
        measured = _measure(options, pauses, console)
    except (ChildError, DetectorError, PointFailed, AgentFailed, NoAnswer, OSError) as error:
        raise click.ClickException(f"{error} (logs in {folder})") from error
    outcome = report.numbers(measured, limit_ms, (before, os.getloadavg()[0]))
    Console().print(report.table(outcome))
    for line in report.summary(outcome):
        click.echo(line)
    if json_file:
        write(json_file, report.rows(outcome))
    failures = report.failures(outcome)
    if failures:
        raise click.ClickException(f"{'; '.join(failures)} (documents and logs in {folder})")
    click.echo(f"verdict: all {outcome['pauses']} pauses were honoured within {limit_ms:g} ms")


def _measure(options: Options, pauses: int, console: Console) -> benchmark.Measured:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, redirect_stdout=False) as bar:
        task = bar.add_task("starting Triton", total=None)

        def starting(addresses: Any) -> None:
            bar.reset(task, description="pauses", total=pauses)

        return benchmark.measure(options, pauses, starting, lambda made: bar.advance(task))
