"""`edge captures`: what was recorded."""

import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.recording.reader import CaptureSummary, survey
from streams.recording.segments import RecordingError, segments

DAMAGED = 3


@click.command()
@click.argument("folders", metavar="FOLDER...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--verify", is_flag=True, help="Read every byte and compare checksums, instead of trusting the indexes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a capture.")
def captures(folders: tuple[Path, ...], verify: bool, as_json: bool) -> None:
    """Show what the captures in FOLDERs hold; one that holds folders of captures stands for all of them.

    Exit status: 0; 3 where something is damaged, torn or was lost; 1 where one cannot be read.
    """
    console, status = Console(), 0
    for folder in (inner for outer in folders for inner in _captures_in(outer)):
        try:
            found = survey(folder, verify=verify)
        except RecordingError as error:
            click.echo(f"Error: {error}", err=True)
            status = 1
            continue
        if as_json:
            click.echo(msgspec.json.encode({"folder": str(folder), "verified": verify, **_plain(found)}))
        else:
            _show(folder, found, console)
        if status == 0 and (found.damaged_bytes or found.torn_bytes or found.lost or found.missing_segments):
            status = DAMAGED
    sys.exit(status)


def _captures_in(folder: Path) -> list[Path]:
    """The folder itself, or those below it that are captures where it is none."""
    if not folder.is_dir() or segments(folder):
        return [folder]
    return sorted(inner for inner in folder.iterdir() if inner.is_dir() and segments(inner)) or [folder]


def _plain(found: CaptureSummary) -> dict[str, object]:
    return msgspec.to_builtins(found)


def _show(folder: Path, found: CaptureSummary, console: Console) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(found):
        table.add_row(name, value)
    console.print(Text(str(folder), style="bold"))
    console.print(table)


def _rows(found: CaptureSummary) -> list[tuple[str, Text]]:
    facts = found.facts
    rows = [("messages", f"{found.messages} in {_segments(found.segments)}, {found.bytes / 1e6:.1f} MB")]
    if facts is not None:
        options = "".join(f", {name} = {value!r}" for name, value in facts.options.items())
        rows.insert(0, ("source", f"{facts.source}: {facts.protocol}, {facts.socket}{options}"))
        rows.append(("recorded by", f"{facts.program} on {facts.host}"))
    if found.first_ns is not None and found.last_ns is not None:
        span = (found.last_ns - found.first_ns) / 1e9
        rows.append(("received", f"{_date(found.first_ns)} to {_date(found.last_ns)}, {span:.3f} s"))
    plain = [(name, Text(value)) for name, value in rows]
    if found.marks:
        plain.append(("marks", Text(f"{found.marks}{_unfinished(found.last_mark)}")))
    wrong = {
        "lost": found.lost and f"{found.lost} messages that the disk did not take",
        "damage": found.damaged_bytes and f"{found.damaged_bytes} bytes hold no whole record",
        "torn ends": found.torn_bytes and f"{found.torn_bytes} bytes: a writer was killed there, or is writing now",
        "missing": found.missing_segments and f"{_segments(found.missing_segments)} between the oldest and the newest",
    }
    return plain + [(name, Text(str(text), style="red")) for name, text in wrong.items() if text]


def _segments(count: int) -> str:
    return f"{count} segment" + "s" * (count != 1)


def _unfinished(mark: Mapping[str, Any]) -> str:
    """What `edge serve` noted last of the series that it worked on; what came since is behind it."""
    unfinished = mark.get("open")
    if not isinstance(unfinished, list):
        return ""
    return f"; at the last one {len(unfinished) or 'no'} series waited for results"


def _date(wall_ns: int) -> str:
    try:
        return datetime.fromtimestamp(wall_ns / 1e9).astimezone().isoformat(sep=" ", timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return f"{wall_ns} ns"
