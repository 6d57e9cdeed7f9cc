"""`edge demo`: complete experiments on this machine."""

import click

from edge.commands.lazy import Entry, LazyCommands

ENTRIES = {
    "ptycho": Entry("edge.commands.demo_ptycho:ptycho", "Live ptychography: the phase image grows as frames arrive."),
    "map": Entry(
        "edge.commands.demo_map:map_", "Adaptive mapping: an agent steers a Bluesky plan by what Triton finds."
    ),
}


@click.group(cls=LazyCommands, entries=ENTRIES)
def demo() -> None:
    """Run a complete experiment on this machine."""
