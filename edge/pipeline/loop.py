"""The serving loop: the one thread that owns sockets, ledgers, slots and batches.

Other threads (the supervisor's, gRPC's) only put events into a queue and wake this one.
"""

import logging
import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass

from edge.inference.events import ServerChecked, ServerLost, ServerReady
from edge.inference.requests import Completion
from edge.pipeline.cascades import Cascades
from edge.pipeline.control import Control
from edge.pipeline.dispatch import RouteRunner, Serving
from edge.pipeline.dropped import Reading
from edge.pipeline.intake import Intake
from edge.pipeline.joining import Joining
from edge.pipeline.observing import Observer
from edge.pipeline.outside import Outside
from edge.pipeline.publishing import Publisher
from edge.pipeline.sinks import Question, Sink
from edge.pipeline.totals import Totals
from streams.codecs.handshake import Problem, Ready, Reply
from streams.codecs.results import SeriesEnded
from streams.ledger.lifecycle import CloseReason
from streams.sockets import Poller, WakeUp

log = logging.getLogger(__name__)

Event = ServerReady | ServerChecked | ServerLost | SeriesEnded | Reading | tuple[RouteRunner, Completion]
"""What other threads report; a `SeriesEnded` says that its results are in their log."""

SHUTDOWN = "shutdown"
"""Reason of a drop: we stop."""

TICK_NS = 100_000_000
BEAT_NS = 1_000_000_000
TAKE_NS = 2_000_000
"""Time for which one source is read before finished results, full batches and the other sources get their turn."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for what may still come."""

    grace_ns: int  # after the end message, for frames that it overtook
    idle_ns: int  # in an open series, for anything at all
    drain_ns: int  # at a stop, for what is in flight


class Events:
    """Where other threads leave what happened."""

    def __init__(self) -> None:
        self.wake_up = WakeUp()
        self._queue: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.stop_requested = False
        self.failure = ""  # why it was stopped, where that was not asked for

    def put(self, event: Event) -> None:
        """From any thread."""
        self._queue.put(event)
        self.wake_up.set()

    def stop(self) -> None:
        """Ask the loop to drain and return; safe in a signal handler."""
        self.stop_requested = True
        self.wake_up.set()

    def drain(self) -> list[Event]:
        """Everything so far, by the loop's thread."""
        self.wake_up.clear()
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]


