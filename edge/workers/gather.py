"""The process that gathers what the workers make: one thread, the ledger of record, the only way out for results."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from edge.pipeline.control import Control
from edge.pipeline.dropped import DroppedBook, Reading
from edge.pipeline.loop import Events
from edge.pipeline.observing import Loss
from edge.pipeline.readiness import RouteFacts, problems
from edge.pipeline.record import SeriesRecord
from edge.pipeline.sinks import Question, ResultSink
from edge.pipeline.totals import Totals
from edge.workers import words
from edge.workers.counting import Counting
from edge.workers.gone import Watched
from edge.workers.merged import MergedSource, Notice, Patience
from edge.workers.readiness import merged_facts, worker_problems
from edge.workers.slots import Place
from streams.codecs import results
from streams.codecs.handshake import Problem, Readiness, Ready, Reply
from streams.ledger.lifecycle import Arrival, State
from streams.messages import Part
from streams.sockets import Poller, Socket

log = logging.getLogger(__name__)

TICK_NS = 100_000_000
BEAT_NS = 1_000_000_000
TAKE_NS = 5_000_000
"""Time for which the workers are heard before subscribers and controllers get their turn."""
GONE_NS = 300_000_000
"""After a process has ended: until then what it had sent is here, and read."""
REST_S = 5.0
"""At the end: for what the workers had sent."""


def _nothing() -> None:
    """Nobody waits for a sign of life."""


def _unheard(text: str) -> None:
    """Nobody wants to know."""


def _sound() -> Mapping[str, str]:
    """No disk is looked after."""
    return {}


@dataclass(frozen=True)
class Around:
    """What the gatherer is told of the world, and whom it keeps informed; see `edge.pipeline.outside.Outside`."""

    beat: Callable[[], None] = _nothing
    status: Callable[[str], None] = _unheard
    disks: Callable[[], Mapping[str, str]] = _sound
    required: Sequence[str] = ()
    asks_dropped: Mapping[str, Callable[[], None]] = field(default_factory=dict)  # by source: asks its detector


@dataclass
class Process:
    """What is in a place at present."""

    identity: bytes
    watched: Watched
    gone_ns: int = 0  # since when it is known to have ended
    waiting: deque[bytes] = field(default_factory=deque)  # words that its queue did not take


class Gather:
    """Runs until `events.stop()`.

    Args:
        workers: how many there are.
        link: the ROUTER that they speak to.
        sink: where results leave.
        events: what other threads report.
        sources: by name: whether several frames make one image.
        routes: by name.
        patience: how long to wait.
        totals: counters.
        around: the world.
    """

    def __init__(
        self,
        workers: int,
        link: Socket,
        sink: ResultSink,
        events: Events,
        sources: Mapping[str, bool],
        routes: Mapping[str, RouteFacts],
        patience: Patience,
        totals: Totals,
        around: Around = Around(),
    ) -> None:
        self.places = {number: Place(number) for number in range(1, workers + 1)}
        self.stopping = False
        self.problems: Sequence[Problem] = (Problem("starting", "`edge serve` is starting", "wait"),)
        """What stands in the way of the next frame, at the last look; from any thread."""
        self._link, self._sink, self._events = link, sink, events
        self._routes, self._totals, self._around = routes, totals, around
        self._sources = {
            name: MergedSource(
                name,
                [route for route, facts in routes.items() if name in facts.sources],
                self.places,
                patience,
                self,
                assembles,
            )
            for name, assembles in sources.items()
        }
        self._control = Control(list(self._sources.values()))
        self._counting = Counting()
        self._dropped = {name: DroppedBook() for name in sources}
        self._processes: dict[int, Process] = {}
        self._by_identity: dict[bytes, int] = {}
        self._unlogged = Loss()
        self._failing: Mapping[str, str] = {}
        self._said = ""
        self._tick_ns = self._beat_ns = 0
        self._version, self._started_ns = version("detector-edge"), time.time_ns()

    def run(self) -> None:
        """Serve. Returns when it is asked to stop and what the workers had sent is published."""
        poller = Poller()
        for what in (self._events.wake_up, self._link, self._sink.ask, self._sink.publisher):
            poller.watch(what)
        while not self._events.stop_requested:
            ready = poller.wait(TICK_NS // 1_000_000)
            self._serve(ready)
            if self._link.zmq in ready:
                self._hear(TAKE_NS)
            self._turn()
        self.stopping = True
        deadline = time.monotonic() + REST_S
        while not self._hear(TAKE_NS) and time.monotonic() < deadline:
            self._turn()
        for source in self._sources.values():
            source.shut_down(time.monotonic_ns())
        self._sink.beat()

    # what comes

    def _serve(self, ready: set[Any]) -> None:
        if self._sink.publisher.zmq in ready:
            self._sink.listen()
        if self._sink.ask.zmq in ready and not self._sink.answer(self._reply):
            self._totals.refused_requests += 1

    def _hear(self, at_most_ns: int) -> bool:
        """Take in what workers say; whether nothing more waits."""
        until_ns = time.monotonic_ns() + at_most_ns
        while (now_ns := time.monotonic_ns()) < until_ns:
            message = self._link.receive()
            if message is None:
                return True
            self._take(message, now_ns)
        return False

    def _take(self, message: list[memoryview], now_ns: int) -> None:
        identity = bytes(message[0])
        number = self._by_identity.get(identity)
        if message[1] == words.NOTICE:
            if number is not None:
                self._notice(self.places[number], message[2:], now_ns)
            return
        word = words.unpack_up(message[2])
        if isinstance(word, words.Hello):
            self._welcome(identity, word, now_ns)
        elif number is not None:
            self._word(self.places[number], word, now_ns)

    def _welcome(self, identity: bytes, hello: words.Hello, now_ns: int) -> None:
        place = self.places.get(hello.worker)
        if place is None:
            return
        if hello.worker in self._processes:
            self._ended(hello.worker, now_ns)
        self._processes[hello.worker] = Process(identity, Watched(hello.pid))
        self._by_identity[identity] = hello.worker
        place.begin(hello.records, now_ns)
        log.info("worker %d: process %d", hello.worker, hello.pid)
        starts = [packed for source in self._sources.values() for packed in source.starts()]
        self.tell(hello.worker, words.Welcome(os.getpid(), self._sink.keeps, starts))

    def _word(self, place: Place, word: words.Up, now_ns: int) -> None:
        place.heard_ns = now_ns
        if isinstance(word, words.Results):
            self._sources[word.source].results(place, word.route, word.made, now_ns)
        elif isinstance(word, words.Arrived):
            self._sources[word.source].arrived(place, word, now_ns)
        elif isinstance(word, words.State):
            place.say(word.facts, word.blocked, now_ns)
            for account in word.accounts:
                self._sources[account.source].account(place, account)
            self._counting.tell(place.worker, place.life, word.counts)
        elif isinstance(word, words.Began):
            start = words.unpack_start(word.packed)
            self._sources[start.source].began(place, word.packed, start, now_ns)
        elif isinstance(word, words.Ended):
            self._sources[word.source].ended(place, word.series_uid, now_ns)
        elif isinstance(word, words.Lacking):
            self._sources[word.source].absent(place, word, now_ns)
        elif isinstance(word, words.Closed):
            self._sources[word.source].worker_closed(place, word.series_uid, now_ns)

    def _notice(self, place: Place, parts: Sequence[memoryview], now_ns: int) -> None:
        place.heard_ns = now_ns
        notice, _ = results.decode(parts)
        if isinstance(notice, results.SeriesStarted):
            self._sources[notice.source].started(notice)
        elif isinstance(notice, results.SeriesEnded):
            now = words.RouteNow(notice.source, notice.series_uid, notice.route, notice.account, notice.positions)
            self._sources[notice.source].account(place, now)

    # what time brings

    def _turn(self) -> None:
        now_ns = time.monotonic_ns()
        for event in self._events.drain():
            if isinstance(event, results.SeriesEnded):
                for number in self._processes:
                    self.tell(number, words.Logged(event.source, event.series_uid, event.route))
            elif isinstance(event, Reading):
                self._dropped[event.source].take(event)
        if now_ns - self._tick_ns >= TICK_NS:
            self._tick_ns = now_ns
            self._tick(now_ns)

    def _tick(self, now_ns: int) -> None:
        for number, process in list(self._processes.items()):
            if not process.gone_ns and process.watched.gone:
                process.gone_ns = now_ns
            elif process.gone_ns and now_ns - process.gone_ns >= GONE_NS and self._hear(TAKE_NS):
                if self._processes.get(number) is process:  # else its successor said hello meanwhile
                    self._ended(number, now_ns)
                continue
            while process.waiting and self._link.send([process.identity, process.waiting[0]]):
                process.waiting.popleft()
        for source in self._sources.values():
            source.advance(now_ns)
        self._counting.enter(self._totals)
        self._look(now_ns)
        self._around.beat()
        if now_ns - self._beat_ns >= BEAT_NS:
            self._beat_ns = now_ns
            self._sink.beat()

    def _ended(self, number: int, now_ns: int) -> None:
        process = self._processes.pop(number)
        del self._by_identity[process.identity]
        process.watched.close()
        self.places[number].end(now_ns)
        if not self.stopping:
            log.warning("worker %d: its process %d has ended", number, process.watched.pid)

    def _look(self, now_ns: int) -> None:
        for peers in (self._sink.publisher.peers, self._sink.ask.peers):
            peers.poll()
        self._failing = self._look_at_disks(now_ns)
        self.problems = self._standing(Ready())
        totals = self._totals
        totals.ready, totals.subscribers = not self.problems, len(self._sink.presence.names)
        told = [place.facts for place in self.places.values() if place.facts is not None]
        totals.server_ready = bool(told) and all(route.ready for facts in told for route in facts.routes.values())
        for name in self._sources:
            totals.peers[name] = min(
                (facts.sources[name].connected for facts in told if name in facts.sources), default=0
            )
        text = "; ".join(one.why for one in self.problems)
        said = f"not ready: {text}" if text else "ready"
        if said != self._said:
            self._said = said
            self._around.status(said)

    def _look_at_disks(self, now_ns: int) -> dict[str, str]:
        """Of the disk that is asked to keep results; of their captures the workers tell."""
        failing: dict[str, str] = {}
        if self._unlogged.look(self._totals.not_logged, now_ns):
            failing["results"] = "the disk refused results within the last seconds"
        return failing | dict(self._around.disks())

    # what is asked

    def _reply(self, question: Question) -> Reply:
        if isinstance(question, Ready):
            return self._readiness(question)
        for source in self._sources.values():
            source.refresh()
        return self._control.answer(question)

    def _standing(self, asked: Ready) -> tuple[Problem, ...]:
        return (*worker_problems(self.places), *problems(self._facts(), asked))

    def _facts(self) -> Any:
        return merged_facts(
            [place.facts for place in self.places.values() if place.facts is not None],
            self._routes,
            sources=self._sources,
            present=self._sink.presence.names,
            required=self._around.required,
            failing=self._failing,
            stopping=self.stopping,
        )

    def _readiness(self, asked: Ready) -> Readiness:
        self._sink.listen()  # who has come is present
        facts = self._facts()
        records = any(place.records for place in self.places.values())
        return Readiness(
            source=asked.source,
            token=asked.token,
            problems=self._standing(asked),
            origin=self._sink.origin,
            version=self._version,
            started_ns=self._started_ns,
            sources={name: one.connected for name, one in facts.sources.items()},
            models={one.model: one.ready for one in facts.routes.values()},
            subscribers=tuple(sorted(facts.present)),
            series_open=sum(
                record.series.state is not State.CLOSED
                for source in self._sources.values()
                for record in source.records.values()
            ),
            recovering=tuple(name for name, one in facts.sources.items() if one.recovering),
            recording=_kept(records, "recording" in facts.failing),
            results=_kept(self._sink.keeps, "results" in facts.failing),
            stopping=self.stopping,
        )

    # what the ledger brings about (`edge.workers.merged.Out`)

    def publish(self, route: str, notices: Sequence[tuple[Notice, Sequence[Part]]]) -> None:
        self._sink.send_all(route, notices)

    def tell(self, worker: int, word: words.Down) -> None:
        process = self._processes.get(worker)
        if process is None:
            return
        packed = words.pack(word)
        if process.waiting or not self._link.send([process.identity, packed]):
            process.waiting.append(packed)

    def opened(self, record: SeriesRecord) -> None:
        series = record.series
        expected = series.counts().expected
        awaited = "nobody says how many images" if expected is None else f"expecting {expected} images"
        log.info("series %d (%s) of %s: %s", series.id, series.uid, series.source, awaited)

    def closing(self, source: str) -> None:
        if source in self._around.asks_dropped:
            self._around.asks_dropped[source]()

    def reconcile(self, record: SeriesRecord) -> None:
        series = record.series
        others = (one.series.opened_ns for one in self._sources[series.source].records.values())
        later = min((opened_ns for opened_ns in others if opened_ns > series.opened_ns), default=None)
        series.detector_dropped(self._dropped[series.source].of(series.uid, series.opened_ns, later))

    def closed(self, record: SeriesRecord, ended: Sequence[results.SeriesEnded]) -> None:
        series, suspicion = record.series, record.series.suspicion()
        self._totals.suspicions[series.source] += suspicion is not None
        self._totals.detector_dropped[series.source] += series.dropped or 0
        for notice in ended:
            self._control.remember(notice)
            self._totals.series[notice.route, notice.verdict] += 1
            log.info(
                "series %d of %s on %s: %s, %s of %s images published, %s missing (%s)",
                *(notice.series_id, notice.source, notice.route, notice.verdict, notice.account["published"]),
                "?" if notice.arrivals["expected"] is None else notice.arrivals["expected"],
                *(notice.arrivals["missing"], notice.reason.replace("_", " ")),
            )
        if suspicion is not None:
            log.warning("series %d of %s: %s", series.id, series.source, suspicion.text)

    def arrived(self, source: str, arrivals: Sequence[Arrival]) -> None:
        self._totals.arrivals.update([(source, arrival) for arrival in arrivals])

    def latencies(self, route: str, latencies_ns: Sequence[int]) -> None:
        self._totals.observe_latency(route, *(latency_ns / 1e9 for latency_ns in latencies_ns))


def _kept(wanted: bool, failing: bool) -> str:
    if not wanted:
        return "off"
    return "failing" if failing else "ok"
