"""`edge replay FOLDER`: a capture, sent byte for byte as the detector sent it."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from edge.commands.replay_wire import Secured, awaiting, bound, check_possible, progress_bar
from streams.codecs import DEFAULT_PORTS, decoder
from streams.recording.reader import Span, facts_of, read_capture, select, survey
from streams.recording.replaying import CaptureReader, of_series, on_wire
from streams.recording.segments import Damage, Facts, Mark, Message, RecordingError
from streams.simulation.faultline import FaultLine
from streams.simulation.faults import Faults
from streams.simulation.onwire import OnWire
from streams.simulation.simulator import Sender
from streams.sockets import Pattern


@dataclass(frozen=True)
class Options:
    """What the command line said; the names are those of its options."""

    bind: str | None
    socket: Pattern | None
    rate: float | None
    speed: float | None
    messages: Span
    seconds: Span
    series: int | None
    loop: bool
    wait: float
    faults: Faults
    secured: Secured = field(default_factory=Secured)


@dataclass
class Sent:
    """The summary: what left in one call."""

    capture: str
    source: str
    protocol: str
    address: str
    rounds: int = 0
    messages: int = 0
    megabytes: float = 0.0  # on the wire
    seconds: float = 0.0  # from the first message that was taken to the last
    damaged_bytes: int = 0  # of the capture, that could not be sent

    def line(self) -> str:
        """In words."""
        rate = self.messages / self.seconds if self.seconds else 0.0
        damage = f"; {self.damaged_bytes} damaged bytes were left out" if self.damaged_bytes else ""
        return (
            f"sent {self.messages} messages of {self.capture} by {self.protocol} from {self.address}: "
            f"{self.megabytes:.1f} MB in {self.seconds:.2f} s, {rate:.1f} messages/s{damage}"
        )


def send_capture(folder: Path, options: Options) -> Sent:
    """Send what was asked for, once or again and again until interrupted.

    Raises:
        RecordingError, SocketError, SimulatorError: the capture cannot be read or holds nothing of it, the port not be
            bound, nobody listened.
        ValueError: a fault that only a simulated detector can have.
    """
    survey(folder)  # says in words what is no capture
    plans = [order.name for order in options.faults.orders if order.plans]
    if plans:
        raise ValueError(f"--fault {plans[0]} needs a simulated detector; give a file of frames, or another fault")
    facts = facts_of(folder)
    if facts is None:
        raise RecordingError(f"{folder}: no segment says any more what it is of; its messages cannot be replayed")
    check_possible(options.faults, facts.protocol)
    if next(_chosen(folder, facts, options), None) is None:
        known = "" if options.series is not None else f"; `edge captures {folder}` shows how much there is"
        raise RecordingError(f"{folder} holds no message of what was asked for{known}")
    address = options.bind or f"tcp://127.0.0.1:{DEFAULT_PORTS[facts.protocol]}"
    sent = Sent(str(folder), facts.source, facts.protocol, address)
    console = Console(stderr=True, highlight=False)
    pattern = options.socket or facts.socket
    with bound(address, pattern, options.secured) as (socket, sent.address), progress_bar(console) as progress:
        console.print(awaiting(sent.address, pattern), soft_wrap=True)
        task = progress.add_task("messages", total=None)
        sender = Sender(socket, peer_timeout_s=options.wait)
        try:
            while sent.rounds == 0 or options.loop:
                sent.rounds += 1
                messages = _chosen(folder, facts, options, sent if sent.rounds == 1 else None)
                paced = _paced(messages, options.rate, options.speed)
                counted = _counted(_faulty(paced, facts, options.faults), sent)
                sender.send(progress.track(counted, task_id=task, total=None))
        except KeyboardInterrupt:
            if not options.loop:
                raise
    return sent


def _chosen(folder: Path, facts: Facts, options: Options, sent: Sent | None = None) -> Iterator[Message]:
    start, stop = select(folder, options.messages, options.seconds)
    records = _undamaged(read_capture(folder, start, stop), sent)
    if options.series is not None:
        return of_series(records, _reader(facts), options.series)
    return (record for record in records if isinstance(record, Message))


def _reader(facts: Facts) -> CaptureReader:
    return CaptureReader(decoder(facts.protocol, facts.source, facts.options))


def _undamaged(records: Iterable[Message | Mark | Damage], sent: Sent | None) -> Iterator[Message | Mark]:
    for record in records:
        if not isinstance(record, Damage):
            yield record
        elif sent is not None:
            sent.damaged_bytes += record.length


def _paced(messages: Iterator[Message], rate: float | None, speed: float | None) -> Iterator[Message]:
    """Each message when it is due; the first one begins the clock when it has been taken."""
    began, first_ns = 0.0, 0
    for number, message in enumerate(messages):
        if number == 0:
            first_ns = message.received_ns
        elif rate:
            _sleep_until(began + number / rate)
        elif speed:
            _sleep_until(began + (message.received_ns - first_ns) / 1e9 / speed)
        yield message
        began = began or time.monotonic()


def _sleep_until(due: float) -> None:
    time.sleep(max(0.0, due - time.monotonic()))


def _faulty(messages: Iterator[Message], facts: Facts, faults: Faults) -> Iterator[OnWire]:
    """What leaves of them; without faults they are not looked into."""
    if not faults.orders:
        yield from (OnWire(list(message.parts)) for message in messages)
        return
    line, reader = FaultLine(faults), _reader(facts)
    for message in messages:
        yield from line.feed(on_wire(message, reader.read(message), facts.protocol))
    yield from line.rest()


def _counted(messages: Iterator[OnWire], sent: Sent) -> Iterator[OnWire]:
    before, started = sent.seconds, 0.0
    for message in messages:
        yield message
        started = started or time.monotonic()
        sent.seconds = before + time.monotonic() - started
        sent.messages += 1
        sent.megabytes += sum(map(len, message.parts)) / 1e6
