"""The serving loop: the one thread that owns sockets, ledgers, slots and batches.

Other threads (the supervisor's, gRPC's) only put events into a queue and wake this one.
"""

import logging
import queue
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.inference.events import ServerLost, ServerReady
from edge.inference.requests import Completion
from edge.pipeline.batching import Pending
from edge.pipeline.control import Control
from edge.pipeline.dispatch import RouteRunner, Serving
from edge.pipeline.intake import Intake
from edge.pipeline.record import SeriesRecord
from edge.pipeline.sinks import ResultSink
from edge.pipeline.totals import Totals
from streams.codecs.results import Result, describe
from streams.sockets import Poller, WakeUp

log = logging.getLogger(__name__)

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
        self._queue: queue.SimpleQueue[ServerReady | ServerLost | tuple[RouteRunner, Completion]] = queue.SimpleQueue()
        self.stop_requested = False
        self.failure = ""  # why it was stopped, where that was not asked for

    def put(self, event: ServerReady | ServerLost | tuple[RouteRunner, Completion]) -> None:
        """From any thread."""
        self._queue.put(event)
        self.wake_up.set()

    def stop(self) -> None:
        """Ask the loop to drain and return; safe in a signal handler."""
        self.stop_requested = True
        self.wake_up.set()

    def drain(self) -> list[ServerReady | ServerLost | tuple[RouteRunner, Completion]]:
        """Everything so far, by the loop's thread."""
        self.wake_up.clear()
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]


