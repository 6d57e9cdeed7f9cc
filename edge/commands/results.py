"""`edge results`: what a result file holds; and a file built of a log that was left behind."""

import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge.results.build import build
from edge.results.errors import ResultFileError
from edge.results.reader import summarise_file
from edge.results.summary import Summary, summarise_log

INCOMPLETE = 3
SHOWN_HOLES = 6
LATENCIES = ("p50", "p99", "max")


@click.command()
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--build", "build_first", is_flag=True, help="FILES are logs: build their result files, then show them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file.")
@click.option("--quick", is_flag=True, help="Leave out statistics: do not read every value.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the signal of a single file into this picture.")
def results(files: tuple[Path, ...], build_first: bool, as_json: bool, quick: bool, plot: Path | None) -> None:
    """Show what result FILES (.h5) or their logs (.log) hold.

    Exit status: 0 all complete; 3 one is incomplete, or nobody knows; 1 one cannot be read.
    """
    if plot and len(files) > 1:
        raise click.UsageError("--plot draws a single file")
    console, status = Console(), 0
    for path in files:
        try:
            if build_first:
                path = build(path).file
            summary = summarise_log(path) if path.suffix == ".log" else summarise_file(path, statistics=not quick)
            if plot:
                from edge.results.picture import draw  # matplotlib takes longer to import than a file to show

                draw(path, plot)
        except ResultFileError as error:
            click.echo(f"Error: {error}", err=True)
            status = 1
            continue
        if as_json:
            click.echo(msgspec.json.encode(summary))
        else:
            _show(summary, console)
        if status == 0 and summary.verdict != "complete":
            status = INCOMPLETE
    sys.exit(status)


def _show(summary: Summary, console: Console) -> None:
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(summary):
        facts.add_row(name, value if isinstance(value, Text) else Text(value))
    console.print(Text(summary.file, style="bold"), soft_wrap=True)
    console.print(facts)
    if not summary.datasets:
        return
    table = Table(
        "channel", "dataset", "shape", "dtype", "units", "least", "mean", "greatest", box=None, pad_edge=False
    )
    table.columns[1].overflow = "fold"
    for one in summary.datasets:
        shape = "x".join(map(str, one.shape))
        numbers = ("-" if value is None else f"{value:.6g}" for value in (one.low, one.mean, one.high))
        table.add_row(*map(Text, (one.channel, one.name, shape, one.dtype, one.units, *numbers)))
    console.print(table)


def _facts(summary: Summary) -> list[tuple[str, str | Text]]:
    colour = {"complete": "green", "incomplete": "red"}.get(summary.verdict, "yellow")
    rows: list[tuple[str, str | Text]] = [
        ("verdict", Text(summary.verdict, style=colour)),
        ("edge serve said", f"{summary.served_verdict} ({summary.reason})" if summary.reason else "nothing: no end"),
        ("series", f"{summary.series_id} of {summary.source} ({summary.series_uid})"),
        ("route", summary.route + _model(summary)),
        ("time", f"{summary.start} to {summary.end}"),
        ("images", _counts(summary)),
    ]
    for channel in summary.channels:
        holes = ", ".join(_run(start, stop) for start, stop in channel.holes[:SHOWN_HOLES])
        more = " ..." if len(channel.holes) > SHOWN_HOLES else ""
        without = f"; none for images {holes}{more}" if holes else ""
        rows.append((channel.name, f"{channel.stored} results for {channel.rows} images{without}"))
    if summary.latency_ms:
        names = [name for name in LATENCIES if name in summary.latency_ms]
        rows.append(("latency", ", ".join(f"{name} {summary.latency_ms[name]:.3g} ms" for name in names)))
    rows += _remarks(summary)
    if summary.raw:
        rows.append(("raw frames", _raw(summary)))
    return rows


def _model(summary: Summary) -> str:
    """Told by results only."""
    return f": {summary.model} {summary.model_version} ({summary.model_sha256[:12]})" if summary.model else ""


def _run(start: int, stop: int) -> str:
    return f"{start}" if stop == start + 1 else f"{start} to {stop - 1}"


def _counts(summary: Summary) -> str:
    expected = "unknown" if summary.images is None else str(summary.images)
    told = {name: summary.arrivals.get(name) for name in ("received", "missing", "late", "refused")}
    if summary.arrivals.get("absent"):
        told["absent"] = summary.arrivals["absent"]
    told["published"] = summary.account.get("published")
    counts = ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)
    return f"expected {expected} of each channel" + (f"; {counts}" if counts else "")


def _remarks(summary: Summary) -> list[tuple[str, str]]:
    remarks = []
    if summary.starts > 1:
        remarks.append(("starts", f"edge serve was started {summary.starts} times within the series"))
    lost = [
        f"{count} {outcome} ({reason})"
        for outcome in ("dropped", "failed", "unpublished")
        for reason, count in (summary.account.get(outcome) or {}).items()
    ]
    lost += [f"{unwanted} not for this route"] if (unwanted := summary.account.get("unwanted")) else []
    if lost:
        remarks.append(("without result", ", ".join(lost)))
    if detector := summary.detector:
        said = f"it dropped {detector['dropped']} images itself"
        if detector["explained"] or detector["lost"]:
            said += f"; of the missing ones {detector['explained']} are among them, "
            said += f"{detector['lost']} were lost on the way or never taken"
        remarks.append(("detector", said))
    if summary.suspicion:
        remarks.append(("suspicion", summary.suspicion))
    if summary.untrained:
        reasons = "; ".join(summary.untrained.reasons)
        remarks.append(("untrained", f"{summary.untrained.results} results: {reasons}"))
    if missing := summary.positions.get("missing"):
        reasons = ", ".join(f"{count} x {reason}" for reason, count in missing.items())
        remarks.append(("positions", f"{summary.positions['joined']} results have one; of the others {reasons}"))
    for reason, count in summary.refused.items():
        remarks.append(("not in the file", f"{count} x {reason}"))
    if summary.damaged_bytes:
        remarks.append(("damage", f"{summary.damaged_bytes} bytes of the log were unreadable"))
    if summary.torn_bytes:
        remarks.append(("torn end", f"{summary.torn_bytes} bytes at the end of the log were never finished"))
    if summary.kind == "log":
        remarks.append(("to do", "this is a log: the same command with --build makes a file of it"))
    return remarks


def _raw(summary: Summary) -> str:
    raw = summary.raw
    assert raw is not None
    if not raw.resolves:
        return f"{raw.file} is not there (yet): its writer may still be at it"
    if raw.data_files_absent:
        return f"{raw.file}: {raw.data_files_absent} of {raw.data_files} data files are not there (yet)"
    return f"{raw.file}: all there" + (f", {raw.data_files} data files" if raw.data_files else "")
