"""`edge tee`: stands in front of a file writer and gives `edge serve` a copy. Imports no more than it needs."""

import json
import logging
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from typing import Any, Literal

import click

from edge.commands.secured import keys_option
from streams.sockets import (
    Context,
    Relay,
    SocketError,
    WakeUp,
    beyond_loopback,
    context,
    keys_of,
    ready,
    relay_from,
    relay_to,
)
from streams.tee import Counts, Tee

EXIT_INCOMPLETE = 3
COPY_LINGER_MS = 200
"""How long the last copy may take to leave at the end."""

LOG_LINES = 1_000
"""Kept for a terminal or journal that does not take them; what comes then is not logged."""


@dataclass(frozen=True)
class Ends:
    """The three ends, as the command line names them."""

    source: str
    writer: str
    copy: str
    socket: Literal["pull", "sub"]
    bind_from: bool
    connect_writer: bool
    connect_copy: bool
    queue: int
    plain: bool


@click.command()
@click.option("--from", "source", required=True, metavar="ADDRESS", help="The detector, e.g. tcp://10.0.0.1:9999.")
@click.option("--writer", required=True, metavar="ADDRESS", help="Where the file writer connects, e.g. 'tcp://*:9999'.")
@click.option(
    "--copy", required=True, metavar="ADDRESS", help="Where `edge serve` connects, e.g. tcp://127.0.0.1:9998."
)
@click.option("--socket", type=click.Choice(["pull", "sub"]), default="pull", show_default=True,
              help="How the detector sends: pull from its PUSH, or subscribe to its PUB.")  # fmt: skip
@click.option("--bind-from", is_flag=True, help="Wait for the detector to connect, instead of connecting to it.")
@click.option("--connect-writer", is_flag=True, help="Connect to the writer, instead of waiting for it.")
@click.option("--connect-copy", is_flag=True, help="Connect to `edge serve`, instead of waiting for it.")
@keys_option
@click.option("--plain", is_flag=True,
              help="Speak to detector and writer beyond this machine, although neither can encrypt.")  # fmt: skip
@click.option("--queue", type=click.IntRange(1, 10_000), default=4, show_default=True, metavar="MESSAGES",
              help="Room on the way in and out: more is faster, and more is lost in a crash.")  # fmt: skip
@click.option("--copy-mib", type=click.IntRange(1, 1 << 20), default=256, show_default=True,
              help="Memory for copies that wait; what finds no room there, or waits for 1 s, is dropped.")  # fmt: skip
@click.option("--patience", type=click.FloatRange(0, 3600), default=5.0, show_default=True, metavar="SECONDS",
              help="When stopped: how long what has arrived may take to reach the writer.")  # fmt: skip
@click.option("--every", type=click.FloatRange(0.1, 86400), metavar="SECONDS", help="Print the counters so often.")
@click.option("--metrics", metavar="HOST:PORT", help="Serve the counters to Prometheus; port 0 takes a free one.")
@click.option("--json", "as_json", is_flag=True,
              help="Print JSON lines: the real addresses when ready, then counters, last the summary.")  # fmt: skip
def tee(
    copy_mib: int,
    patience: float,
    every: float | None,
    metrics: str | None,
    as_json: bool,
    keys: Path | None,
    **ends: Any,
) -> None:
    """Stand between a detector and its file writer, and give `edge serve` a copy of every message.

    The writer gets everything, byte for byte, and is waited for; the copy gets what it takes at once. The writer
    connects to this command instead of to the detector.

    Detectors and their writers speak in plain; beyond this machine that needs --plain, and a network of their own. With
    --keys the copy is encrypted, for `edge serve` with the same keys.

    Ends at Ctrl-C or SIGTERM, when what has arrived was passed on; a second signal ends it at once. Exit code 3: the
    writer did not take the last message.

    \b
    Example:
      edge tee --plain --from tcp://10.0.0.1:9999 --writer 'tcp://*:9999' --copy tcp://127.0.0.1:9998
    """
    with ExitStack() as stack:
        stack.enter_context(_unblocked_logging())
        wake_up = WakeUp()
        stack.callback(wake_up.close)
        try:
            ctx = stack.enter_context(context(3, keys_of(keys)))  # threads: sending copies slows nothing else
            source, writer, copy, addresses = _open(ctx, Ends(**ends))
            one = Tee(
                source, writer, copy, lambda taking, giving, ms: ready(taking, giving, wake_up, ms), copy_mib << 20
            )
            if metrics:
                addresses["metrics"] = _serve_metrics(metrics, one.counts, keys, stack)
        except SocketError as error:
            raise click.ClickException(str(error)) from error
        stack.callback(writer.close, int(patience * 1000))
        stack.callback(copy.close, COPY_LINGER_MS)
        _stop_on_signals(one, wake_up)
        _say({"ready": addresses} if as_json else f"passing on: {_told(addresses)}", as_json)
        if every:
            threading.Thread(target=_report, args=(one.counts, every, as_json), name="report", daemon=True).start()
        left = one.run(patience)
    _say({"summary": one.counts.as_dict() | {"left": left}} if as_json else _line(one.counts), as_json)
    if left:
        click.echo("the writer did not take the last message", err=True)
        sys.exit(EXIT_INCOMPLETE)


