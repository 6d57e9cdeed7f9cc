"""`edge config show`: every setting that is in force."""

import json
from datetime import date, datetime
from pathlib import Path

import click

from edge.config import loading, showing
from edge.config.problems import ConfigError


@click.command()
@click.option("-c", "--config", "path", type=click.Path(path_type=Path), default="edge.toml", show_default=True)
@click.option("--proposal", default="", metavar="NAME", help="In place of data.proposal.")
@click.option(
    "--date",
    "day",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="What {year} and {date} stand for.  [default: today]",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object: each setting, its value, and whether it is the default.",
)
def show(path: Path, proposal: str, day: datetime | None, as_json: bool) -> None:
    """Show every setting that is in force, as TOML that could be used in place of the file.

    What nobody wrote is marked `# default`. Output folders are shown as they are used today.

    Exit status: 0; 1 where the configuration cannot be used.
    """
    try:
        document = loading.read(path)
        config = loading.checked(document)
        config = loading.placed(config, document, day.date() if day else date.today(), proposal)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    rows = showing.rows(config, document.plain)
    if as_json:
        settings = {row.setting: {"value": row.value, "default": row.default} for row in rows}
        click.echo(json.dumps({"file": str(path), "settings": settings}))
    else:
        click.echo(f"# {path}, with every setting that is in force")
        click.echo(showing.as_text(rows), nl=False)
