"""`edge replay`: sends a measured scan as a detector would, so that all behind it can be tried without a beam."""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge.scanfiles import Origin, Scan, ScanFileError, open_scan
from streams import sockets
from streams.codecs import DEFAULT_PORTS, ENCODERS
from streams.messages import Acquisition, Compression
from streams.simulator import OnWire, Sender, Simulation, SimulatorError

LINGER_MS = 10_000
"""How long the last messages may take to leave after the command is done with them."""


@dataclass(frozen=True)
class Options:
    """What the command line said; the names are those of its options."""

    protocol: str
    bind: str | None
    rate: float | None
    compression: str
    dataset: str | None
    origin: Origin
    frames: int | None
    loop: bool
    series_id: int
    wait: float

    @property
    def address(self) -> str:
        return self.bind or f"tcp://127.0.0.1:{DEFAULT_PORTS[self.protocol]}"


@dataclass
class Sent:
    """The summary: what left in all series of one call."""

    file: str
    protocol: str
    address: str
    first_series_id: int
    series: int = 0
    images: int = 0
    megabytes: float = 0.0  # on the wire
    seconds: float = 0.0  # from the first message that was taken to the last

    def line(self) -> str:
        rate = self.images / self.seconds if self.seconds else 0.0
        last = self.first_series_id + self.series - 1
        what = f"series {self.first_series_id}" + (f" to {last}" if self.series > 1 else "")
        return (
            f"sent {self.images} images of {self.file} as {what} by {self.protocol} from {self.address}: "
            f"{self.megabytes:.1f} MB in {self.seconds:.2f} s, {rate:.1f} images/s"
        )


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--protocol", type=click.Choice(list(ENCODERS)), default="simplon-v1", show_default=True,
              help="What the detector speaks.")  # fmt: skip
@click.option("--bind", metavar="ADDRESS",
              help="Where receivers connect. [default: tcp://127.0.0.1:9999, for stream-v2 port 31001]")  # fmt: skip
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="HZ",
              help="Images per second. [default: as fast as they are taken]")  # fmt: skip
@click.option("--compression", type=click.Choice([str(c) for c in Compression]), default="bslz4", show_default=True,
              help="simplon-v1: none, lz4-block or bslz4; stream-v2: none, lz4-hdf5, bslz4 or bszstd.")  # fmt: skip
@click.option("--dataset", metavar="NAME", help="The frames in a file that holds several stacks.")
@click.option("--origin", type=click.Choice(["auto", "corner", "centre"]), default="auto", show_default=True,
              help="Where the direct beam is in the stored frames; they are sent with it in the centre.")  # fmt: skip
@click.option("--frames", type=click.IntRange(min=1), metavar="N", help="Send only the first N frames.")
@click.option("--loop", is_flag=True, help="Send series after series until interrupted.")
@click.option(
    "--series-id", type=click.IntRange(min=1), default=1, show_default=True, help="Number of the (first) series."
)
@click.option("--wait", type=click.FloatRange(min=0), default=30.0, show_default=True, metavar="SECONDS",
              help="Patience with a receiver that has not connected yet.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def replay(file: Path, as_json: bool, **options: Any) -> None:
    """Send the measured scan in FILE over ZeroMQ as a detector does.

    FILE is .npz, .npz.bz2, .npy, HDF5, CXI or TIFF; scan positions in it travel with the frames. Nothing is sent
    before a receiver has connected.

    \b
    Examples:
      edge replay scan.cxi --rate 100
      edge replay star.npz.bz2 --protocol stream-v2 --bind 'tcp://*:31001' --loop
    """
    chosen = Options(**options)
    sent = Sent(str(file), chosen.protocol, chosen.address, chosen.series_id)
    try:
        with open_scan(file, chosen.dataset, chosen.origin) as scan:
            _send(scan, chosen, sent)
    except (ScanFileError, sockets.SocketError, SimulatorError) as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:  # the protocol cannot carry what was asked for
        raise click.UsageError(str(error)) from error
    click.echo(json.dumps(asdict(sent)) if as_json else sent.line())


def _send(scan: Scan, options: Options, sent: Sent) -> None:
    """Send one series, or series after series until interrupted."""
    simulation = _simulation(scan, options, options.series_id)
    next(simulation.messages())  # what the protocol cannot carry is told before anybody waits
    console = Console(stderr=True, highlight=False)
    with _bound(options.address) as (socket, sent.address), _progress(console) as progress:
        console.print(f"waiting for a receiver on {sent.address}")
        sender = Sender(socket, options.rate, peer_timeout_s=options.wait)
        try:
            while True:
                _send_series(simulation, sender, sent, progress)
                if not options.loop:
                    return
                simulation = _simulation(scan, options, options.series_id + sent.series)
        except KeyboardInterrupt:
            if not options.loop:
                raise


@contextmanager
def _bound(address: str) -> Iterator[tuple[sockets.Socket, str]]:
    """A sending socket and its real address; leaving it waits for the last messages to leave too."""
    with sockets.context() as ctx:
        socket = sockets.push(ctx)
        yield socket, socket.bind(address)
        socket.close(LINGER_MS)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _simulation(scan: Scan, options: Options, series_id: int) -> Simulation:
    images = min(scan.count, options.frames or scan.count)
    acquisition = Acquisition(
        series_id=series_id,
        series_uid=uuid.uuid4().hex,
        arm_date=datetime.now(UTC).isoformat(timespec="milliseconds"),
        images=images,
        shape=scan.shape,
        dtype=scan.dtype,
        compression=Compression(options.compression),
        frame_time_s=1 / options.rate if options.rate else 0.01,
    )
    positions = None if scan.positions is None else scan.positions[:images]
    return Simulation(options.protocol, acquisition, scan.frame, positions, scan.position_units or "px")


def _send_series(simulation: Simulation, sender: Sender, sent: Sent, progress: Progress) -> None:
    task = progress.add_task(f"series {simulation.acquisition.series_id}", total=simulation.acquisition.images)
    before, started = sent.seconds, 0.0
    sent.series += 1

    def counted() -> Iterator[OnWire]:
        """Asked for the next message when one was taken; the first only then, when a receiver is there."""
        nonlocal started
        for message in simulation.messages():
            yield message
            started = started or time.monotonic()
            sent.seconds = before + time.monotonic() - started
            sent.images += message.image_id is not None
            sent.megabytes += sum(map(len, message.parts)) / 1e6

    sender.send(counted(), lambda images: progress.update(task, completed=images))
    progress.remove_task(task)
