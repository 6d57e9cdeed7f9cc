"""`edge watch`: runs the data plane beside a detector and shows what becomes of its frames."""

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from edge import config as configuration
from edge.commands import service
from edge.demo.children import ChildError, child
from edge.watch.board import Board
from edge.watch.logtail import LogTail
from edge.watch.scrape import arrived, scraped, unread
from edge.watch.view import View, view
from streams.sockets import Keys, SocketError, context, keys_of
from streams.subscriber import NoAnswer, Subscriber

EXIT_INCOMPLETE = 3
TURN_S = 0.1
SCRAPE_S = 1.0
LAST_LINES = 6
SERVE_LOG = "serve.log"  # of `edge.demo.children`


class ServeEnded(RuntimeError):
    """The data plane ended by itself."""


@click.command()
@click.option("-c", "--config", "path", type=click.Path(path_type=Path), default="edge.toml", show_default=True)
@click.option("--triton-url", metavar="HOST:PORT", help="gRPC address of a running Triton; overrides server.url.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line for each series on each route, at its end.")
def watch(path: Path, triton_url: str | None, as_json: bool) -> None:
    """Run the data plane beside a detector and show what becomes of its frames.

    It is passive: it infers and publishes what comes, and never moves a motor, arms or sets anything. Ends at Ctrl-C or
    SIGTERM, after the frames in flight. Exit code 3: a series was incomplete.

    \b
    Example:
      edge init --detector http://10.42.41.10
      edge watch
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until it is ready, both signals unwind the start
    board = Board()
    arguments = ["-c", str(path.absolute()), *(["--triton-url", triton_url] if triton_url else [])]
    try:
        keys = keys_of(configuration.load(path).security.keys)
        with tempfile.TemporaryDirectory(prefix="edge-watch-") as folder:
            lost = _watch(arguments, keys, Path(folder), board, as_json)
    except (ChildError, NoAnswer, ServeEnded, SocketError, configuration.ConfigError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(_summary(board, lost), err=as_json)
    if board.incomplete:
        sys.exit(EXIT_INCOMPLETE)


def _watch(arguments: list[str], keys: Keys | None, folder: Path, board: Board, as_json: bool) -> int:
    """Show until it is interrupted, and then until the data plane has ended; results that did not reach us."""
    click.echo("starting the data plane and its inference server", err=True)
    with ExitStack() as stack:
        serving = stack.enter_context(ExitStack())
        addresses = serving.enter_context(child("serve", arguments, folder))
        results = _subscribed(stack, addresses, keys, folder)
        stop = threading.Event()
        service.stop_on_signals(stop.set)
        note = f"results {addresses['results']}, handshake {addresses['handshake']}, metrics {addresses['metrics']}"
        click.echo(f"watching ({note}); Ctrl-C ends it", err=True)
        with view(as_json, note) as shown:
            following = _Following(results, board, shown, addresses["metrics"], LogTail(folder / SERVE_LOG))
            while not stop.is_set():
                following.turn()
                _still_there(addresses, folder)
            _follow_to_the_end(serving, following)
        return results.lost


def _subscribed(stack: ExitStack, addresses: Mapping[str, Any], keys: Keys | None, folder: Path) -> Subscriber:
    try:
        ctx = stack.enter_context(context(keys=keys))
        return stack.enter_context(Subscriber(ctx, addresses["handshake"], from_start=True))
    except NoAnswer:
        _still_there(addresses, folder)
        raise


def _still_there(addresses: Mapping[str, Any], folder: Path) -> None:
    """Raises ServeEnded where the data plane is not."""
    if _has_ended(addresses["pid"]):
        raise ServeEnded(f"edge serve ended by itself; it said: {_last_words(folder / SERVE_LOG)}")


class _Following:
    """Takes results in and shows them, a turn at a time."""

    def __init__(self, results: Subscriber, board: Board, shown: View, metrics: str, log: LogTail) -> None:
        self._results, self._board, self._shown = results, board, shown
        self._metrics, self._log = metrics, log
        self._scraped_at = 0.0

    def turn(self, scrape: bool = True) -> bool:
        """Take in what came, for `TURN_S` at least; whether anything did."""
        until, came = time.monotonic() + TURN_S, False
        while (left := until - time.monotonic()) > 0:
            received = self._results.receive(left)
            if received is not None:
                came = True
                self._board.take(*received)
                self._shown.notice(received[0])
        for line in self._log.new():
            self._shown.warning(line)
        if scrape and time.monotonic() - self._scraped_at >= SCRAPE_S:
            self._scraped_at = time.monotonic()
            page = scraped(self._metrics)
            self._board.arrived(arrived(page))
            self._board.unread(unread(page))
        self._shown.refresh(self._board)
        return came


def _follow_to_the_end(serving: ExitStack, following: _Following) -> None:
    """Stop the data plane, and take in the accounts that it publishes on its way out."""
    closing = threading.Thread(target=serving.close, name="closing")
    closing.start()
    while closing.is_alive():
        following.turn(scrape=False)
    closing.join()
    while following.turn(scrape=False):
        pass


def _has_ended(pid: int) -> bool:
    """Whether our child has ended; it is not reaped here."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-LAST_LINES:]) or "nothing"


def _summary(board: Board, lost: int) -> str:
    lanes = sorted(board.lanes.items())
    said = [
        f"{source} on {route}: {sum(lane.verdicts.values())} series "
        f"({', '.join(f'{count} {verdict}' for verdict, count in lane.verdicts.items()) or 'none'}), "
        f"{lane.published} results"
        for (source, route), lane in lanes
    ]
    said += [f"{lost} results did not reach this display; result files and other subscribers may have them"] * (
        lost > 0
    )
    return "\n".join((said or ["no series came"]) + board.troubles)
