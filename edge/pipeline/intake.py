"""The near end of one source: message -> codec -> arrival facts -> router -> slot."""

import logging
import time
from collections.abc import Callable, Sequence

from edge.pipeline.arena import Arena
from edge.pipeline.dispatch import RouteRunner
from edge.pipeline.placing import Failed, Placement, Waiting, refusal_of
from edge.pipeline.record import SeriesRecord
from edge.pipeline.totals import Totals
from streams.messages import CodecError, Decoder, Frame, Part, SeriesEnd, SeriesStart
from streams.series import Arrival, Series, SeriesBook, State
from streams.sockets import Receiving

log = logging.getLogger(__name__)

Opened = Callable[[SeriesRecord], None]


class Intake:
    """Takes in one source.

    Args:
        name: the source's.
        socket: where its messages arrive.
        decoder: its protocol.
        arena: its memory.
        runners: all routes.
        totals: counters.
    """

    def __init__(
        self,
        name: str,
        socket: Receiving,
        decoder: Decoder,
        arena: Arena,
        runners: Sequence[RouteRunner],
        totals: Totals,
    ) -> None:
        self.name = name
        self.socket = socket
        self.arena = arena
        self.records: dict[str, SeriesRecord] = {}
        self._decoder = decoder
        self._runners = runners
        self._totals = totals
        self._book = SeriesBook()
        self._placement = Placement(arena)
        self._warned: set[str] = set()

    @property
    def blocked(self) -> bool:
        """Whether frames wait for a slot: then nothing more is taken from the socket, and the sender waits."""
        return bool(self._placement)

    def take(self, parts: Sequence[Part], opened: Opened, failed: Failed) -> None:
        """Enter one message. Never raises for what a peer sent."""
        wall_ns, now_ns = time.time_ns(), time.monotonic_ns()
        self._totals.messages[self.name] += 1
        try:
            messages = self._decoder.decode(parts, wall_ns)
        except CodecError as error:
            self._totals.malformed[self.name, error.reason] += 1
            if error.reason not in self._warned:  # once a series: `_open` forgets
                self._warned.add(error.reason)
                log.warning("source %s: message dropped, %s; further ones are counted only", self.name, error)
            return
        for message in messages:
            if isinstance(message, Frame):
                series, new = self._book.of_frame(message, now_ns)
                if new:
                    self._enter(series, opened)
                if self._arrives(message, series, now_ns):
                    self._route(message, wall_ns, now_ns, failed)
            elif isinstance(message, SeriesStart):
                series, new = self._book.open(message, now_ns)
                if new:
                    self._enter(series, opened)
            elif isinstance(message, SeriesEnd):
                self._book.end(message, now_ns)

    def place(self, failed: Failed) -> None:
        """Decompress waiting frames into slots for as long as there are free ones."""
        self._placement.place(failed)

    def advance(self, now_ns: int, grace_ns: int, idle_ns: int) -> None:
        """Let time pass for the open series. While we do not listen, the detector's silence means nothing."""
        for series in self._book.open_series():
            if self.blocked:
                series.touch(now_ns)
            series.advance(now_ns, grace_ns=grace_ns, idle_ns=idle_ns)
            if series.state is State.CLOSED:
                self._decoder.closed(series.uid)

    def shut_down(self) -> list[tuple[SeriesRecord, RouteRunner]]:
        """Close what is open; the wanted frames that had no slot yet, one entry a route."""
        given_up = self._placement.abandon()
        for series in self._book.open_series():
            series.shut_down()
        return given_up

    def pop_finished(self) -> list[SeriesRecord]:
        """The records whose account is final; they are forgotten here."""
        done = [uid for uid, record in self.records.items() if record.finished]
        for uid in done:
            self._book.finish(uid)
        return [self.records.pop(uid) for uid in done]

    def _enter(self, series: Series, opened: Opened) -> None:
        record = self.records.get(series.uid)
        if record is None:
            record = self.records[series.uid] = SeriesRecord(series, [runner.route.name for runner in self._runners])
        self._warned.clear()
        opened(record)

    def _arrives(self, frame: Frame, series: Series, now_ns: int) -> bool:
        """Enter the arrival of `frame`; whether it is one to infer."""
        arrival = series.take(frame, now_ns)
        self._totals.arrivals[self.name, arrival] += 1
        return arrival is Arrival.NEW

    def _route(self, frame: Frame, wall_ns: int, now_ns: int, failed: Failed) -> None:
        record = self.records[frame.series_uid]
        wanted = []
        for runner in self._runners:
            route, account = runner.route, record.accounts[runner.route.name]
            if not route.wants(frame):
                account.skip()
                self._totals.outcomes[route.name, "unwanted", ""] += 1
                continue
            account.accept()
            refusal = refusal_of(frame, runner)
            if refusal is None:
                wanted.append(runner)
            else:
                failed(record, runner, *refusal)
        if wanted:
            self._placement.put(Waiting(frame, record, wanted, wall_ns, now_ns))
