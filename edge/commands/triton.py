"""`edge triton`: keeps one inference server ready, and says in a file where it is."""

import fcntl
import json
import logging
import os
import queue
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from edge import config as configuration
from edge.commands import service
from edge.inference import announcement
from edge.inference.announcement import Announcement
from edge.inference.errors import ServerError
from edge.inference.events import Event, Plan, ServerLost, ServerReady
from edge.inference.hosts import EmbeddedHost
from edge.inference.server import Running
from edge.inference.shared_memory import Namespace, SharedMemoryError
from edge.inference.supervisor import Supervisor
from edge.serverplan import models_source, served, server_options, with_models
from edge.supervision.notify import Notifier
from edge.supervision.runfolder import run_folder

log = logging.getLogger(__name__)

TURN_S = 0.5
FILE = "triton.json"


@click.command()
@click.option("-c", "--config", "path", type=click.Path(path_type=Path), default="edge.toml", show_default=True)
@click.option("--file", "file", type=click.Path(dir_okay=False, path_type=Path),
              help="Where the server is announced; default: triton.json in the run folder (up.folder).")  # fmt: skip
@click.option("--models", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Models of your own, in place of the shipped ones; overrides server.models.")  # fmt: skip
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON line when the server is ready for the first time."
)
@click.option("--stop-at-eof", is_flag=True, help="Stop when standard input closes: a parent process has ended.")
def triton(path: Path, file: Path | None, models: Path | None, as_json: bool, stop_at_eof: bool) -> None:
    """Keep a Triton server ready for the models of the configuration.

    Its address and the token for its restricted calls are in a file that only this user can read, for
    `edge serve --triton-file`. A server that dies, hangs or answers wrongly is replaced.

    Ends at Ctrl-C or SIGTERM. A second signal ends it at once.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until it is ready, both signals unwind the start
    if stop_at_eof:
        service.stop_at_eof(service.terminate)
    notifier = Notifier()
    try:
        config = with_models(_load(path), models)
        place = (file or run_folder(config.up.folder) / FILE).absolute()
        with suppress(KeyboardInterrupt), _alone(place):
            _run(config, place, as_json, notifier)
    except (ServerError, SharedMemoryError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}; choose another --file or up.folder") from error
    finally:
        notifier.stopping()
        notifier.close()


def _load(path: Path) -> configuration.Config:
    try:
        config = configuration.load(path)
        if config.server.url:
            raise configuration.ConfigError(
                f"{path}: server.url names a Triton at {config.server.url} that somebody else runs: "
                "there is none to start; remove it, or give it to `edge serve` alone"
            )
    except configuration.ConfigError as error:
        raise service.Refused(str(error)) from error
    return config


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Refuse a second one with the same file: they would take turns in it. What a killed one left is removed."""
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with place.with_name(f"{place.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerError(f"another `edge triton` announces its server in {place}: choose another --file") from None
        announcement.withdraw(place)
        try:
            yield
        finally:
            announcement.withdraw(place)


def _run(config: configuration.Config, place: Path, as_json: bool, notifier: Notifier) -> None:
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()  # None: stop
    with Namespace() as namespace:
        plan = Plan(served(config), namespace, server=server_options(config), source=models_source(config))
        notifier.status(f"starting tritonserver for {_names(plan)}")
        with Supervisor(plan, events.put) as supervisor:
            service.stop_on_signals(lambda: events.put(None))
            announcer = _Announcer(place, supervisor, notifier)
            said = False
            while supervisor.state != "stopped":
                notifier.beat()
                with suppress(queue.Empty):
                    event = events.get(timeout=TURN_S)
                    if event is None:
                        notifier.stopping()
                        announcement.withdraw(place)
                        return
                    announcer.take(event)
                if announcer.announced() and not said:
                    said = True
                    if as_json:
                        click.echo(json.dumps(announcer.facts()))
                    notifier.ready()
    raise ServerError("the supervisor of the inference server ended by an unexpected error: see the log")


class _Announcer:
    """Keeps the file as the server is."""

    def __init__(self, place: Path, supervisor: Supervisor, notifier: Notifier) -> None:
        self._place = place
        self._supervisor = supervisor
        self._notifier = notifier
        self._due: Announcement | None = None
        self._done: Announcement | None = None
        self._trouble = ""  # why the file could not be written, as it was told

    def take(self, event: Event) -> None:
        """The server is ready, or is no more."""
        if isinstance(event, ServerLost):
            self._due = self._done = None
            announcement.withdraw(self._place)
            self._notifier.status(f"restarting tritonserver: {event.reason}")
        running = self._running()
        if isinstance(event, ServerReady) and running is not None:  # None: lost again, that event is on its way
            self._due = Announcement(
                running.url,
                running.token,
                running.pid,
                running.id,
                event.epoch,
                round(time.time(), 3),
                self._supervisor.model_sha256,
            )

    def announced(self) -> bool:
        """Whether the file says that the server is ready; where it could not be written it is tried again here."""
        if self._due is None or (self._due == self._done and os.path.exists(self._place)):  # else somebody removed it
            return self._done is not None
        try:
            announcement.write(self._place, self._due)
        except OSError as error:
            text = f"{self._place} cannot be written: {error.strerror}: nobody finds the server; it is tried again"
            if text != self._trouble:  # once: it is tried twice a second
                self._trouble = text
                log.error("%s", text)
                self._notifier.status(text)
            return False
        self._done, self._trouble = self._due, ""
        log.info("%s announces tritonserver %d at %s", self._place, self._due.pid, self._due.url)
        self._notifier.status(f"tritonserver {self._due.pid} at {self._due.url}, start {self._due.epoch}")
        return True

    def facts(self) -> dict[str, Any]:
        """What `--json` prints: no token."""
        assert self._done is not None
        told = {name: getattr(self._done, name) for name in ("url", "pid", "epoch", "started")}
        host, running = self._supervisor.host, self._running()
        guardian = host.triton.guardian_pid if isinstance(host, EmbeddedHost) else None
        return told | {"metrics": running and running.metrics, "guardian": guardian, "file": str(self._place)}

    def _running(self) -> Running | None:
        host = self._supervisor.host
        return host.triton.running if isinstance(host, EmbeddedHost) else None


def _names(plan: Plan) -> str:
    return ", ".join(model for each in plan.models for model in each.variants())
