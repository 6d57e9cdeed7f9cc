"""`edge bench overload`: a route that drops, and whether the others notice."""

from pathlib import Path

import click
import httpx

from edge.bench.sizing import overload as benchmark
from edge.bench.sizing import overloadreport as report
from edge.bench.sizing.telling import framed
from edge.commands.bench_sizing import conclude, folder_for, json_option, output_option, triton_option
from edge.demo.children import ChildError
from streams.sockets import SocketError

FAILURES = (ChildError, SocketError, httpx.HTTPError, OSError)


@click.command()
@click.option("--frames", type=click.IntRange(100), default=1_000_000, show_default=True, help="How many.")
@output_option
@json_option
@triton_option
def overload(frames: int, output: Path, json_file: Path | None, triton_file: Path | None) -> None:
    """Send five times what the model of one route takes: it drops the rest, and the other route has to get everything.

    Two routes of one source: `ptycho` with `when_full = "drop_oldest"`, and `identity`, which drops nothing. How much
    ptycho takes is measured first. Every image has to be accounted for on both, what is dropped with its reason. Exit
    code 1 where a bar is missed.
    """
    folder = folder_for(output, "overload")
    try:
        with framed(frames) as hear:
            measured = benchmark.measure(folder, frames, triton_file, hear)
    except FAILURES as error:
        raise click.ClickException(f"{error} (logs in {folder})") from error
    found = report.figures(measured)
    told = f"{measured.rate_hz:.0f} frames/s were sent, {benchmark.TIMES} times what {benchmark.SLOW.name} takes"
    conclude(found, json_file, [report.table(measured)], [told], folder)
