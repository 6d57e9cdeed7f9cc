"""One simulated detector with a fault, through the real code in this process: no socket, no server, no clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge.models.spec import ANY, ModelSpec, TensorSpec
from edge.pipeline.arena import Arena
from edge.pipeline.dispatch import RouteRunner, ServedModel
from edge.pipeline.inlet import Inlet, Received
from edge.pipeline.intake import Intake
from edge.pipeline.outputs import OutputBlocks
from edge.pipeline.placing import Placement
from edge.pipeline.record import SeriesRecord
from edge.pipeline.totals import Totals
from streams.codecs import DECODERS
from streams.codecs.results import SeriesEnded
from streams.ledger.book import SeriesBook
from streams.ledger.intervals import spread
from streams.routing import Route
from streams.simulation.onwire import OnWire
from streams.sockets import Peers

ROUTE = "bench"
SPEC = ModelSpec(ROUTE, (ANY, ANY), (TensorSpec("out", "float32", (1,), "1"),), 4)
MEMORY_BYTES = 1 << 18
SECOND = 1_000_000_000
LONG_NS = 10**18
Key = tuple[str, int]
"""(channel, image id)"""


@dataclass
class _Memory:
    """Memory of this process in place of a shared-memory region."""

    name: str
    nbytes: int
    view: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.view = np.zeros(self.nbytes, np.uint8)


class _NoSocket:
    """Messages are handed over."""

    zmq: Any = None

    @property
    def peers(self) -> Peers:
        raise NotImplementedError("there is no loop here that looks for them")

    def bind(self, address: str, plain: bool = False) -> str:
        return address

    def connect(self, address: str, plain: bool = False) -> None:
        """Nothing to connect."""

    def receive(self, timeout_ms: int = 0) -> None:
        return None

    def close(self, linger_ms: int = 0) -> None:
        """Nothing to close."""


@dataclass
class Account:
    """What was claimed of one series, and what of it was read out of the slots."""

    ended: SeriesEnded
    announced: bool
    received: set[Key]  # by the ledger
    missing: set[Key]  # by the ledger
    images: dict[Key, np.ndarray]  # from the slots


@dataclass
class Outcome:
    """What was claimed in one run."""

    accounts: list[Account] = field(default_factory=list)  # in the order in which the series were opened
    malformed: int = 0
    broken: list[str] = field(default_factory=list)  # equations that did not hold


class Run:
    """Feeds messages to an intake and holds its accounts to their equations after each."""

    def __init__(
        self, protocol: str, options: Mapping[str, Any], told: int | None, book: SeriesBook | None = None
    ) -> None:
        self._told = told
        self._totals = Totals()
        model = ServedModel(SPEC, "1", "00", (1, 2, 4))
        outputs = OutputBlocks(_Memory("outputs", 1 << 12), SPEC, 2)
        self._runner = RouteRunner(Route(ROUTE, ROUTE), model, outputs, 1)
        decoder = DECODERS[protocol]("det", **options)
        placement = Placement(Arena(_Memory("frames", MEMORY_BYTES), "det"))
        inlet = Inlet("det", _NoSocket(), self._totals)
        self._intake = Intake(inlet, decoder, book or SeriesBook(), placement, [self._runner], self._totals)
        self._records: list[SeriesRecord] = []
        self._ended: dict[str, SeriesEnded] = {}
        self._images: dict[str, dict[Key, np.ndarray]] = {}
        self._outcome = Outcome()

    def feed(self, messages: Sequence[OnWire], together: int = 1) -> Outcome:
        """All messages, and then silence until every series is closed.

        Results leave after every `together` messages, so that some images are in flight when a series is closed.
        """
        for at, message in enumerate(messages):
            self._intake.take(
                Received(list(message.parts), (at + 1) * SECOND // 100, False), self._opened, self._failed
            )
            if at % together == together - 1:
                self._settle(f"message {at}")
        for now_ns in (LONG_NS, 3 * LONG_NS):
            self._intake.advance(now_ns, SECOND, 10 * SECOND)
            self._settle("the silence")
        self._outcome.malformed = sum(self._totals.malformed.values())
        self._outcome.accounts = [self._account(record) for record in self._records]
        return self._outcome

    def _opened(self, record: SeriesRecord) -> None:
        if record not in self._records:
            self._records.append(record)
            if self._told is not None:
                record.series.triggered(self._told)

    def _failed(self, record: SeriesRecord, runner: RouteRunner, reason: str, detail: str) -> None:
        record.accounts[ROUTE].fail(reason)

    def _settle(self, when: str) -> None:
        """Take the images out of their slots, publish what is finished, check the equations."""
        self._intake.place(self._failed)
        for frame in self._runner.queue.clear():
            raw = frame.lane.buffer(frame.slot)
            image = raw.view(f"<u{frame.itemsize}").reshape(frame.shape).copy()
            self._images.setdefault(frame.record.series.uid, {})[frame.channel, frame.image_id] = image
            frame.lane.release(frame.slot)
            frame.record.accounts[ROUTE].publish(1)
        for record in self._records:
            self._outcome.broken += [f"after {when}: {problem}" for problem in broken_equations(record)]
        for record in self._intake.pop_finished():
            self._ended[record.series.uid] = record.ended(ROUTE)

    def _account(self, record: SeriesRecord) -> Account:
        series = record.series
        ended = self._ended.get(series.uid) or record.ended(ROUTE)
        received = {
            (channel, image_id)
            for channel, blocks in series.intervals().items()
            for start, stop in spread(blocks, 1 << 20)
            for image_id in range(start, stop)
        }
        missing = {
            (channel, image_id)
            for channel, holes in ended.missing.items()
            for start, stop in holes
            for image_id in range(start, min(stop, start + 10_000))
        }
        return Account(ended, series.announced, received, missing, self._images.get(series.uid, {}))


def broken_equations(record: SeriesRecord) -> list[str]:
    """The equations of a ledger and its account that do not hold."""
    counts, account = record.series.counts(), record.accounts[ROUTE]
    broken = []
    parts = (counts.received, counts.missing, counts.awaited, counts.absent)
    if counts.expected is not None and counts.expected != sum(parts):
        broken.append(f"expected {counts.expected} is not {' + '.join(map(str, parts))}")
    if min(parts) < 0:
        broken.append(f"a negative count in {counts}")
    if not account.balanced:
        broken.append(f"the account does not balance: {account.as_dict()}")
    if account.received != counts.received:
        broken.append(f"{counts.received} arrived and {account.received} were accounted for")
    return broken
