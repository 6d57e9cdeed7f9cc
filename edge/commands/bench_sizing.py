"""What the commands that size a machine have in common: options, and how they end."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click
from rich.table import Table

from edge.bench.rows import write
from edge.bench.sizing.figures import Figure, missed
from edge.bench.sizing.telling import judged, machine_line, tables_console

output_option = click.option(
    "--output", type=click.Path(path_type=Path), default="bench-output", show_default=True, help="Folder for logs."
)
json_option = click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the numbers to a file.")
scale_option = click.option(
    "--scale",
    type=click.FloatRange(0.0, 100.0, min_open=True),
    default=1.0,
    show_default=True,
    help="Part of the frames of a round.",
)
triton_option = click.option(
    "--triton-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Where an `edge triton` announces a running server that has the models; default: one of its own.",
)


def folder_for(output: Path, name: str) -> Path:
    """A folder for the logs of this run, made now.

    Raises:
        click.ClickException: it cannot be made.
    """
    folder = output.absolute() / name / datetime.now().strftime("%Y%m%dT%H%M%S")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}; choose another --output") from error
    return folder


def conclude(
    found: Sequence[Figure],
    json_file: Path | None,
    tables: Sequence[Table],
    lines: Sequence[str],
    folder: Path | None = None,
) -> None:
    """Write and print what was measured, where it was, and what it is judged to be.

    Raises:
        click.ClickException: a bar is missed.
    """
    if json_file:
        write(json_file, [one.row() for one in found])
    console = tables_console()
    for table in (*tables, judged(found)):
        console.print(table)
    for line in (*lines, machine_line()):
        click.echo(line)
    if failures := missed(found):
        raise click.ClickException("; ".join(failures) + (f" (logs in {folder})" if folder else ""))
