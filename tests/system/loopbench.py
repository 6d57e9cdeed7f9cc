"""The serving loop in a thread of this process: real sockets, and a server that answers when the test lets it."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.inference.events import ServerLost, ServerReady
from edge.pipeline.arena import Arena
from edge.pipeline.dispatch import RouteRunner, ServedModel
from edge.pipeline.inlet import Inlet
from edge.pipeline.intake import Intake
from edge.pipeline.loop import Events, Patience, ServingLoop
from edge.pipeline.outputs import OutputBlocks, outputs_nbytes
from edge.pipeline.placing import Placement
from edge.pipeline.sinks import ResultSink
from edge.pipeline.totals import Totals
from edge.positions import wiring as positioning
from edge.positions.settings import Positions
from streams.codecs import DECODERS
from streams.codecs.results import Notice, Result, SeriesEnded, SeriesStarted
from streams.ledger.book import SeriesBook
from streams.messages import Acquisition, Compression
from streams.routing import Route
from streams.simulation.simulator import Faults, OnWire, Simulation
from streams.sockets import Context, context, publish, pull, push, router
from streams.subscriber import Subscriber
from tests.unit.pipeline.doubles import SPEC, HeapMemory, SumServer

LIMIT_S = 10.0
KERNEL_NBYTES = 1 << 17
SECOND = 1_000_000_000
ARMED = "2026-01-02T03:04:05Z"
SHAPE = (12, 10)
SLOT_NBYTES = 2 * SHAPE[0] * SHAPE[1]
LONG = Patience(grace_ns=60 * SECOND, idle_ns=60 * SECOND, drain_ns=15 * SECOND)

Values = dict[tuple[str, int], tuple[int, float]]
"""By channel and image id: the sum of all bytes of the image, and its first byte."""


@dataclass(frozen=True)
class Taken:
    """One series as a detector took it: its messages, and what the model must say of its images."""

    acquisition: Acquisition
    messages: list[OnWire]
    values: Values

    @property
    def images(self) -> list[OnWire]:
        return [message for message in self.messages if message.image_id is not None]


def picture(number: int, image_id: int, channel: str, shape: tuple[int, int], dtype: str) -> np.ndarray:
    """Pixels that tell which image of which series they are."""
    seed = [number, image_id, *channel.encode()]
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype)


def values_of(pixels: np.ndarray) -> tuple[int, float]:
    raw = pixels.reshape(-1).view(np.uint8)
    return int(raw.sum()), float(raw[0])


def series(protocol: str, images: int, number: int = 1, faults: Faults | None = None, **changes: Any) -> Taken:
    """Series `number`; `changes` go to the acquisition."""
    facts = {"shape": SHAPE, "dtype": "uint16", "compression": Compression.BSLZ4} | changes
    uid = f"{ARMED}_{number}"  # SIMPLON series have no other name
    acquisition = Acquisition(number, uid, ARMED, images, **facts)
    values: Values = {}

    def taken(image_id: int) -> dict[str, np.ndarray]:
        pictures = {
            channel: picture(number, image_id, channel, acquisition.shape, acquisition.dtype)
            for channel in acquisition.channels
        }
        values.update({(channel, image_id): values_of(pixels) for channel, pixels in pictures.items()})
        return pictures

    messages = list(Simulation(protocol, acquisition, taken, faults=faults or Faults()).messages())
    return Taken(acquisition, messages, values)


class LoopBench:
    """Sources `det-0`, `det-1`, ... of these protocols, the loop in its thread, one subscriber to every route.

    The test's thread plays everyone else: the detectors, the server, the supervisor and the subscriber. While it
    waits for something, `until` lets the server answer (where `answering`) and reads notices. `queued` bounds how
    many messages ZeroMQ keeps at either end between a detector and the loop; the kernel keeps hardly any. `positions`
    are the settings of all sources.
    """

    def __init__(
        self,
        ctx: Context,
        *protocols: str,
        routes: Sequence[Route] = (Route("sum", "sum"),),
        memory_nbytes: int = 256 * SLOT_NBYTES,
        limit: int = 2,
        transport: str = "shm",
        patience: Patience = LONG,
        queued: int = 64,
        positions: Positions | None = None,
    ) -> None:
        self.ctx = ctx
        self.totals, self.events = Totals(), Events()
        self.transport = transport
        self.answering = True
        self.started: list[SeriesStarted] = []
        self.ended: dict[tuple[str, str, int], SeriesEnded] = {}
        self.results: dict[tuple[str, str, int], dict[tuple[str, int], Result]] = {}
        self._values: dict[tuple[str, str, int], Values] = {}
        self.blocks = 2 * limit
        self._memories = [HeapMemory(f"frames-{at}", memory_nbytes) for at, _ in enumerate(protocols)]
        self.runners: list[RouteRunner] = []
        for at, route in enumerate(routes):
            outputs = HeapMemory(f"outputs-{at}", self.blocks * outputs_nbytes(SPEC, (0, 0), SPEC.max_batch))
            self._memories.append(outputs)
            self.runners.append(
                RouteRunner(
                    route, ServedModel(SPEC, "1", "00", (1, 2, 4)), OutputBlocks(outputs, SPEC, self.blocks), limit
                )
            )
        self.detectors, self.intakes = [], []
        for at, protocol in enumerate(protocols):
            name, detector, socket = f"det-{at}", push(ctx, queued), pull(ctx, queued)
            detector.zmq.sndbuf = socket.zmq.rcvbuf = KERNEL_NBYTES
            socket.connect(detector.bind("tcp://127.0.0.1:*"))
            placement = Placement(Arena(self._memories[at], name), positioning.reader_of(positions))
            inlet = Inlet(name, socket, self.totals)
            self.detectors.append(detector)
            self.intakes.append(
                Intake(inlet, DECODERS[protocol](name), SeriesBook(), placement, self.runners, self.totals)
            )
        publisher, ask = publish(ctx), router(ctx)
        results = publisher.bind("tcp://127.0.0.1:*")
        self.handshake = ask.bind("tcp://127.0.0.1:*")
        self.sink = ResultSink(publisher, ask, results, "origin", [route.name for route in routes], 1 << 20)
        self._stack = ExitStack()
        settings = {intake.name: positions for intake in self.intakes}
        self.joining = positioning.joining(ctx, settings, self.totals, self._stack)
        self._loop = ServingLoop(
            self.intakes, self.runners, self.sink, self.events, patience, self.totals, joining=self.joining
        )
        self.epoch = 0
        self.server = self._new_server()
        self._thread_id = 0
        self._cpu_s = 0.0
        self._executor = ThreadPoolExecutor(1)
        self._running: Future[None] = self._executor.submit(self._run)
        self.subscriber: Subscriber

    def _run(self) -> None:
        self._thread_id = threading.get_ident()
        try:
            self._loop.run()
        finally:
            self._cpu_s, self._thread_id = time.thread_time(), 0

    def _new_server(self) -> SumServer:
        return SumServer(*self._memories)

    @property
    def running(self) -> bool:
        return not self._running.done()

    @property
    def cpu_s(self) -> float:
        """Processor time that the loop's thread took so far."""
        thread_id = self._thread_id
        return time.clock_gettime(time.pthread_getcpuclockid(thread_id)) if thread_id else self._cpu_s

    def ready(self) -> SumServer:
        """A new server process is ready; the one before it, with requests that it may still answer."""
        before, self.server = self.server, self._new_server()
        self.epoch += 1
        self.events.put(ServerReady(self.epoch, self.server, self.transport))
        return before

    def requests_end(self, server: SumServer | None = None) -> None:
        """What the present server was asked (or another one) ends as it does when its process dies."""
        dead = server or self.server
        while dead.asked:
            dead.fail("unavailable", settled=False)

    def lost(self, gone: bool = True) -> None:
        """The server is lost, and the loop knows."""
        self.events.put(ServerLost(self.epoch, "told to", gone))
        self.until(lambda: not self.totals.server_ready, "the loss of the server")

    def step(self, wait_s: float = 0.005) -> None:
        """Let the server answer what it was asked, and take one notice."""
        while self.answering and self.server.asked:
            self.server.answer()
        received = self.subscriber.receive(wait_s)
        if received is not None:
            self.take(*received)

    def take(self, notice: Notice, arrays: dict[str, np.ndarray]) -> None:
        """Enter one notice; fails where it contradicts an earlier one."""
        if isinstance(notice, SeriesStarted):
            self.started.append(notice)
            return
        key = (notice.route, notice.source, notice.series_id)
        assert key not in self.ended, "something came after the end of a series"
        if isinstance(notice, Result):
            image = (notice.channel, notice.image_id)
            self.results.setdefault(key, {})[image] = notice
            assert len(set(arrays["first"].reshape(-1).tolist())) == 1
            values = self._values.setdefault(key, {})
            assert image not in values, "a result came twice"
            values[image] = (int(arrays["total"][0]), float(arrays["first"][0, 0]))
        elif isinstance(notice, SeriesEnded):
            account = notice.account
            settled = account["unwanted"] + sum(account["dropped"].values()) + sum(account["failed"].values())
            assert account["received"] == settled + account["inferred"] == notice.arrivals["received"]
            assert account["inferred"] == account["published"] == len(self.values(*key))
            assert account["in_flight"] == 0
            self.ended[key] = notice

    def values(self, route: str = "sum", source: str = "det-0", number: int = 1) -> Values:
        """What was published of a series."""
        return self._values.get((route, source, number), {})

    def until(self, condition: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
        """Step until `condition`; fails with `what` after `limit_s`, and at once where the loop has failed."""
        deadline = time.monotonic() + limit_s
        while not condition():
            if not self.running:
                self._running.result()
            assert time.monotonic() < deadline, f"not within {limit_s:g} s: {what}"
            self.step()

    def send(self, messages: Iterable[OnWire], source: int = 0) -> None:
        for message in messages:
            self.send_parts(message.parts, source)

    def send_parts(self, parts: Sequence[bytes | memoryview], source: int = 0) -> None:
        self.until(lambda: self.detectors[source].send(parts), "room in the detector's queue")

    def taken_in(self, messages: int, source: int = 0) -> None:
        """Return when the loop has taken that many messages from the source."""
        name = f"det-{source}"
        self.until(lambda: self.totals.messages[name] >= messages, f"message {messages} of {name}")

    def blocked(self, source: int = 0) -> None:
        """Return when frames of the source wait for a slot."""
        self.until(lambda: self.intakes[source].blocked, "a blocked source")

    def full(self, source: int = 0) -> None:
        """Return when every slot of the source is taken, and frames wait for one."""
        intake = self.intakes[source]
        self.until(lambda: intake.blocked and intake.arena.usage()[0] == 0, "a source without slots")

    def asked(self, requests: int = 1) -> None:
        """Return when the server holds that many requests that are not answered."""
        self.until(lambda: len(self.server.asked) >= requests, f"{requests} requests at the server")

    def end_of(self, route: str = "sum", source: str = "det-0", number: int = 1) -> SeriesEnded:
        key = (route, source, number)
        self.until(lambda: key in self.ended, f"the end of {key}")
        return self.ended[key]

    def stop(self) -> float:
        """Stop the loop; returns when it has returned: the seconds that took."""
        began = time.monotonic()
        self.events.stop()
        self.until(lambda: not self.running, "the return of the loop")
        took_s = time.monotonic() - began
        self._running.result()
        return took_s

    def nothing_is_left(self) -> None:
        """Stop; every slot and output block is free, and the subscriber missed nothing and saw nothing twice."""
        self.stop()
        assert all(intake.arena.drained for intake in self.intakes)
        assert [runner.outputs.free for runner in self.runners] == [self.blocks] * len(self.runners)
        assert (self.subscriber.lost, self.subscriber.repeats, self.subscriber.unreadable) == (0, 0, 0)

    def close(self) -> None:
        self.events.stop()
        self.events.put(ServerLost(self.epoch, "the test is over", gone=True))
        self._executor.shutdown()
        self._stack.close()
        self.events.wake_up.close()


@contextmanager
def loop_bench(*protocols: str, **options: Any) -> Iterator[LoopBench]:
    with context() as ctx:
        bench = LoopBench(ctx, *(protocols or ("stream-v2",)), **options)
        try:
            with Subscriber(ctx, bench.handshake) as bench.subscriber:
                yield bench
        finally:
            bench.close()


def all_published(bench: LoopBench, taken: Taken, route: str = "sum", source: str = "det-0") -> SeriesEnded:
    """Every image of the series came back once with its own values, and the account says so; its end."""
    ended = bench.end_of(route, source, taken.acquisition.series_id)
    assert bench.values(route, source, taken.acquisition.series_id) == taken.values
    assert (ended.verdict, ended.reason) == ("complete", "end")
    assert ended.account["published"] == ended.arrivals["expected"] == len(taken.values)
    return ended
