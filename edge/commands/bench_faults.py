"""`edge bench faults`: is the account the truth, whatever goes wrong?"""

import logging
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from threadpoolctl import threadpool_limits

from edge.bench import faults as benchmark
from edge.bench.faultreport import legend, markdown, table
from edge.bench.faulttable import ORDERS
from edge.bench.rows import write
from streams.codecs import PROTOCOLS


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=20, show_default=True, help="Runs of each cell.")
@click.option("--protocol", "protocols", multiple=True, type=click.Choice(list(PROTOCOLS)), help="Only this one.")
@click.option("--fault", "chosen", multiple=True, type=click.Choice(list(ORDERS)), help="Only this one.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the numbers to a file."
)
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the table as streams/simulation/README.md has it.")
def faults(
    seeds: int, protocols: tuple[str, ...], chosen: tuple[str, ...], json_file: Path | None, as_markdown: bool
) -> None:
    """Order every fault in every protocol, and hold the account of losses against what was really sent.

    Everything between the wire and the slots is the code that `edge serve` runs. Exit code 1 where an account is not
    the truth, or claims what it cannot know.
    """
    names, orders = protocols or tuple(PROTOCOLS), chosen or tuple(ORDERS)
    logging.getLogger("edge.pipeline.intake").setLevel(logging.ERROR)  # each damaged message is told there
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    found: list[benchmark.Cell] = []
    # One thread: OpenMP's others only spin over images as small as these.
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar, threadpool_limits(1):
        task = bar.add_task("cells", total=len(names) * len(orders))
        for cell in benchmark.cells(names, orders, seeds):
            found.append(cell)
            bar.advance(task)
    wrong = [mismatch for cell in found for mismatch in cell.mismatches]
    for mismatch in wrong:
        click.echo(f"mismatch: {mismatch}")
    if as_markdown:
        click.echo(markdown(found))
    else:
        Console(width=max(Console().width, 112)).print(table(found))
        click.echo(legend())
    runs = sum(cell.runs for cell in found)
    if not runs:
        raise click.UsageError(
            "none of these faults can be ordered in these protocols: `edge bench faults` shows which can"
        )
    click.echo(f"{runs} runs of {sum(bool(cell.runs) for cell in found)} cells: {len(wrong)} mismatches")
    if json_file is not None:
        try:
            write(json_file, benchmark.rows(found))
        except OSError as error:
            raise click.ClickException(f"cannot write {json_file}: {error.strerror}") from error
    if wrong:
        raise click.exceptions.Exit(1)