class ServingLoop:
    """Runs until `events.stop()`."""

    def __init__(
        self,
        intakes: Sequence[Intake],
        runners: Sequence[RouteRunner],
        sink: ResultSink,
        events: Events,
        patience: Patience,
        totals: Totals,
    ) -> None:
        self._intakes = intakes
        self._runners = runners
        self._sink = sink
        self._control = Control(intakes)
        self._events = events
        self._patience = patience
        self._totals = totals
        self._server: Serving | None = None
        self._tick_ns = self._beat_ns = 0

    def run(self) -> None:
        """Serve. Returns when everything in flight at the stop was settled, or given up after the drain time."""
        poller = Poller()
        poller.watch(self._events.wake_up)
        poller.watch(self._sink.ask)
        while not self._events.stop_requested:
            for intake in self._intakes:
                poller.watch(intake.socket, not intake.blocked)
            ready = poller.wait(TICK_NS // 1_000_000)
            if self._sink.ask.zmq in ready:
                self._answer()
            for intake in self._intakes:
                if intake.socket.zmq in ready:
                    self._take_in(intake)
            self._turn()
        self._drain(poller)

    def _answer(self) -> None:
        if not self._sink.answer(self._control.answer):
            self._totals.refused_requests += 1

    def _take_in(self, intake: Intake) -> None:
        until_ns = time.monotonic_ns() + TAKE_NS
        while time.monotonic_ns() < until_ns:
            parts = None if intake.blocked else intake.socket.receive()
            if parts is None:
                return
            intake.take(parts, self._opened, self._refused)
            intake.place(self._refused)

    def _turn(self) -> None:
        """Everything that is not reading: completions, freed slots, new batches, finished series, timers."""
        now_ns = time.monotonic_ns()
        for event in self._events.drain():
            self._handle(event, now_ns)
        for intake in self._intakes:
            intake.place(self._refused)
        if self._server is not None:
            for runner in self._runners:
                runner.pump(self._server, now_ns, self._post, self._totals)
        if now_ns - self._tick_ns >= TICK_NS:
            self._tick(now_ns)
        for intake in self._intakes:
            for record in intake.pop_finished():
                self._close(record)

    def _post(self, runner: RouteRunner, completion: Completion) -> None:
        self._events.put((runner, completion))

    def _handle(self, event: ServerReady | ServerLost | tuple[RouteRunner, Completion], now_ns: int) -> None:
        if isinstance(event, tuple):
            runner, completion = event
            runner.complete(completion, now_ns, self, self._totals)
        elif isinstance(event, ServerReady):
            log.info("inference server ready (start %d, %s)", event.epoch, event.transport)
            self._server = Serving(event.epoch, event.client, event.transport)
            self._totals.server_epoch = event.epoch
            for runner in self._runners:
                runner.settle_all()
                runner.resume(event.epoch)
        else:
            log.warning("inference server lost: %s; frames wait for it to come back", event.reason)
            self._server = None
            if event.gone:
                for runner in self._runners:
                    runner.settle_all()
        self._totals.server_ready = self._server is not None

    def _tick(self, now_ns: int) -> None:
        self._tick_ns = now_ns
        for intake in self._intakes:
            intake.advance(now_ns, self._patience.grace_ns, self._patience.idle_ns)
            free, taken = intake.arena.usage()
            self._totals.slots[intake.name, "free"], self._totals.slots[intake.name, "taken"] = free, taken
        for runner in self._runners:
            self._totals.waiting[runner.route.name] = len(runner.queue)
            self._totals.requests_in_flight[runner.route.name] = runner.in_flight
        if now_ns - self._beat_ns >= BEAT_NS:
            self._beat_ns = now_ns
            self._sink.beat()

    def _opened(self, record: SeriesRecord) -> None:
        series = record.series
        log.info(
            "series %d (%s) of %s: expecting %s images", series.id, series.uid, series.source, series.counts().expected
        )
        for route in record.accounts:
            self._sink.send(record.started(route))

    def _close(self, record: SeriesRecord) -> None:
        for route in record.accounts:
            ended = record.ended(route)
            self._sink.send(ended)
            self._control.remember(ended)
            self._totals.series[route, ended.verdict] += 1
            log.info(
                "series %d of %s on %s: %s, %s of %s images published (%s)",
                *(ended.series_id, ended.source, route, ended.verdict),
                *(ended.account["published"], ended.arrivals["expected"], ended.reason),
            )

    def inferred(self, runner: RouteRunner, frame: Pending, arrays: Mapping[str, np.ndarray]) -> None:
        """Publish the result of one frame."""
        route = runner.route.name
        units = {output.name: output.units for output in runner.spec.outputs}
        series = frame.record.series
        result = Result(
            source=series.source,
            series_uid=series.uid,
            series_id=series.id,
            image_id=frame.image_id,
            channel=frame.channel,
            route=route,
            model=runner.spec.name,
            model_version=runner.model.version,
            model_sha256=runner.model.sha256,
            origin="",
            seq=0,
            received_ns=frame.received_wall_ns,
            published_ns=0,
            specs=tuple(describe(name, array, units[name]) for name, array in arrays.items()),
            position=frame.position,
            recovered=frame.recovered,
        )
        self._sink.send(result, list(arrays.values()))
        latency_ns = time.monotonic_ns() - frame.received_ns
        frame.record.accounts[route].publish(latency_ns)
        self._totals.outcomes[route, "published", ""] += 1
        self._totals.observe_latency(route, latency_ns / 1e9)

    def failed(self, runner: RouteRunner, frame: Pending, reason: str, detail: str) -> None:
        """Account for a frame that cannot be inferred."""
        self._refused(frame.record, runner, reason, detail)

    def _refused(self, record: SeriesRecord, runner: RouteRunner, reason: str, detail: str) -> None:
        route = runner.route.name
        record.accounts[route].fail(reason)
        self._totals.outcomes[route, "failed", reason] += 1
        if record.first_time(f"{route} {reason}"):
            log.warning(
                "series %d of %s on %s: frame failed (%s), %s; further ones are counted only",
                *(record.series.id, record.series.source, route, reason, detail),
            )

    def _drain(self, poller: Poller) -> None:
        """Finish what is in flight, give up the rest, and publish every account."""
        deadline = time.monotonic_ns() + self._patience.drain_ns
        for intake in self._intakes:
            poller.watch(intake.socket, False)
        while time.monotonic_ns() < deadline and self._server is not None and self._busy():
            if self._sink.ask.zmq in poller.wait(TICK_NS // 1_000_000):
                self._answer()
            self._turn()
        for runner in self._runners:
            for frame in runner.abandon():
                self._drop(frame.record, runner)
        for intake in self._intakes:
            for record, runner in intake.shut_down():
                self._drop(record, runner)
            for record in intake.pop_finished():
                self._close(record)
        self._sink.beat()

    def _busy(self) -> bool:
        return any(runner.in_flight or len(runner.queue) for runner in self._runners) or any(
            intake.blocked for intake in self._intakes
        )

    def _drop(self, record: SeriesRecord, runner: RouteRunner) -> None:
        record.accounts[runner.route.name].drop("shutdown")
        self._totals.outcomes[runner.route.name, "dropped", "shutdown"] += 1
