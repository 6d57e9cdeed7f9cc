"""`edge replay FILE`: a measured scan, sent as a detector would send it."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from edge.commands.replay_wire import Secured, awaiting, bound, check_possible, progress_bar
from edge.scanfiles import Origin, Scan, open_scan
from streams.codecs import DEFAULT_PORTS, PROTOCOLS
from streams.messages import Acquisition, Compression
from streams.simulation.faults import Faults
from streams.simulation.onwire import OnWire
from streams.simulation.simulator import Sender, Simulation
from streams.sockets import Pattern


@dataclass(frozen=True)
class Options:
    """What the command line said; the names are those of its options."""

    protocol: str | None
    bind: str | None
    socket: Pattern | None
    rate: float | None
    compression: str | None
    dataset: str | None
    origin: Origin
    frames: int | None
    loop: bool
    series_id: int
    wait: float
    faults: Faults
    secured: Secured = field(default_factory=Secured)

    @property
    def spoken(self) -> str:
        """The protocol."""
        return self.protocol or "simplon-v1"

    @property
    def address(self) -> str:
        return self.bind or f"tcp://127.0.0.1:{DEFAULT_PORTS[self.spoken]}"


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
        """In words."""
        rate = self.images / self.seconds if self.seconds else 0.0
        last = self.first_series_id + self.series - 1
        what = f" as series {self.first_series_id}" + (f" to {last}" if self.series > 1 else "")
        named = what if PROTOCOLS[self.protocol].series_number else ""  # a number that nobody sends is not told
        return (
            f"sent {self.images} images of {self.file}{named} by {self.protocol} from {self.address}: "
            f"{self.megabytes:.1f} MB in {self.seconds:.2f} s, {rate:.1f} images/s"
        )


def send_file(file: Path, options: Options) -> Sent:
    """Send one series, or series after series until interrupted.

    Raises:
        ScanFileError, SocketError, SimulatorError: the file cannot be read, the port not be bound, nobody listened.
        ValueError: the protocol cannot carry what was asked for.
    """
    check_possible(options.faults, options.spoken)
    sent = Sent(str(file), options.spoken, options.address, options.series_id)
    with open_scan(file, options.dataset, options.origin) as scan:
        _send(scan, options, sent)
    return sent


def _send(scan: Scan, options: Options, sent: Sent) -> None:
    simulation = _simulation(scan, options, options.series_id)
    next(simulation.messages())  # what the protocol cannot carry is told before anybody waits
    console = Console(stderr=True, highlight=False)
    pattern = options.socket or "pull"
    with bound(options.address, pattern, options.secured) as (socket, sent.address), progress_bar(console) as progress:
        console.print(awaiting(sent.address, pattern), soft_wrap=True)
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


def _simulation(scan: Scan, options: Options, series_id: int) -> Simulation:
    images = min(scan.count, options.frames or scan.count)
    acquisition = Acquisition(
        series_id=series_id,
        series_uid=uuid.uuid4().hex,
        arm_date=datetime.now(UTC).isoformat(timespec="milliseconds"),
        images=images,
        shape=scan.shape,
        dtype=scan.dtype,
        compression=Compression(options.compression or PROTOCOLS[options.spoken].compressions[0]),
        frame_time_s=1 / options.rate if options.rate else 0.01,
    )
    positions = None if scan.positions is None else scan.positions[:images]
    units = scan.position_units or "px"
    return Simulation(options.spoken, acquisition, scan.frame, positions, units, options.faults)


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
            sent.images += message.images if message.image_id is not None else 0
            sent.megabytes += sum(map(len, message.parts)) / 1e6

    sender.send(counted(), lambda images: progress.update(task, completed=images))
    progress.remove_task(task)
