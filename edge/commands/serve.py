"""`edge serve`: runs the data plane."""

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import click
import msgspec

from edge import config as configuration
from edge.assembly import data_plane
from edge.inference.errors import ServerError
from edge.inference.shared_memory import SharedMemoryError
from edge.pipeline.loop import Events
from edge.results.errors import ResultFileError
from streams.recording.writer import RecordingError
from streams.sockets import SocketError

log = logging.getLogger(__name__)

FAILURES = (
    configuration.ConfigError,
    SocketError,
    ServerError,
    SharedMemoryError,
    ResultFileError,
    RecordingError,
)


@click.command()
@click.option("-c", "--config", "path", type=click.Path(path_type=Path), default="edge.toml", show_default=True)
@click.option("--triton-url", metavar="HOST:PORT", help="gRPC address of a running Triton; overrides server.url.")
@click.option("--record", type=click.Path(file_okay=False), metavar="DIR",
              help="Keep raw messages there, a capture for each source; overrides recording.folder.")  # fmt: skip
@click.option("--recover", is_flag=True, help="First finish what an earlier process recorded and did not finish.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line with the real addresses when ready.")
@click.option("--stop-at-eof", is_flag=True, help="Stop when standard input closes: a parent process has ended.")
def serve(
    path: Path, triton_url: str | None, record: str | None, recover: bool, as_json: bool, stop_at_eof: bool
) -> None:
    """Run the data plane: frames in, inference, results out.

    Ends at Ctrl-C or SIGTERM, after the frames in flight. A second signal ends it at once.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until the loop runs, both signals unwind the start
    if stop_at_eof:
        threading.Thread(target=_signal_at_eof, name="parent-watch", daemon=True).start()
    try:
        config = configuration.load(path)
        if record:
            recording = msgspec.structs.replace(config.recording, folder=record)
            config = msgspec.structs.replace(config, recording=recording)
        if recover and not config.recording.folder:
            raise click.UsageError("nothing was recorded: --recover needs --record DIR or recording.folder")
        if triton_url:
            configuration.host_and_port(triton_url, "--triton-url")
        with data_plane(config, triton_url or config.server.url, recover) as (loop, events, addresses):
            _stop_on_signals(events)
            threading.excepthook = lambda failed: _stop_on_failure(failed, events)
            log.info("ready: %s", ", ".join(f"{name} {address}" for name, address in addresses.items()))
            if as_json:
                click.echo(json.dumps(addresses))
            loop.run()
        if events.failure:
            raise click.ClickException(events.failure)
    except FAILURES as error:
        raise click.ClickException(str(error)) from error


def _stop_on_signals(events: Events) -> None:
    def stop(signum: int, _: Any) -> None:
        if events.stop_requested:  # asked twice: at once
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        events.stop()

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)


def _stop_on_failure(failed: threading.ExceptHookArgs, events: Events) -> None:
    """A thread that ends by an unexpected error ends the process in order: whoever started it may start it anew."""
    log.critical("unexpected error in a thread", exc_info=failed.exc_value)
    events.failure = f"stopped after an unexpected error, {failed.exc_type.__name__}: {failed.exc_value}; see the log"
    events.stop()


def _signal_at_eof() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
