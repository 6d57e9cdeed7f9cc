"""The near end of one source: message -> codec -> arrival facts -> router -> slot."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from edge.pipeline.cascades import Cascades
from edge.pipeline.dispatch import RouteRunner
from edge.pipeline.dropped import DroppedBook
from edge.pipeline.inlet import CLOSED, SETTLED, TRIGGERED, Inlet, Received
from edge.pipeline.placing import Failed, Placement, Waiting
from edge.pipeline.plans import MOST_PLANS, Kind, Plan
from edge.pipeline.preparing import Shot
from edge.pipeline.record import SeriesRecord
from edge.pipeline.settling import Settling
from edge.pipeline.totals import Totals
from edge.pipeline.untrained import Range
from streams.ledger.lifecycle import Arrival, State
from streams.ledger.series import Series
from streams.messages import Absent, CodecError, Decoder, Frame, SeriesEnd, SeriesStart
from streams.recording.segments import Place

log = logging.getLogger(__name__)

Opened = Callable[[SeriesRecord], None]
Recalled = Callable[[SeriesRecord, RouteRunner, Frame], Mapping[str, np.ndarray] | None]
"""Publishes the result that an earlier process logged of an image, and tells it; None where it did not."""


def _nothing_recalled(record: SeriesRecord, runner: RouteRunner, frame: Frame) -> None:
    return None


class Book(Protocol):
    """A ledger of one source; `SeriesBook` explains each."""

    def open(self, start: SeriesStart, now_ns: int) -> tuple[Series, bool]: ...

    def of_frame(self, frame: Frame, now_ns: int) -> tuple[Series, bool]: ...

    def absent(self, message: Absent) -> None: ...

    def end(self, message: SeriesEnd, now_ns: int) -> Series | None: ...

    def open_series(self) -> list[Series]: ...

    def finish(self, uid: str) -> None: ...


class Intake:
    """Takes in one source.

    Args:
        inlet: where its messages come from.
        decoder: its protocol.
        book: its ledger.
        placement: its way into memory.
        runners: all routes.
        totals: counters.
        cascades: which routes follow which.
        ask_dropped: asks the detector how many images it dropped; the answer is entered into `dropped`.
    """

    def __init__(
        self,
        inlet: Inlet,
        decoder: Decoder,
        book: Book,
        placement: Placement,
        runners: Sequence[RouteRunner],
        totals: Totals,
        cascades: Cascades | None = None,
        ask_dropped: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = inlet.source
        self.inlet = inlet
        self.arena = placement.arena
        self.records: dict[str, SeriesRecord] = {}
        self.settling = Settling()
        self.dropped = DroppedBook()
        self._ask_dropped = ask_dropped
        self._decoder = decoder
        self._runners = runners
        self._totals = totals
        self._cascades = Cascades(runners, totals) if cascades is None else cascades
        self._book = book
        self._placement = placement
        self._warned: set[str] = set()
        self._of = {arrival: (self.name, arrival) for arrival in Arrival}  # labels
        self._plans: dict[SeriesRecord, dict[Kind, Plan]] = {}
        self._pieces: Place | None = None  # of the first message that says something with the next ones only

    @property
    def filling(self) -> int:
        """Images that are being decompressed."""
        return self._placement.filling

    @property
    def blocked(self) -> bool:
        """Whether frames wait for a slot: then nothing more is taken from the socket, and the sender waits."""
        return bool(self._placement)

    def take_next(self, opened: Opened, failed: Failed, recalled: Recalled = _nothing_recalled) -> bool:
        """Enter the next message, where there is one."""
        received = self.inlet.receive()
        if isinstance(received, Received):
            self.take(received, opened, failed, recalled)
        elif received is not None:
            self._remember(received.facts)
        return received is not None

    def triggered(self, record: SeriesRecord, images: int) -> bool:
        """The controller triggered so many images a channel of this series; whether that can be."""
        known = record.series.triggered(images)
        if known:
            self.inlet.mark({TRIGGERED: record.series.uid, "images": images})
        return known

    def _remember(self, facts: Mapping[str, Any]) -> None:
        """What an earlier process noted here, which no message tells."""
        if isinstance(uid := facts.get(CLOSED), str):
            self._decoder.closed(uid)
        uid, images = facts.get(TRIGGERED), facts.get("images")
        if isinstance(uid, str) and isinstance(images, int) and (record := self.records.get(uid)) is not None:
            record.series.triggered(images)

    def take(self, received: Received, opened: Opened, failed: Failed, recalled: Recalled = _nothing_recalled) -> None:
        """Enter one message. Never raises for what a peer sent."""
        now_ns = time.monotonic_ns()
        self._totals.messages[self.name] += 1
        try:
            messages = self._decoder.decode(received.parts, received.received_ns)
        except CodecError as error:
            self._totals.malformed[self.name, error.reason] += 1
            if error.reason not in self._warned:  # once a series: `_open` forgets
                self._warned.add(error.reason)
                log.warning("source %s: message dropped, %s; further ones are counted only", self.name, error)
            return
        self._pieces = self._pieces or received.place
        arrived: list[tuple[SeriesRecord, list[Frame]]] = []  # a message has frames of one series as a rule
        for message in messages:
            if isinstance(message, Frame):
                series, new = self._book.of_frame(message, now_ns)
                if new:
                    self._enter(series, received, opened)
                arrival = series.take(message, now_ns)
                self._totals.arrivals[self._of[arrival]] += 1
                if arrival is Arrival.NEW:
                    record = self.records[series.uid]
                    if not arrived or arrived[-1][0] is not record:
                        arrived.append((record, []))
                    arrived[-1][1].append(message)
            elif isinstance(message, SeriesStart):
                series, new = self._book.open(message, now_ns)
                if new:
                    self._enter(series, received, opened)
            elif isinstance(message, Absent):
                self._book.absent(message)
            elif isinstance(message, SeriesEnd):
                series = self._book.end(message, now_ns)
                if series is not None and series.state is State.ENDING:
                    self._ask_dropped()
        if messages:
            self._pieces = None
        for record, frames in arrived:
            if not record.settled:
                for shot in self._placement.preparing.shots(frames, record.start):
                    self._route(shot, record, received, now_ns, failed, recalled)

    def _route(
        self, shot: Shot, record: SeriesRecord, received: Received, now_ns: int, failed: Failed, recalled: Recalled
    ) -> None:
        """Enter an image into the accounts of all routes; those that can take it get it as soon as it has a slot."""
        plan = self._plan(shot.frame, record)
        for account in plan.accepting:
            account.accept()
        for account, route in plan.declining:
            account.skip()
            self._totals.outcomes[route, "unwanted", ""] += 1
        for runner, reason, detail in plan.refused:
            failed(record, runner, *(("conditioning", shot.error) if shot.error else (reason, detail)))
        if shot.error:
            for runner in plan.able:
                failed(record, runner, "conditioning", shot.error)
            return
        expected = plan.expected
        if received.recovered or len(plan.runners) + len(expected) < len(plan.able):
            recall = (lambda runner: recalled(record, runner, shot.frame)) if received.recovered else None
            now, expected = self._cascades.begin(record, plan.able, recall)
            plan = plan.only(now)
        if plan.runners:
            self._placement.put(Waiting(shot, record, plan, received.received_ns, now_ns, received.recovered, expected))

    def _plan(self, frame: Frame, record: SeriesRecord) -> Plan:
        plans = self._plans.get(record)
        if plans is None:
            plans = self._plans[record] = {}
        kind = (frame.channel, frame.shape, frame.dtype)
        plan = plans.get(kind)
        if plan is None:
            if len(plans) >= MOST_PLANS:
                plans.clear()
            plan = plans[kind] = Plan(frame, record, self._runners)
        return plan

    def place(self, failed: Failed) -> None:
        """Decompress waiting frames into slots for as long as there are free ones."""
        self._placement.place(failed)

    def advance(self, now_ns: int, grace_ns: int, idle_ns: int) -> None:
        """Let time pass for the open series. While we do not listen, the detector's silence means nothing."""
        for series in self._book.open_series():
            if self.blocked or self.inlet.recovering:
                series.touch(now_ns)
            series.advance(now_ns, grace_ns=grace_ns, idle_ns=idle_ns)
            if series.state is State.CLOSED:
                self.inlet.mark({CLOSED: series.uid})
                self._decoder.closed(series.uid)

    def copies(self) -> tuple[int, int]:
        """Images that were copied once more for a selection; modules of assembled images that did not come."""
        return self._placement.copied, self._placement.preparing.missing

    def shut_down(self) -> list[tuple[SeriesRecord, RouteRunner]]:
        """Close what is open; the wanted images that are in no slot yet, one entry a route."""
        given_up = self._placement.abandon()
        for series in self._book.open_series():
            series.shut_down()
        return given_up

    def pop_finished(self) -> list[SeriesRecord]:
        """The records whose account is final; they are forgotten here."""
        done = [uid for uid, record in self.records.items() if record.finished]
        for uid in done:
            self._book.finish(uid)
        records = [self.records.pop(uid) for uid in done]
        for record in records:
            self._plans.pop(record, None)
        for record in records:
            self._reconcile(record.series)
        return [record for record in records if not record.settled]

    def _reconcile(self, series: Series) -> None:
        """Tell the series how many of its images the detector says it dropped itself."""
        opened = [record.series.opened_ns for record in self.records.values()]
        later = min((opened_ns for opened_ns in opened if opened_ns > series.opened_ns), default=None)
        series.detector_dropped(self.dropped.of(series.uid, series.opened_ns, later))

    def close(self, record: SeriesRecord, routes: Iterable[str], now_ns: int) -> None:
        """The account of a series was published; its results are on their way into the files of `routes`."""
        if self.inlet.recording:
            self.settling.close(record.series.uid, set(routes), now_ns, record.place)

    def settle(self, now_ns: int) -> None:
        """Mark in the capture which series need nothing more."""
        done = self.settling.pop_settled(now_ns)
        records = [record for record in self.records.values() if not record.settled]
        begins = [record.place for record in records] + self.settling.places() + [self.inlet.unread]
        places = [place for place in begins if place is not None]
        begin = {"from": list(min(places))} if places else {}
        unsettled = sorted({*(record.series.uid for record in records), *self.settling})
        for number, (uid, place) in enumerate(done, 1):
            still = {} if number < len(done) else {"open": unsettled, **begin}
            self.inlet.mark({SETTLED: uid, **({} if place is None else {"at": list(place)}), **still})

    def _enter(self, series: Series, received: Received, opened: Opened) -> None:
        record = self.records.get(series.uid)
        if record is None:
            runners = [runner for runner in self._runners if runner.route.takes(self.name)]
            routes = [runner.route.name for runner in runners]
            settled = received.recovered and self._pieces in self.inlet.settled
            record = SeriesRecord(series, routes, recovered=received.recovered, settled=settled)
            record.place = self._pieces  # SIMPLON v1 may announce a series in two messages
            record.ranges |= {runner.route.name: Range(runner.model.valid) for runner in runners}
            self.records[series.uid] = record
        for runner in self._runners:
            if (route := runner.route.name) in record.accounts:
                record.geometry[route] = self._placement.preparing.geometry(record.start, runner.selection)
                record.ranges[route].opened(record.start.header, record.geometry[route])
        self._plans.pop(record, None)  # its start may have come after its first images, and name routes' sources
        self._warned.clear()
        if not record.settled:
            opened(record)