class ServingLoop:
    """Runs until `events.stop()`."""

    def __init__(
        self,
        intakes: Sequence[Intake],
        runners: Sequence[RouteRunner],
        sink: Sink,
        events: Events,
        patience: Patience,
        totals: Totals,
        cascades: Cascades | None = None,
        joining: Joining | None = None,
        outside: Outside = Outside(),  # noqa: B008 (frozen)
    ) -> None:
        self._intakes = intakes
        self._runners = runners
        self._sink = sink
        self._control = Control(intakes)
        self._events = events
        self._patience = patience
        self._totals = totals
        self._joining = Joining() if joining is None else joining
        self._cascades = Cascades(runners, totals) if cascades is None else cascades
        self._publisher = Publisher(sink, self._joining, self._control, totals, self._cascades)
        self._outside = outside
        self._observer = Observer(intakes, runners, sink, totals, outside)
        self._server: Serving | None = None
        self._tick_ns = self._beat_ns = 0

    @property
    def problems(self) -> Sequence[Problem]:
        """What stands in the way of the next frame; from any thread."""
        return self._observer.problems

    def run(self) -> None:
        """Serve. Returns when everything in flight at the stop was settled, or given up after the drain time."""
        poller = Poller()
        poller.watch(self._events.wake_up)
        poller.watch(self._sink.ask)
        poller.watch(self._sink.publisher)
        for stream in self._joining.streams:
            poller.watch(stream.socket)
        while not self._events.stop_requested:
            for intake in self._intakes:
                poller.watch(intake.inlet.socket, intake.inlet.keeping or not intake.blocked)
            ready = poller.wait(self._idle_ms())
            if self._sink.publisher.zmq in ready:
                self._sink.listen()
            if self._sink.ask.zmq in ready:
                self._answer()
            self._take_positions()  # before the frames, so that an empty queue of frames proves something
            for intake in self._intakes:
                if intake.inlet.keeping and intake.inlet.socket.zmq in ready:
                    intake.inlet.keep()
                if intake.inlet.socket.zmq in ready or intake.inlet.recovering or self._joining.asks(intake.name):
                    self._take_in(intake)
            self._turn()
        self._drain(poller)

    def _answer(self) -> None:
        if not self._sink.answer(self._reply):
            self._totals.refused_requests += 1

    def _reply(self, question: Question) -> Reply:
        return self._observer.answer(question) if isinstance(question, Ready) else self._control.answer(question)

    def _take_in(self, intake: Intake) -> None:
        publisher, pace = self._publisher, self._publisher.pace
        until_ns = time.monotonic_ns() + TAKE_NS
        while not intake.blocked and (now_ns := time.monotonic_ns()) < until_ns:
            if intake.inlet.recovering and pace.wait_ms(now_ns):
                return
            if not intake.take_next(publisher.opened, publisher.refused, publisher.recalled):
                self._joining.quiet(intake.name)
                return
            intake.place(publisher.refused)

    def _take_positions(self) -> None:
        for stream in self._joining.streams:
            stream.receive()

    def _idle_ms(self) -> int:
        """How long to wait for something to happen."""
        wait_ms = self._publisher.pace.wait_ms(time.monotonic_ns())
        return wait_ms if wait_ms or self._recovering() else TICK_NS // 1_000_000

    def _recovering(self) -> bool:
        return any(intake.inlet.recovering and not intake.blocked for intake in self._intakes)

    def _turn(self) -> None:
        """Everything that is not reading: completions, freed slots, new batches, finished series, timers."""
        now_ns = time.monotonic_ns()
        for event in self._events.drain():
            self._handle(event, now_ns)
        self._publisher.publish(self._joining.decided(now_ns))
        for intake in self._intakes:
            intake.place(self._publisher.refused)
        for runner in self._runners:
            if self._server is not None:
                runner.pump(self._server, now_ns, self._post, self._totals)
            for record, expected, reason in runner.pop_dropped():
                self._publisher.drop(record, runner, reason)
                self._cascades.lost(record, runner, expected)
        if now_ns - self._tick_ns >= TICK_NS:
            self._tick(now_ns)
        for intake in self._intakes:
            for record in intake.pop_finished():
                self._publisher.close(record)
                if record.series.close_reason is not CloseReason.SHUTDOWN:
                    intake.close(record, record.accounts if self._sink.keeps else (), now_ns)

    def _post(self, runner: RouteRunner, completion: Completion) -> None:
        self._events.put((runner, completion))

    def _handle(self, event: Event, now_ns: int) -> None:
        if isinstance(event, tuple):
            runner, completion = event
            runner.complete(completion, now_ns, self._publisher, self._totals)
        elif isinstance(event, SeriesEnded | Reading):
            for intake in self._intakes:
                if intake.name == event.source:
                    intake.settling.logged(event) if isinstance(event, SeriesEnded) else intake.dropped.take(event)
        elif isinstance(event, ServerReady):
            log.info("inference server ready (start %d, %s)", event.epoch, event.transport)
            self._server = Serving(event.epoch, event.client, event.transport)
            self._totals.server_epoch = event.epoch
            self._observer.lost = ""
            for runner in self._runners:
                runner.settle_all()
                runner.resume(event.epoch)
        elif isinstance(event, ServerChecked):
            for runner in self._runners:
                runner.checked(event.epoch, event.since_ns, self._publisher)
        else:
            log.warning("inference server lost: %s; frames wait for it to come back", event.reason)
            self._server, self._observer.lost = None, event.reason
            if event.gone:
                for runner in self._runners:
                    runner.settle_all()
        self._totals.server_ready = self._server is not None

    def _tick(self, now_ns: int) -> None:
        self._tick_ns = now_ns
        for intake in self._intakes:
            intake.advance(now_ns, self._patience.grace_ns, self._patience.idle_ns)
            intake.settle(now_ns)
            free, taken = intake.arena.usage()
            self._totals.images_copied[intake.name], self._totals.modules_missing[intake.name] = intake.copies()
            self._totals.slots[intake.name, "free"], self._totals.slots[intake.name, "taken"] = free, taken
        for runner in self._runners:
            self._totals.waiting[runner.route.name] = len(runner.queue)
            self._totals.requests_in_flight[runner.route.name] = runner.in_flight
        self._totals.held.update(self._joining.held())
        self._observer.look(now_ns)
        self._outside.beat()
        if now_ns - self._beat_ns >= BEAT_NS:
            self._beat_ns = now_ns
            self._sink.beat()

    def _drain(self, poller: Poller) -> None:
        """Finish what is in flight, give up the rest, and publish every account."""
        deadline = time.monotonic_ns() + self._patience.drain_ns
        self._observer.stopping = True
        for intake in self._intakes:
            poller.watch(intake.inlet.socket, False)
        while time.monotonic_ns() < deadline and (self._joining or (self._server is not None and self._busy())):
            ready = poller.wait(TICK_NS // 1_000_000)
            if self._sink.publisher.zmq in ready:
                self._sink.listen()
            if self._sink.ask.zmq in ready:
                self._answer()
            self._take_positions()
            self._turn()
        self._publisher.publish(self._joining.give_up())
        for runner in self._runners:
            for frame in runner.abandon():
                self._publisher.drop(frame.record, runner, SHUTDOWN)
                self._cascades.lost(frame.record, runner, frame.expected, SHUTDOWN)
        for intake in self._intakes:
            for record, runner in intake.shut_down():
                self._publisher.drop(record, runner, SHUTDOWN)
            for record in intake.pop_finished():
                self._publisher.close(record)
            intake.inlet.keep_rest()
        self._sink.beat()

    def _busy(self) -> bool:
        return any(runner.in_flight or len(runner.queue) for runner in self._runners) or any(
            intake.blocked or intake.filling for intake in self._intakes
        )
