"""`edge doctor`: can this machine run everything, and if not, what to do."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from edge import config as configuration
from edge.doctor import checks
from edge.inference.options import ServerOptions


@click.command()
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="Check the environment that this configuration names (server.python), not this one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def doctor(path: Path | None, as_json: bool) -> None:
    """Check that this machine can run everything. Exit code 1 where something is missing."""
    found = checks(_options(path))
    if as_json:
        click.echo(json.dumps([vars(check) for check in found], indent=2))
    else:
        table = Table("", "check", "found", "what to do")
        for check in found:
            table.add_row("[green]ok[/]" if check.ok else "[red]no[/]", check.name, check.found, check.remedy)
        Console().print(table)
    if not all(check.ok for check in found):
        raise SystemExit(1)


def _options(path: Path | None) -> ServerOptions:
    if path is None:
        return ServerOptions()
    try:
        python = configuration.load(path).server.python
    except configuration.ConfigError as error:
        raise click.ClickException(str(error)) from error
    return ServerOptions(python=Path(python)) if python else ServerOptions()
