"""`edge bench crash`: what a killed data plane costs."""

from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from edge.bench import crash as benchmark
from edge.bench.rows import Row, write
from edge.demo.children import ChildError
from edge.inference.errors import ServerError
from edge.results.errors import ResultFileError
from streams.recording.segments import RecordingError
from streams.simulation.simulator import SimulatorError
from streams.sockets import SocketError

FAILURES = (ChildError, ServerError, ResultFileError, RecordingError, SimulatorError, SocketError, OSError)


@click.command()
@click.option("--kills", type=click.IntRange(1), default=50, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the moments.")
@click.option("--output", type=click.Path(path_type=Path), default="bench-output", show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the numbers to a file.")
@click.option("--triton-url", metavar="HOST:PORT", help="Use a running Triton instead of one of its own.")
@click.option("--embedded", is_flag=True, help="Each start of edge serve brings a Triton of its own: slower.")
def crash(kills: int, seed: int, output: Path, json_file: Path | None, triton_url: str | None, embedded: bool) -> None:
    """Kill `edge serve` at random moments while a detector sends series after series, and count what that costs.

    It records and recovers. Every frame in its capture must have exactly one result in the result files, and exactly
    one that a subscriber was handed. Exit code 1 where one has none, two, or another's.
    """
    folder = output.absolute() / "crash" / datetime.now().strftime("%Y%m%dT%H%M%S")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("kills", total=kills)
            options = benchmark.Options(kills, seed, triton_url, embedded)
            measured = benchmark.measure(folder, options, lambda made: bar.update(task, completed=made))
    except FAILURES as error:
        raise click.ClickException(f"{error} (logs in {folder})") from error
    found = rows(measured)
    if json_file:
        write(json_file, found)
    for row in found:
        click.echo(f"{row.name:24} {row.value:>8} {row.unit if row.unit != '1' else '':2} {row.detail or ''}".rstrip())
    judged = measured.judged
    if judged.failures:
        raise click.ClickException(f"{'; '.join(judged.examples)} (captures, results and logs in {folder})")
    click.echo(f"verdict: {measured.kills} kills, {judged.frames} recorded frames, one result each")


def rows(measured: benchmark.Measured) -> list[Row]:
    """The numbers in the common form."""
    judged = measured.judged
    counts = {
        "kills": (measured.kills, f"SIGKILL; {measured.kills_at_work} of them when it was at work"),
        "unaccounted": (judged.unaccounted, "recorded frames without a result in the files, or none handed out"),
        "duplicates": (judged.duplicates, "results too many in the files, or handed out"),
        "wrong": (judged.wrong, "results that are not those of their frame"),
        "strange": (judged.strange, "results of frames that were not recorded"),
        "series": (judged.series, None),
        "frames": (judged.frames, "in the capture"),
        "unaccounted/files": (judged.unaccounted_files, None),
        "unaccounted/subscriber": (judged.unaccounted_subscriber, None),
        "duplicates/files": (judged.duplicates_files, None),
        "duplicates/subscriber": (judged.duplicates_subscriber, None),
        "repeats": (judged.repeats, "that came again after a recovery and the subscriber kept back"),
        "sent": (measured.sent, "frames"),
        "fetched and lost": (
            measured.sent - judged.frames,
            "frames that ZeroMQ had fetched for a process that was killed; the account of their series misses them",
        ),
    }
    found = [Row(name, value, "1", None, detail) for name, (value, detail) in counts.items()]
    return [*found, Row("seconds", round(measured.seconds, 1), "s")]
