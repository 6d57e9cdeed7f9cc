"""`edge record`: keeps the raw messages of a source, to be replayed."""

import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import click
from rich.console import Console
from rich.progress import Progress, TextColumn

from edge import config as configuration
from edge.commands.secured import keys_option
from streams import sockets
from streams.bounds import MAX_PARTS
from streams.codecs import DECODERS
from streams.recording.segments import Facts, RecordingError
from streams.recording.writer import CaptureWriter

log = logging.getLogger(__name__)

INCOMPLETE = 3
SYNC_S = 1.0
"""How often what was recorded is brought to the disk: what a power cut may cost. A killed recorder loses nothing."""

WAIT_MS = 100
"""Longest single wait, so that a signal is answered."""


@dataclass
class Summary:
    """What was recorded in one call."""

    folder: str
    source: str
    protocol: str
    address: str
    messages: int = 0
    megabytes: float = 0.0  # of the records
    seconds: float = 0.0  # since the first message
    lost: int = 0  # messages that the disk did not take
    cut: int = 0  # messages of more parts than are kept of one
    removed_segments: int = 0  # by the quota

    def line(self) -> str:
        """In words."""
        lost = f"; {self.lost} were LOST because the disk refused them" if self.lost else ""
        lost += f"; {self.cut} were CUT after {MAX_PARTS} parts" if self.cut else ""
        gone = f"; {self.removed_segments} old segments were removed to keep the quota" if self.removed_segments else ""
        rate = self.messages / self.seconds if self.seconds else 0.0
        return (
            f"recorded {self.messages} messages of {self.source} in {self.folder}: {self.megabytes:.1f} MB in "
            f"{self.seconds:.1f} s, {rate:.1f} messages/s{lost}{gone}"
        )


@dataclass(frozen=True)
class Limits:
    """When to stop by itself."""

    messages: int | None
    seconds: float | None


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-c", "--config", type=click.Path(path_type=Path), help="Record a source of this configuration.")
@click.option("--source", "name", metavar="NAME", help="Which one; also the name that the capture gets without -c.")
@click.option("--protocol", type=click.Choice(list(DECODERS)), help="Without -c: what the detector speaks.")
@click.option("--connect", metavar="ADDRESS", help="Without -c: where the detector sends, tcp://HOST:PORT.")
@click.option("--bind", metavar="ADDRESS", help="Without -c: where a detector that connects is awaited.")
@click.option("--socket", type=click.Choice(get_args(sockets.Pattern)), default="pull", show_default=True,
              help="Without -c: how to listen.")  # fmt: skip
@keys_option
@click.option("--plain", is_flag=True, help="Without -c: the detector cannot encrypt, and may be beyond this machine.")
@click.option("--quota", type=click.FloatRange(min=0, min_open=True), default=16.0, show_default=True, metavar="GIB",
              help="Keep at most so much; the oldest messages go.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so long.")
@click.option("--messages", type=click.IntRange(min=1), help="Stop after so many messages.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def record(
    folder: Path,
    config: Path | None,
    quota: float,
    seconds: float | None,
    messages: int | None,
    as_json: bool,
    keys: Path | None,
    plain: bool,
    **given: str | None,
) -> None:
    """Record the raw messages of a detector in FOLDER, as they come.

    It IS a consumer of the stream: a detector's PUSH deals its messages round robin, so where a file writer or
    `edge serve` listens on the same port, each would get some of the frames only, and so would the capture. There, put
    `edge tee` in front and record its copy; or let `edge serve --record` keep what it takes in. Stop the detector
    before the recorder: what ZeroMQ had fetched ahead when it stops (up to 64 messages) is in no file.

    Ends at Ctrl-C, at SIGTERM, or as told. Exit status: 0; 3 where messages were lost or cut; 1 where it could not
    record.

    \b
    Examples:
      edge record --plain --protocol stream-v2 --connect tcp://eiger:31001 captures/eiger
      edge record -c edge.toml --source eiger captures/eiger --seconds 60
    """
    if config and (keys or plain):
        raise click.UsageError("-c FILE says how it is secured; leave out --keys and --plain")
    source, folder_of_keys = _of_config(config, given) if config else (_of_options(given, plain), keys)
    stop = _stop_at_signals()
    try:
        with sockets.context(keys=sockets.keys_of(folder_of_keys)) as ctx:
            socket = sockets.source(ctx, source.socket)
            address = socket.bind(source.address, source.plain) if source.bind else source.address
            with CaptureWriter(folder, _facts(source), int(quota * 2**30)) as writer:
                if not source.bind:
                    socket.connect(address, source.plain)
                summary = Summary(str(folder), source.name, source.protocol, address)
                _record(socket, writer, summary, Limits(messages, seconds), stop)
    except (sockets.SocketError, RecordingError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(asdict(summary)) if as_json else summary.line())
    sys.exit(INCOMPLETE if summary.lost or summary.cut else 0)


