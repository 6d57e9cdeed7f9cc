"""`edge config check`: everything that is wrong with a configuration, before a process finds out."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

from edge.config import loading
from edge.config.named_files import absent
from edge.config.problems import ConfigError, Problem
from edge.config.tables import Config


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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with all problems.")
def check(path: Path, proposal: str, day: datetime | None, as_json: bool) -> None:
    """Find everything that is wrong with a configuration.

    Settings, what they say together, and the files and folders that they name. Nothing is opened on the network, and
    nothing is made. Exit status: 0 good; 1 something is wrong.

    \b
    Example:
      edge config check -c edge.toml && edge up -c edge.toml
    """
    found: list[Problem] = []
    config: Config | None = None
    try:
        document = loading.read(path)
        config = loading.checked(document)
        config = loading.placed(config, document, day.date() if day else date.today(), proposal)
        found = document.located(list(absent(config)))
    except ConfigError as error:
        found = list(error.problems)
    if as_json:
        click.echo(json.dumps({"file": str(path), "ok": not found, "problems": [_plain(one) for one in found]}))
    elif config is not None and not found:
        click.echo(f"{path}: good; {_count(config.source, 'source')}, {_count(config.route, 'route')}")
    else:
        for problem in found:
            click.echo(str(problem), err=True)
        click.echo(f"{path}: {_count(found, 'problem')}; every setting is explained in edge/README.md", err=True)
    if found:
        raise SystemExit(1)


def _plain(problem: Problem) -> dict[str, Any]:
    return {
        "line": problem.line,
        "setting": problem.setting,
        "value": problem.found,
        "text": problem.text,
    }


def _count(things: Any, name: str) -> str:
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"
