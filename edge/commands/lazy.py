"""Command groups that import a subcommand when it is asked for: quick help, and extras stay optional."""

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click


class Entry(NamedTuple):
    """Where a subcommand is, what it does in a line, and the extra that it needs."""

    target: str  # "module:attribute"
    text: str
    extra: str | None = None


class LazyCommands(click.Group):
    """A group whose subcommands are the `entries` given to it."""

    def __init__(self, *args: Any, entries: Mapping[str, Entry], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self._entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self._entries.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if entry.extra is None:
                raise
            raise click.ClickException(
                f"{ctx.command_path} {cmd_name} needs {error.name}: pip install 'detector-edge[{entry.extra}]'"
            ) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.text) for name, entry in self._entries.items()])
