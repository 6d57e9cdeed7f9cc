"""One worker of `edge serve --workers`: a data plane whose results and facts go to the process that gathers them.

Started by `edge.commands.serve_workers` only, as `python -m edge.commands.serve_worker`.
"""

import json
import logging
import signal
import threading
from datetime import date, datetime
from pathlib import Path

import click

from edge import config as configuration
from edge import logs
from edge.assembly import data_plane
from edge.commands import service
from edge.commands.serve import CONFIG_FAILURES, FAILURES
from edge.pipeline.loop import Events
from edge.serverplan import with_models
from edge.supervision.notify import Notifier
from edge.supervision.processes import forbid_core_files, raise_file_limit
from edge.workers.derive import of_worker
from edge.workers.link import Link
from streams.ledger.shares import read_share

log = logging.getLogger(__name__)


@click.command()
@click.option("-c", "--config", "path", type=click.Path(path_type=Path), required=True)
@click.option("--worker", "share", metavar="I/N", required=True, help="Which worker of how many this is.")
@click.option("--link", "address", metavar="ADDRESS", required=True, help="Where results are gathered.")
@click.option("--triton-url", default="")
@click.option("--triton-file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--models", type=click.Path(file_okay=False, path_type=Path))
@click.option("--record", default="")
@click.option("--recover", is_flag=True)
@click.option("--began", type=click.Path(dir_okay=False, path_type=Path), required=True,
              help="Made when it serves; where it is there, another process was in this place before.")  # fmt: skip
@click.option("--proposal", default="")
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), required=True)
@click.option("--json", "as_json", is_flag=True)
@click.option("--stop-at-eof", is_flag=True)
def worker(
    path: Path,
    share: str,
    address: str,
    triton_url: str,
    triton_file: Path | None,
    models: Path | None,
    record: str,
    recover: bool,
    began: Path,
    proposal: str,
    day: datetime,
    as_json: bool,
    stop_at_eof: bool,
) -> None:
    """Serve a share of the frames."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if stop_at_eof:
        service.stop_at_eof(service.terminate)
    raise_file_limit()
    forbid_core_files()
    notifier = Notifier()
    try:
        ours = read_share(share)
        assert ours is not None
        config = of_worker(with_models(_load(path, day.date(), proposal, record), models), ours.part, ours.of)
        records = bool(config.recording.folder)
        link = Link(address, ours, records)
        again = records and (recover or began.exists())
        notifier.status("starting")
        with data_plane(config, triton_file or triton_url or config.server.url, again, notifier, link) as parts:
            loop, events, addresses = parts
            service.stop_on_signals(lambda: _stop(notifier, events))
            threading.excepthook = lambda failed: _stop_on_failure(failed, events)
            began.touch()
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


def _load(path: Path, day: date, proposal: str, record: str) -> configuration.Config:
    return configuration.load_placed(path, day, proposal, record)


def _stop(notifier: Notifier, events: Events) -> None:
    notifier.stopping()
    events.stop()


def _stop_on_failure(failed: threading.ExceptHookArgs, events: Events) -> None:
    log.critical("unexpected error in a thread", exc_info=failed.exc_value)
    events.failure = f"stopped after an unexpected error, {failed.exc_type.__name__}: {failed.exc_value}; see the log"
    events.stop()


if __name__ == "__main__":
    logs.start(logging.INFO)
    worker(prog_name="edge serve (worker)")
