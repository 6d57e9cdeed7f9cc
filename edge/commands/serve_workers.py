"""`edge serve --workers N`: one data plane of several processes. This one starts, watches and stops them.

    triton        the inference server, unless one is named
    gather        the ledger of record, results, result files, handshake, metrics
    worker-1...N  take the frames, each its share

They need each other in this order. So a stop ends the workers first, and what they had in hand is gathered.
"""

import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import click

from edge import config as configuration
from edge.commands import service
from edge.inference.errors import ServerError
from edge.serverplan import models_source, with_models
from edge.supervision import processes
from edge.supervision.inbox import MAX_PATH
from edge.supervision.machine import Service, State
from edge.supervision.record import Record
from edge.supervision.runfolder import RunFolderError, is_held, run_folder
from edge.supervision.runner import supervise
from edge.supervision.voice import Voice
from edge.workers.derive import check

log = logging.getLogger(__name__)

START_S = 120.0
TRITON_START_S = 600.0  # engines may have to be built
WRITTEN_S = 30.0
"""How long a process may take at the end, when nothing is in flight any more."""
LAST_WORDS_S = 1.0
LINK = "link"


@dataclass(frozen=True)
class Asked:
    """The options of `edge serve` that matter here."""

    path: Path
    workers: int
    triton_url: str = ""
    triton_file: Path | None = None
    record: str = ""
    recover: bool = False
    proposal: str = ""
    day: date | None = None
    as_json: bool = False
    stop_at_eof: bool = False
    models: Path | None = None


def run(asked: Asked) -> None:
    """Serve with several processes until a signal, or the end of standard input.

    Raises:
        click.ClickException: it could not start, or not go on; the text says why.
    """
    day = asked.day or date.today()
    try:
        config = configuration.load_placed(asked.path, day, asked.proposal, asked.record)
        config = with_models(config, asked.models)
        check(config)
        if config.server.models:  # decided once, for all of them, whatever is deployed while they run
            asked = replace(asked, models=models_source(config))
    except configuration.ConfigError as error:
        raise service.Refused(str(error)) from error
    except ServerError as error:
        raise click.ClickException(str(error)) from error
    if asked.recover and not config.recording.folder:
        raise click.UsageError("nothing was recorded: --recover needs --record DIR or recording.folder")
    with _folder(config) as folder:
        teller = Teller(asked.as_json)
        record = Record(folder, str(asked.path.absolute()), config.data.proposal)
        parent = sys.stdin.fileno() if asked.stop_at_eof else None
        try:
            code, reason = supervise(services(asked, config, folder, day), folder, teller, record, parent)
        except RunFolderError as error:
            raise click.ClickException(str(error)) from error
        teller.flush(LAST_WORDS_S)
        if code == os.EX_CONFIG:
            raise service.Refused(reason)
        if code or teller.failure:
            raise click.ClickException(teller.failure or reason)


def services(asked: Asked, config: configuration.Config, folder: Path, day: date) -> tuple[Service, ...]:
    """What runs, those that are needed first. Pure."""
    named = bool(asked.triton_url or asked.triton_file or config.server.url)
    place = ("-c", str(asked.path.absolute()))
    common = (*place, "--link", f"ipc://{folder / LINK}", "--date", day.isoformat())
    common += ("--proposal", asked.proposal) if asked.proposal else ()
    common += ("--record", asked.record) if asked.record else ()
    models = ("--models", str(asked.models)) if asked.models else ()
    common += ("--recover",) if asked.recover else ()
    common += models
    common += ("--json", "--stop-at-eof")
    announced = asked.triton_file or (None if named else folder / "triton.json")
    server = ("--triton-file", str(announced)) if announced is not None else ()
    server += ("--triton-url", asked.triton_url) if asked.triton_url else ()
    bound = ("--bound", str(folder / "bound.json"))
    patience_s = config.series.drain_s + WRITTEN_S
    found: list[Service] = []
    if not named:
        argv = (*_MODULE, "edge", "triton", *place, "--file", str(announced), *models, "--json", "--stop-at-eof")
        found.append(Service("triton", argv, start_s=TRITON_START_S, patience_s=20.0))
    gather = (*_MODULE, "edge.commands.serve_gather", *common, *bound, "--workers", str(asked.workers))
    found.append(Service("gather", gather, start_s=START_S, patience_s=patience_s))
    needs = tuple(each.name for each in found)
    for number in range(1, asked.workers + 1):
        own = ("--worker", f"{number}/{asked.workers}", "--began", str(folder / f"worker-{number}.began"))
        argv = (*_MODULE, "edge.commands.serve_worker", *common, *server, *own)
        found.append(Service(f"worker-{number}", argv, needs, start_s=START_S, patience_s=patience_s))
    return tuple(found)


# -P: a `signal.py` in the working directory is not the standard library's.
_MODULE = (sys.executable, "-P", "-m")


class Teller(Voice):
    """Tells people on standard error; the one line of JSON goes to standard output."""

    def __init__(self, as_json: bool) -> None:
        super().__init__(sys.stderr.fileno(), as_json=False)
        self._print = as_json
        self._was_ready = False
        self.failure = ""

    def change(self, service: str, pid: int | None, state: str, reason: str) -> None:
        """As a single process that cannot start ends, so does this, before it was ready once."""
        super().change(service, pid, state, reason)
        if state == State.BACKING_OFF and not self._was_ready and not self.failure:
            self.failure = f"{service} {reason.partition('; restart')[0]}"
            os.kill(os.getpid(), signal.SIGTERM)

    def ready(self, facts: dict[str, dict[str, Any]]) -> None:
        """All are ready."""
        super().ready(facts)
        if not self._was_ready and self._print:
            click.echo(json.dumps(addresses(facts)))
        self._was_ready = True


def addresses(facts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What `edge serve` prints when it is ready, of what its processes printed. Pure but for our own process id."""
    gather = facts["gather"]
    workers = [told for name, told in sorted(facts.items()) if name.startswith("worker-")]
    return {**gather, "pid": os.getpid(), "gather": gather["pid"], "workers": sorted(workers, key=_number)}


def _number(worker: dict[str, Any]) -> int:
    return int(worker["worker"])


@contextmanager
def _folder(config: configuration.Config) -> Iterator[Path]:
    """Where the processes meet; for this user only. Where something went wrong it stays until the next start, for their
    logs are there.
    """
    base = run_folder(config.up.folder)
    _sweep(base)
    try:
        folder = _new_folder(base)
    except OSError as error:
        raise click.ClickException(f"cannot use the run folder {base}: {error.strerror}; set up.folder") from error
    try:
        yield folder
    except BaseException:
        click.echo(f"the logs of the processes are in {folder}", err=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _new_folder(base: Path) -> Path:
    """One that nobody had before: what a process of our number left there would be taken for that of our own.

    Raises OSError.
    """
    folder = base / f"serve-{os.getpid()}"
    if len(bytes(folder / LINK)) <= MAX_PATH:  # sockets have short names
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):  # it is in use: our number counts in our container only
            folder.mkdir(mode=0o700)
            return folder
    return Path(tempfile.mkdtemp(prefix="edge-serve-"))


def _sweep(base: Path) -> None:
    """Folders of processes that are gone, or had our own number: in a container that is often the same."""
    for left in base.glob("serve-*"):
        number = left.name.partition("-")[2]
        if not number.isdigit() or is_held(left):
            continue
        if int(number) == os.getpid() or processes.began(int(number)) is None:
            shutil.rmtree(left, ignore_errors=True)