def _of_config(path: Path, given: dict[str, str | None]) -> tuple[configuration.Source, str]:
    """The source, and the folder of keys."""
    if given["protocol"] or given["connect"] or given["bind"]:
        raise click.UsageError("-c FILE says protocol and address; leave out --protocol, --connect and --bind")
    try:
        loaded = configuration.load(path)
    except configuration.ConfigError as error:
        raise click.ClickException(str(error)) from error
    sources = {source.name: source for source in loaded.source}
    name = given["name"] or (next(iter(sources)) if len(sources) == 1 else None)
    if name not in sources:
        raise click.UsageError(f"name one of the sources of {path} by --source: {', '.join(sources)}")
    return sources[name], loaded.security.keys


def _of_options(given: dict[str, str | None], plain: bool) -> configuration.Source:
    address = given["connect"] or given["bind"]
    if not given["protocol"] or not address or (given["connect"] and given["bind"]):
        raise click.UsageError("say what to record: -c FILE, or --protocol with either --connect or --bind")
    try:
        configuration.check_address(address, "--connect" if given["connect"] else "--bind")
    except configuration.ConfigError as error:
        raise click.UsageError(str(error)) from error
    return configuration.Source(
        name=given["name"] or "detector",
        protocol=given["protocol"],
        address=address,
        bind=bool(given["bind"]),
        socket=given["socket"],  # pyright: ignore[reportArgumentType]  # click has checked it
        plain=plain,
    )


def _facts(source: configuration.Source) -> Facts:
    program = f"edge record {version('detector-edge')}"
    return Facts(source.name, source.protocol, source.socket, source.options, program)


def _stop_at_signals() -> threading.Event:
    stop = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stop.set())
    return stop


def _record(
    socket: sockets.Receiving, writer: CaptureWriter, summary: Summary, limits: Limits, stop: threading.Event
) -> None:
    began, first, failing = time.monotonic(), None, False
    with _syncing(writer), _progress() as shown:
        shown.console.print(f"recording {summary.protocol} from {summary.address} in {summary.folder}")
        task = shown.add_task("", total=None)
        while not stop.is_set() and writer.messages + writer.lost != limits.messages:
            now = time.monotonic()
            if limits.seconds is not None and now - began >= limits.seconds:
                break
            parts = socket.receive(WAIT_MS)
            socket.peers.poll()
            if parts is not None:
                first = first or now
                summary.cut += len(parts) > MAX_PARTS
                failing = _append(writer, parts, failing)
            summary.messages, summary.lost = writer.messages, writer.lost
            summary.megabytes, summary.seconds = writer.bytes / 1e6, now - (first or now)
            shown.update(task, description=summary.line())
    summary.removed_segments = writer.removed_segments


def _append(writer: CaptureWriter, parts: list[memoryview], failing: bool) -> bool:
    """Record one message; whether the disk refuses, which is said when it begins and when it is over."""
    try:
        writer.append(parts, time.time_ns())
    except RecordingError as error:
        if not failing:
            log.error("%s; it is tried again each second", error)
        return True
    if failing:
        log.warning("recording goes on")
    return False


@contextmanager
def _syncing(writer: CaptureWriter) -> Iterator[None]:
    """Bring the capture to the disk each second, by a thread of its own: a disk may stall for seconds."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(SYNC_S):
            try:
                writer.sync()
            except RecordingError as error:
                log.error("not brought to the disk: %s", error)

    thread = threading.Thread(target=run, name="capture-sync", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _progress() -> Progress:
    console = Console(stderr=True, highlight=False)
    return Progress(TextColumn("{task.description}"), console=console, disable=not console.is_terminal, transient=True)
