"""`edge demo ptycho`: a scan streams through the data plane, and its picture grows."""

from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from edge.demo import ptycho as live
from edge.demo import report
from edge.demo.children import ChildError
from edge.demo.scan import PtychoScan, ScanError, judge, judge_stitched, measured, reference_on_canvas, simulated
from edge.demo.terminal import picture
from edge.scanfiles import ScanFileError
from streams.codecs import ANNOUNCED
from streams.sockets import SocketError
from streams.subscriber import NoAnswer

REDRAW_EVERY = 12
MOST_COLUMNS = 72
LINES_BELOW = 8
"""What must fit on the screen under the picture."""


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="A measured scan (.npz, .npz.bz2, .h5, .cxi).")
@click.option("--reference", type=click.Path(path_type=Path), help="A reconstruction of it to compare with.")
@click.option("--rate", type=click.FloatRange(0.1, 10_000), default=60.0, show_default=True, help="Frames a second.")
@click.option("--frames", type=click.IntRange(1), help="Send only the first frames.")
@click.option("--protocol", type=click.Choice(ANNOUNCED), default="stream-v2", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the simulated scan.")
@click.option("--output", type=click.Path(path_type=Path), default="demo-output", show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the numbers to a file.")
@click.option("--triton-url", metavar="HOST:PORT", help="Use a running Triton instead of the embedded one.")
def ptycho(data: Path | None, reference: Path | None, seed: int, frames: int | None, **options: Any) -> None:
    """Stream a ptychography scan through Triton and watch the phase image grow.

    Without --data the scan is simulated. Exit code 1 where a frame was lost.
    """
    console = Console(stderr=True)
    output: Path = options["output"]
    try:
        output.mkdir(parents=True, exist_ok=True)
        with console.status("reading the scan" if data else "simulating a scan"):
            scan = measured(data, reference, frames) if data else simulated(seed, frames)
        settings = live.Options(options["rate"], options["protocol"], output.absolute(), options["triton_url"])
        finished = _watch(scan, settings, console)
    except (ScanFileError, ScanError, ChildError, live.DemoError, NoAnswer, SocketError, OSError) as error:
        raise click.ClickException(str(error)) from error
    patches = finished.patches
    image = patches.stitcher.image()
    judged = judge(scan, patches.phases, patches.amplitudes) | judge_stitched(scan, *image)
    outcome = report.numbers(finished, judged)
    title = f"{scan.name}: {outcome['frames']['published']} of {outcome['frames']['expected']} frames"
    report.write_picture(output / "ptycho.png", image, reference_on_canvas(scan), title)
    Console().print(report.table(outcome))
    if options["json_file"]:
        report.write_json(options["json_file"], outcome)
    click.echo(f"picture: {output / 'ptycho.png'}")
    if not outcome["ledger_complete"] or outcome["lost_by_subscriber"] or outcome["without_position"]:
        raise click.ClickException(f"something was lost: see the table above and {output / 'serve.log'}")


def _watch(scan: PtychoScan, settings: live.Options, console: Console) -> live.Finished:
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
    task = bar.add_task("starting Triton", total=None)
    shown = Live(bar, console=console, refresh_per_second=8)

    def starting(addresses: dict[str, Any]) -> None:
        console.print(f"{scan.count} frames of {scan.name} at {settings.rate_hz:g} frames/s by {settings.protocol}")
        console.print(f"metrics at {addresses['metrics']}")
        bar.update(task, description="frames inferred", total=scan.count)

    def progress(patches: live.Patches) -> None:
        done = len(patches.phases)
        bar.update(task, completed=done)
        if console.is_terminal and done and (done % REDRAW_EVERY == 0 or done == scan.count):
            _, phase, _ = patches.stitcher.image()
            columns = min(MOST_COLUMNS, console.width - 2, 2 * (console.height - LINES_BELOW))
            shown.update(Group(picture(np.asarray(phase), max(columns, 16)), bar))

    with shown:
        finished = live.run(scan, settings, starting, progress)
    if not console.is_terminal:
        console.print()  # the bar ends without a line break there
    return finished
