"""`edge bench ingest`: what a frame costs from the socket into its slot."""

from pathlib import Path

import click

from edge.bench.sizing import copies
from edge.bench.sizing import ingest as benchmark
from edge.bench.sizing import ingestreport as report
from edge.bench.sizing.figures import Figure
from edge.bench.sizing.ours import Lost
from edge.bench.sizing.telling import Advance, counted, save
from edge.commands.bench_sizing import conclude, folder_for, json_option, output_option, scale_option, triton_option
from edge.demo.children import ChildError
from edge.inference.shared_memory import SharedMemoryError
from streams.sockets import SocketError

FAILURES = (ChildError, SharedMemoryError, SocketError, Lost, OSError)
COPIES = "copies_per_frame"


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True, help="Of each row: bare, then ours.")
@click.option("--row", "names", type=click.Choice((*benchmark.CASES, COPIES)), multiple=True,
              help="Only this one; may be given again. Default: all.")  # fmt: skip
@scale_option
@output_option
@json_option
@click.option("--plot", type=click.Path(path_type=Path), help="Draw CPU time a frame, bare and ours, into a png.")
@triton_option
def ingest(
    rounds: int,
    names: tuple[str, ...],
    scale: float,
    output: Path,
    json_file: Path | None,
    plot: Path | None,
    triton_file: Path | None,
) -> None:
    """Measure the CPU time that a frame takes from the socket into its slot, beside a bare pyzmq receive loop.

    Another process sends as fast as it can; this one receives in turns with a bare loop (which also copies each large
    image, and decodes each compressed one with the fastest public library) and with the objects of `edge serve`:
    receive, parse, ledger, router, slot. A row is the ratio bare / ours, the median over the rounds. copies_per_frame
    counts how often an image is copied in a whole `edge serve`; it needs a C compiler and is left out without one.
    Exit code 1 where a bar is missed.
    """
    chosen = names or (*benchmark.CASES, COPIES)
    timed = [name for name in chosen if name != COPIES]
    measured: dict[str, benchmark.Compared] = {}
    counting: list[Figure] = []
    folder = folder_for(output, "ingest")
    try:
        with counted(len(timed) * rounds + len(copies.CASES) * (COPIES in chosen)) as (describe, advance):
            for name in timed:
                describe(name)
                measured[name] = benchmark.measure(name, rounds, scale, advance)
            if COPIES in chosen:
                describe("copies")
                counting = _copies(folder, scale, triton_file, advance)
    except FAILURES as error:
        raise click.ClickException(f"{error} (logs in {folder})") from error
    found = report.figures(measured)
    by_name = {one.name: one for one in found}
    if plot and measured:
        save(report.picture(measured, by_name), plot)
    tables = [report.table(measured, by_name)] if measured else []
    conclude([*found, *counting], json_file, tables, [f"{rounds} rounds"])


def _copies(folder: Path, scale: float, triton_file: Path | None, advance: Advance) -> list[Figure]:
    images = max(10, round(copies.IMAGES * scale))
    try:
        return report.copy_figures(copies.measure(folder, images, triton_file, advance))
    except copies.NoCompiler as error:
        click.echo(f"{COPIES} is left out: {error}", err=True)
        return []
