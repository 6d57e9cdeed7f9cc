"""`edge bench`: measures on this machine what the product promises."""

import click

from edge.commands.lazy import Entry, LazyCommands

ENTRIES = {
    "pause": Entry("edge.commands.bench_pause:pause", "How soon a pause of a running adaptive map is honoured."),
}


@click.group(cls=LazyCommands, entries=ENTRIES)
def bench() -> None:
    """Measure on this machine what is promised."""
