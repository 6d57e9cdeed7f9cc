"""`edge agent`: the adaptive-sampling agent as a process of its own."""

import click

from edge.commands.lazy import Entry, LazyCommands

ENTRIES = {
    "serve": Entry("edge.commands.agent_serve:serve", "Run the agent for experiments that ask over ZeroMQ."),
    "ping": Entry("edge.commands.agent_ping:ping", "Ask whether it runs, since when, and what it has in hand."),
}


@click.group(cls=LazyCommands, entries=ENTRIES)
def agent() -> None:
    """The adaptive-sampling agent as a process of its own."""
