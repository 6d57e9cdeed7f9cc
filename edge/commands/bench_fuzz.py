"""`edge bench fuzz`: hostile inputs for everything that reads bytes of strangers."""

import os
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from edge.bench import fuzz as benchmark
from edge.bench.rows import write

SHOWN = 10
"""Findings of a reader that are printed and saved."""

HEADINGS = ("reader", "inputs", "accepted", "refused", "crash", "hang", "over- alloc", "slowest ms", "inputs /s")


@click.command()
@click.option("--inputs", type=click.IntRange(1), default=1_000_000, show_default=True, help="Of each reader.")
@click.option("--codec", "codecs", multiple=True, metavar="NAME", help="Only this one; repeat it. [default: all]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, other inputs.")
@click.option("--processes", type=click.IntRange(1), default=len(os.sched_getaffinity(0)), show_default="all cores")
@click.option("--hang-s", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Processor time of a hang.")
@click.option("--output", type=click.Path(path_type=Path), default="bench-output", show_default=True)
@click.option("--repeat", "saved", type=click.Path(exists=True, path_type=Path), help="A saved input, and only that.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the numbers to a file.")
def fuzz(saved: Path | None, output: Path, json_file: Path | None, codecs: tuple[str, ...], **numbers: Any) -> None:
    """Try to break everything that reads bytes of strangers: codecs, compressions, results, captures, geometries.

    No input may end the process, raise anything but the error that is promised, take long, or make it allocate more
    than it rightly claims. Exit code 1 where one does; the inputs are saved.
    """
    if saved is not None:
        return _repeat(saved)
    known = benchmark.names()
    if unknown := set(codecs) - set(known):
        raise click.UsageError(f"no reader is called {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    options = benchmark.Options(names=[name for name in known if name in (codecs or known)], **numbers)
    outcomes = _run(options)
    Console().print(_table(outcomes), crop=False)  # on a narrow screen lines break, numbers are never cut off
    if json_file:
        write(json_file, benchmark.rows(outcomes))
    findings = [finding for outcome in outcomes.values() for finding in outcome.findings]
    for outcome in outcomes.values():
        for finding, count in benchmark.distinct(outcome.findings)[:SHOWN]:
            click.echo(f"{finding.kind} of {finding.target}, {count} times: {finding.text}")
            click.echo(f"  {benchmark.save(finding, options, output.absolute() / 'fuzz')}")
    total = sum(outcome.inputs for outcome in outcomes.values())
    if findings:
        raise click.ClickException(f"{len(findings)} of {total} hostile inputs did what none may do")
    click.echo(f"verdict: {total} hostile inputs, no crash, no hang, no over-allocation")


def _repeat(saved: Path) -> None:
    try:
        became = benchmark.repeat(saved)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(became)
    if became.startswith(tuple(benchmark.KINDS)):
        raise click.exceptions.Exit(1)


def _run(options: benchmark.Options) -> dict[str, benchmark.Outcome]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def progress(name: str, inputs: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=options.inputs)
            bar.update(tasks[name], completed=inputs)

        return benchmark.run(options, progress)


def _table(outcomes: dict[str, benchmark.Outcome]) -> Table:
    cells = [_cells(name, outcome) for name, outcome in outcomes.items()]
    table = Table(box=None, padding=(0, 1, 0, 0))
    for at, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if at else "left", min_width=max(len(row[at]) for row in cells))
    for row in cells:
        table.add_row(*row)
    return table


def _cells(name: str, outcome: benchmark.Outcome) -> list[str]:
    counts = (outcome.inputs, outcome.taken, outcome.refused.total(), *map(outcome.count, benchmark.KINDS))
    rate = f"{outcome.inputs / outcome.seconds:.0f}" if outcome.seconds else ""
    return [name, *map(str, counts), f"{1e3 * outcome.slowest_s:.1f}", rate]
