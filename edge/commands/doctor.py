"""`edge doctor`: can this machine run everything, and if not, what to do."""

import json

import click
from rich.console import Console
from rich.table import Table

from edge.doctor import checks


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def doctor(as_json: bool) -> None:
    """Check that this machine can run everything. Exit code 1 where something is missing."""
    found = checks()
    if as_json:
        click.echo(json.dumps([vars(check) for check in found], indent=2))
    else:
        table = Table("", "check", "found", "what to do")
        for check in found:
            table.add_row("[green]ok[/]" if check.ok else "[red]no[/]", check.name, check.found, check.remedy)
        Console().print(table)
    if not all(check.ok for check in found):
        raise SystemExit(1)
