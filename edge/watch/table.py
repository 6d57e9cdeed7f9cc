"""The board as a table in a terminal of 80 columns or more."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from edge.watch.board import Row

COLOURS = {"complete": "green", "incomplete": "red", "unknown": "yellow"}


def table(rows: Sequence[Row], note: str, troubles: Sequence[str] = ()) -> Group:
    """One line for each source on each route; below, what needs room: verdicts, values, `troubles`, `note`."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("source", "route", "series", "received", "results", "missing", "Hz", "p50/p99 ms"):
        drawn.add_column(heading, justify="left" if heading in ("source", "route") else "right", no_wrap=True)
    for row in rows:
        drawn.add_row(*_cells(row))
    verdicts = [line for row in rows for line in _below(row)] if rows else [Text("no series yet")]
    return Group(drawn, *verdicts, *(Text(text, style="red") for text in troubles), Text(note, style="dim"))


def _cells(row: Row) -> list[str]:
    latency = "" if row.latency_ms is None else f"{row.latency_ms[0]:.1f}/{row.latency_ms[1]:.1f}"
    missing = "" if row.missing is None else f"[red]{row.missing}[/]" if row.missing else "0"
    return [
        row.source,
        row.route,
        f"{row.series_id}" if row.open else f"{row.series_id} closed",
        f"{'?' if row.received is None else row.received} / {'?' if row.expected is None else row.expected}",
        f"{row.published}" + (f" [red]({row.lost} lost)[/]" if row.lost else ""),
        missing,
        f"{row.rate_hz:.1f}",
        latency,
    ]


def _below(row: Row) -> Iterator[Text]:
    said = [Text(f"{count} {verdict}", COLOURS.get(verdict, "white")) for verdict, count in row.verdicts.items()]
    said += [Text(f"newest result: {row.values}")] if row.values else []
    said += [Text(f"untrained: {', '.join(row.untrained)}", "red")] if row.untrained else []
    if said:
        yield Text(f"{row.source} on {row.route}: ") + Text(", ").join(said)
