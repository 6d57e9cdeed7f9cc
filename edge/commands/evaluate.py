"""`edge evaluate`: judges the shipped models on measured data."""

import click

from edge.commands.lazy import Entry, LazyCommands

ENTRIES = {
    "ptycho": Entry("edge.training.evaluate_ptycho:evaluate_ptycho", "Against a reference reconstruction.", "server"),
}


@click.group(cls=LazyCommands, entries=ENTRIES)
def evaluate() -> None:
    """Judge the shipped models on measured data (needs the extra `server`)."""
