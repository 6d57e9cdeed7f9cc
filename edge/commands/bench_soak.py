"""`edge bench soak`: millions of frames, and whether anything grows, is lost or is mistaken."""

from pathlib import Path

import click
import httpx

from edge.bench.sizing import soak as benchmark
from edge.bench.sizing import soakreport as report
from edge.bench.sizing.proc import NoProcess
from edge.bench.sizing.telling import framed, save
from edge.commands.bench_sizing import conclude, folder_for, json_option, output_option, triton_option
from edge.demo.children import ChildError
from streams.sockets import SocketError

FAILURES = (ChildError, NoProcess, SocketError, httpx.HTTPError, OSError)


@click.command()
@click.option("--frames", type=click.IntRange(100), default=10_000_000, show_default=True, help="How many.")
@click.option("--shape", type=(click.IntRange(2, 4096), click.IntRange(2, 4096)), default=(128, 128),
              show_default=True, metavar="HEIGHT WIDTH")  # fmt: skip
@click.option("--dtype", type=click.Choice(("uint8", "uint16")), default="uint8", show_default=True)
@click.option("--check-every", "checked", type=click.IntRange(1), default=101, show_default=True,
              help="Which results are compared with their image: each n-th.")  # fmt: skip
@click.option("--faults", is_flag=True, help="Mix in bad input, unload the model, kill Triton.")
@click.option("--strikes", type=click.IntRange(0), default=10, show_default=True,
              help="At Triton, with --faults.")  # fmt: skip
@output_option
@json_option
@click.option("--plot", type=click.Path(path_type=Path), help="Draw memory over frames into a png.")
@triton_option
def soak(
    frames: int,
    shape: tuple[int, int],
    dtype: str,
    checked: int,
    faults: bool,
    strikes: int,
    output: Path,
    json_file: Path | None,
    plot: Path | None,
    triton_file: Path | None,
) -> None:
    """Send millions of frames through one `edge serve` and a real Triton: does it grow, lose or mistake any?

    All accounts of all series are added up, results are compared with their images, and resident memory at the end is
    compared with that after 100 thousand frames (judged where a million or more are sent). With --faults series come in
    between whose images are larger than the memory, change their shape or type, or arrive cut short; the model is
    unloaded and Triton is killed; at the end every slot has to be free. Exit code 1 where a bar is missed.
    """
    options = benchmark.Options(frames, shape, dtype, checked, faults, strikes)
    folder = folder_for(output, "soak")
    try:
        with framed(frames) as hear:
            measured = benchmark.measure(folder, options, triton_file, hear)
    except FAILURES as error:
        raise click.ClickException(f"{error} (logs in {folder})") from error
    found = report.figures(measured, options)
    if plot:
        save(report.picture(measured), plot)
    conclude(found, json_file, [report.table(measured, options)], report.summary(measured), folder)
