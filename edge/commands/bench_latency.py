"""`edge bench latency`: what the data plane adds to the time that Triton takes."""

from pathlib import Path

import click

from edge.bench.sizing import latency as benchmark
from edge.bench.sizing import latencyreport as report
from edge.bench.sizing.telling import counted, save
from edge.commands.bench_sizing import conclude, folder_for, json_option, output_option, triton_option
from edge.demo.children import ChildError
from edge.inference.requests import InferenceError
from edge.inference.shared_memory import SharedMemoryError
from streams.sockets import SocketError

FAILURES = (ChildError, InferenceError, SharedMemoryError, SocketError, OSError)


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Ours, then Triton alone.")
@click.option("--seconds", type=click.FloatRange(0.1), default=20.0, show_default=True, help="Of each side of a round.")
@click.option("--rate", "rate_hz", type=click.FloatRange(1.0, 5000.0), default=200.0, show_default=True,
              metavar="HZ", help="Frames a second.")  # fmt: skip
@output_option
@json_option
@click.option("--plot", type=click.Path(path_type=Path), help="Draw percentiles and a histogram into a png.")
@triton_option
def latency(
    rounds: int,
    seconds: float,
    rate_hz: float,
    output: Path,
    json_file: Path | None,
    plot: Path | None,
    triton_file: Path | None,
) -> None:
    """Measure what `edge serve` adds to the time that Triton takes for a frame, at a rate well below its most.

    Rounds alternate: frames of 128 x 128 through `edge serve`, from received to published, and bare requests for such a
    frame to the same Triton at the same rate, the frame in shared memory both times. A row is the median over the
    rounds of the difference of a percentile. Exit code 1 where a bar is missed.
    """
    folder = folder_for(output, "latency")
    try:
        with counted(rounds) as (describe, advance):
            describe("rounds")
            measured = benchmark.measure(folder, rounds, seconds, rate_hz, triton_file, advance)
    except FAILURES as error:
        raise click.ClickException(f"{error} (logs in {folder})") from error
    found = report.figures(measured)
    by_name = {one.name: one for one in found}
    if plot:
        save(report.picture(measured, by_name), plot)
    told = f"{rounds} rounds of {seconds:g} s at {rate_hz:g} frames/s"
    conclude(found, json_file, [report.table(by_name)], [told], folder)
