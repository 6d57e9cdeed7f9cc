"""`edge serve`: runs the data plane."""

import json
import logging
import signal
import threading
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import click

from edge import config as configuration
from edge.assembly import data_plane
from edge.commands import service
from edge.inference.errors import ServerError
from edge.inference.shared_memory import SharedMemoryError
from edge.pipeline.loop import Events
from edge.results.errors import ResultFileError
from edge.serverplan import with_models
from edge.supervision.notify import Notifier
from edge.supervision.processes import forbid_core_files, raise_file_limit
from streams.recording.writer import RecordingError
from streams.sockets import KeysError, SocketError

log = logging.getLogger(__name__)

FAILURES = (SocketError, ServerError, SharedMemoryError, ResultFileError, RecordingError)
CONFIG_FAILURES = (configuration.ConfigError, KeysError)


@click.command()
@click.option("-c", "--config", "path", type=click.Path(path_type=Path), default="edge.toml", show_default=True)
@click.option(
    "--triton-url", metavar="HOST:PORT", default="", help="gRPC address of a running Triton; overrides server.url."
)
@click.option("--triton-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Where `edge triton` on this machine announces its server.")  # fmt: skip
@click.option("--models", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Models of your own, in place of the shipped ones; overrides server.models.")  # fmt: skip
@click.option("--record", type=click.Path(file_okay=False), metavar="DIR", default="",
              help="Keep raw messages there, a capture for each source; overrides recording.folder.")  # fmt: skip
@click.option("--recover", is_flag=True, help="First finish what an earlier process recorded and did not finish.")
@click.option("--proposal", default="", metavar="NAME", help="Whose data are taken; overrides data.proposal.")
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), metavar="YYYY-MM-DD",
              help="The day that {date} and {year} stand for in folders; default: today.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True,
              help="Processes that share the frames of each source; results are as of one.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line with the real addresses when ready.")
@click.option("--stop-at-eof", is_flag=True, help="Stop when standard input closes: a parent process has ended.")
def serve(
    path: Path,
    triton_url: str,
    triton_file: Path | None,
    models: Path | None,
    record: str,
    recover: bool,
    proposal: str,
    day: datetime | None,
    workers: int,
    as_json: bool,
    stop_at_eof: bool,
) -> None:
    """Run the data plane: frames in, inference, results out.

    Ends at Ctrl-C or SIGTERM, after the frames in flight. A second signal ends it at once. Exit code 78: the
    configuration cannot be used.
    """
    if triton_url and triton_file:
        raise click.UsageError("--triton-url or --triton-file, not both")
    if workers > 1:
        from edge.commands import serve_workers  # its processes import this module

        today = day.date() if day else None
        asked = serve_workers.Asked(
            path, workers, triton_url, triton_file, record, recover, proposal, today, models=models
        )
        serve_workers.run(replace(asked, as_json=as_json, stop_at_eof=stop_at_eof))
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until the loop runs, both signals unwind the start
    if stop_at_eof:
        service.stop_at_eof(service.terminate)
    raise_file_limit()  # a flood of connections must not take the descriptors of files
    forbid_core_files()
    notifier = Notifier()
    try:
        config = configuration.load_placed(path, day.date() if day else date.today(), proposal, record)
        config = with_models(config, models)
        if recover and not config.recording.folder:
            raise click.UsageError("nothing was recorded: --recover needs --record DIR or recording.folder")
        if triton_url:
            configuration.host_and_port(triton_url, "--triton-url")
        triton = triton_file or triton_url or config.server.url
        notifier.status("starting")
        with data_plane(config, triton, recover, notifier) as (loop, events, addresses):
            service.stop_on_signals(lambda: _stop(notifier, events))
            threading.excepthook = lambda failed: _stop_on_failure(failed, events)
            log.info("ready: %s", ", ".join(f"{name} {address}" for name, address in addresses.items()))
            if as_json:
                click.echo(json.dumps(addresses))
            notifier.ready()
            loop.run()
        if events.failure:
            raise click.ClickException(events.failure)
    except CONFIG_FAILURES as error:
        raise service.Refused(str(error)) from error
    except FAILURES as error:
        raise click.ClickException(str(error)) from error
    finally:
        notifier.stopping()
        notifier.close()


def _stop(notifier: Notifier, events: Events) -> None:
    notifier.stopping()
    events.stop()


def _stop_on_failure(failed: threading.ExceptHookArgs, events: Events) -> None:
    """A thread that ends by an unexpected error ends the process in order: whoever started it may start it anew."""
    log.critical("unexpected error in a thread", exc_info=failed.exc_value)
    events.failure = f"stopped after an unexpected error, {failed.exc_type.__name__}: {failed.exc_value}; see the log"
    events.stop()
