"""`edge bench pipeline`: what a frame costs from the wire to its published result."""

from pathlib import Path

import click

from edge.bench.sizing import pipeline as benchmark
from edge.bench.sizing import pipelinereport as report
from edge.bench.sizing.figures import Figure
from edge.bench.sizing.telling import counted
from edge.commands.bench_sizing import conclude, folder_for, json_option, output_option, scale_option, triton_option
from edge.demo.children import ChildError
from edge.models import ptycho
from streams.sockets import SocketError

FAILURES = (ChildError, SocketError, OSError)
MODELS = ("identity", "ptycho")


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True, help="Of identity: bare, then ours.")
@click.option("--ptycho-rounds", type=click.IntRange(1), default=5, show_default=True,
              help="Of ptycho, which takes longer.")  # fmt: skip
@click.option("--model", "models", type=click.Choice(MODELS), multiple=True, help="Only this one. Default: both.")
@click.option("--protocol", type=click.Choice(("stream-v2", "simplon-v1")), default="stream-v2", show_default=True,
              help="What the sender of identity's frames speaks.")  # fmt: skip
@scale_option
@output_option
@json_option
@triton_option
def pipeline(
    rounds: int,
    ptycho_rounds: int,
    models: tuple[str, ...],
    protocol: str,
    scale: float,
    output: Path,
    json_file: Path | None,
    triton_file: Path | None,
) -> None:
    """Measure what a frame costs `edge serve`, from the wire to its published result, beside what it cannot do without.

    `identity`: CPU time of the process of `edge serve` a frame, over that of a bare receive loop. `ptycho`: frames a
    second, over those of ONNX Runtime in one process with the same graph, batch and threads. Rounds alternate, a row is
    the median of their ratios. Exit code 1 where a bar is missed.
    """
    chosen = models or MODELS
    turns = {"identity": rounds, "ptycho": ptycho_rounds}
    found: list[Figure] = []
    folder = folder_for(output, "pipeline")
    try:
        with counted(sum(turns[model] for model in chosen)) as (describe, advance):
            if "identity" in chosen:
                describe("identity")
                sides = benchmark.identity(folder, rounds, scale, protocol, triton_file, advance)
                found += report.identity_figures(*sides, protocol)
            if "ptycho" in chosen:
                describe("ptycho")
                sides = benchmark.of_ptycho(folder, ptycho_rounds, scale, triton_file, advance)
                found += report.ptycho_figures(*sides, ptycho.SPEC.max_batch, benchmark.THREADS)
    except FAILURES as error:
        raise click.ClickException(f"{error} (logs in {folder})") from error
    told = ", ".join(f"{turns[model]} rounds of {model}" for model in chosen)
    conclude(found, json_file, [report.table({one.name: one for one in found})], [told], folder)