def _open(ctx: Context, ends: Ends) -> tuple[Relay, Relay, Relay, dict[str, str]]:
    """The three ends; the detector's last, so that nothing arrives before the others are there."""
    writer, copy = relay_to(ctx, ends.queue, 0), relay_to(ctx, 1, 1)
    source = relay_from(ctx, ends.socket, ends.queue, 2)
    for option, address in (("--writer", ends.writer), ("--from", ends.source)):
        if address.startswith("tcp://") and beyond_loopback(address) and not ends.plain:
            raise SocketError(
                f"{option} {address}: others than this machine can read it, for neither detectors nor their writers "
                "encrypt; say --plain where that network is theirs alone"
            )
    addresses = {"writer": writer.open(ends.writer, not ends.connect_writer, plain=True)}
    addresses["copy"] = copy.open(ends.copy, not ends.connect_copy)
    addresses["from"] = source.open(ends.source, ends.bind_from, plain=True)
    return source, writer, copy, addresses


def _serve_metrics(address: str, counts: Counts, keys: Path | None, stack: ExitStack) -> str:
    from edge.commands.tee_metrics import serve_tee_metrics  # only those who scrape need it
    from edge.http.access import access_for

    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise click.UsageError(f"--metrics: {address!r} is not HOST:PORT")
    host = host.strip("[]")
    access = access_for(host, "--metrics", str(keys or ""))
    return f"{stack.enter_context(serve_tee_metrics(counts, (host, int(port)), access))}/metrics"


def _stop_on_signals(one: Tee, wake_up: WakeUp) -> None:
    def stop(signum: int, _: Any) -> None:
        signal.signal(signum, signal.SIG_DFL)  # asked twice: at once
        one.stop()
        wake_up.set()

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)


@contextmanager
def _unblocked_logging() -> Iterator[None]:
    """Lines are written by a thread of their own: a terminal that is paused must not hold up the writer."""
    root = logging.getLogger()
    handlers, waiting = list(root.handlers), queue.Queue[Any](LOG_LINES)
    listener = QueueListener(waiting, *handlers)
    logging.raiseExceptions, root.handlers = False, [QueueHandler(waiting)]
    listener.start()
    try:
        yield
    finally:
        root.handlers = handlers
        stopper = threading.Thread(target=listener.stop, daemon=True)
        stopper.start()
        stopper.join(1.0)


def _report(counts: Counts, every: float, as_json: bool) -> None:
    while True:
        time.sleep(every)
        _say({"counters": counts.as_dict()} if as_json else _line(counts), as_json)


def _say(what: Any, as_json: bool) -> None:
    """A line on standard output; nobody may be there to read it."""
    with suppress(OSError):
        click.echo(json.dumps(what) if as_json else what)


def _told(addresses: dict[str, str]) -> str:
    return ", ".join(f"{name} {address}" for name, address in addresses.items())


def _line(counts: Counts) -> str:
    return (
        f"{counts.received} messages received ({counts.received_bytes / 1e6:.1f} MB), {counts.written} to the writer, "
        f"{counts.copied} copies, {counts.dropped} copies dropped; {counts.writer_wait_s:.1f} s held for the writer"
    )
