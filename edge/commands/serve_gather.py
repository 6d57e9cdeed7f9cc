"""The process of `edge serve --workers` that gathers what the workers make.

Started by `edge.commands.serve_workers` only, as `python -m edge.commands.serve_gather`.
"""

import json
import logging
import signal
import threading
from datetime import datetime
from pathlib import Path

import click
import msgspec
from msgspec.structs import replace

from edge import config as configuration
from edge import logs
from edge.commands import service
from edge.commands.serve import CONFIG_FAILURES, FAILURES
from edge.pipeline.loop import Events
from edge.serverplan import with_models
from edge.supervision.notify import Notifier
from edge.supervision.processes import forbid_core_files, raise_file_limit
from edge.workers.assembly import gathering

log = logging.getLogger(__name__)


class Bound(msgspec.Struct):
    """Where an earlier process of this place was reached: whoever knows these addresses goes on with them."""

    results: str
    handshake: str
    metrics: str


@click.command()
@click.option("-c", "--config", "path", type=click.Path(path_type=Path), required=True)
@click.option("--workers", type=int, required=True)
@click.option("--link", "address", metavar="ADDRESS", required=True, help="Where workers connect to.")
@click.option("--models", type=click.Path(file_okay=False, path_type=Path))
@click.option("--record", default="")
@click.option("--recover", is_flag=True)
@click.option("--bound", type=click.Path(dir_okay=False, path_type=Path), required=True,
              help="Made when it serves; where it is there, another process was in this place before.")  # fmt: skip
@click.option("--proposal", default="")
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), required=True)
@click.option("--json", "as_json", is_flag=True)
@click.option("--stop-at-eof", is_flag=True)
def gather(
    path: Path,
    workers: int,
    address: str,
    models: Path | None,
    record: str,
    recover: bool,
    bound: Path,
    proposal: str,
    day: datetime,
    as_json: bool,
    stop_at_eof: bool,
) -> None:
    """Gather results."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if stop_at_eof:
        service.stop_at_eof(service.terminate)
    raise_file_limit()
    forbid_core_files()
    notifier = Notifier()
    try:
        config = with_models(configuration.load_placed(path, day.date(), proposal, record), models)
        again = bool(config.recording.folder) and (recover or bound.exists())
        with gathering(_as_before(config, bound), workers, address, again, notifier) as (loop, events, addresses):
            service.stop_on_signals(lambda: _stop(notifier, events))
            threading.excepthook = lambda failed: _stop_on_failure(failed, events)
            bound.write_bytes(msgspec.json.encode({name: addresses[name] for name in Bound.__struct_fields__}))
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


def _as_before(config: configuration.Config, place: Path) -> configuration.Config:
    """The configuration with the ports that an earlier process found free."""
    if not place.exists():
        return config
    bound = msgspec.json.decode(place.read_bytes(), type=Bound)
    metrics = bound.metrics.partition("://")[2].removesuffix("/metrics")
    results = replace(config.results, publish=bound.results, handshake=bound.handshake)
    return replace(config, results=results, metrics=replace(config.metrics, address=metrics))


def _stop(notifier: Notifier, events: Events) -> None:
    notifier.stopping()
    events.stop()


def _stop_on_failure(failed: threading.ExceptHookArgs, events: Events) -> None:
    log.critical("unexpected error in a thread", exc_info=failed.exc_value)
    events.failure = f"stopped after an unexpected error, {failed.exc_type.__name__}: {failed.exc_value}; see the log"
    events.stop()


if __name__ == "__main__":
    logs.start(logging.INFO)
    gather(prog_name="edge serve (gather)")
