"""`edge config`: checks a configuration, and shows it whole."""

import click

from edge.commands.lazy import Entry, LazyCommands

ENTRIES = {
    "check": Entry("edge.commands.config_check:check", "Find everything that is wrong with a configuration."),
    "show": Entry("edge.commands.config_show:show", "Show every setting that is in force, defaults too."),
}


@click.group(cls=LazyCommands, entries=ENTRIES)
def config() -> None:
    """Check or show a configuration."""
