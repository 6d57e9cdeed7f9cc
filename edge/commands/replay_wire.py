"""What both kinds of `edge replay` share: the detector's end of the wire."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streams import sockets
from streams.codecs import PROTOCOLS
from streams.simulation.faults import Faults

LINGER_MS = 10_000
"""How long the last messages may take to leave after the command is done with them."""


@dataclass(frozen=True)
class Secured:
    """What stands between the detector and others than its receivers."""

    keys: Path | None = None  # a folder
    plain: bool = False


@contextmanager
def bound(address: str, pattern: sockets.Pattern, secured: Secured) -> Iterator[tuple[sockets.Sending, str]]:
    """A detector's socket and its real address; leaving it waits for the last messages to leave too.

    Args:
        pattern: how its receivers listen.

    Raises:
        SocketError: the address cannot be bound, or the keys cannot be used.
    """
    with sockets.context(keys=sockets.keys_of(secured.keys)) as ctx:
        socket = sockets.detector(ctx, pattern)
        yield socket, socket.bind(address, secured.plain)
        socket.close(LINGER_MS)


def check_possible(faults: Faults, protocol: str) -> None:
    """Refuse faults of messages that the protocol does not have: they would be obeyed by doing nothing.

    Raises:
        ValueError: naming one.
    """
    traits = PROTOCOLS[protocol]
    absent = {"no-start", "late-start"} if not traits.start else set[str]()
    absent |= {"no-end", "early-end"} if not traits.end else set()
    for order in faults.orders:
        if order.name in absent:
            raise ValueError(f"--fault {order.name}: a {protocol} stream has no such message")


def awaiting(address: str, pattern: sockets.Pattern) -> str:
    """What is said while nobody is there."""
    return f"waiting for a receiver on {address}; it has to listen by {pattern} (--socket)"


def progress_bar(console: Console) -> Progress:
    """How much of it has left; nothing where no terminal is."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)
