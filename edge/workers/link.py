"""A worker's end of the link to whoever gathers: what takes the place of sockets, files and ledger of record in it.

It belongs to the serving loop's thread, and looks like a `ResultSink` to it. Sending waits: nothing that was inferred
is dropped on the way. A worker whose results are not taken takes no frames, so the detector waits, too. Only the end of
whoever gathers ends the waiting, and with it the worker.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from edge.pipeline.intake import Intake
from edge.pipeline.loop import Events
from edge.pipeline.presence import Presence
from edge.pipeline.readiness import Facts
from edge.pipeline.record import SeriesRecord
from edge.pipeline.sinks import Numbered
from edge.pipeline.totals import Totals
from edge.results.recall import Recall
from edge.workers import words
from edge.workers.gone import Watched
from edge.workers.starts import AwaitingDecoder
from edge.workers.telling import TellingBook
from streams.codecs import results
from streams.ledger.shares import Share
from streams.messages import Decoder, Part
from streams.sockets import Context, Socket, SocketError, dealer

log = logging.getLogger(__name__)

QUEUED = 32
"""Messages that wait in each direction; beyond, the worker waits."""
TOGETHER_BYTES = 8 << 20
"""Results in one message, where they are not larger each: what waits is bounded."""
SEND_MS = 100
LINGER_MS = 5_000
"""How long the last words may take to leave at the end."""
WELCOME_S = 10.0
COUNTS_NS = 500_000_000
"""Between two tellings of all counters."""
COUNTED = (
    *("messages", "malformed", "outcomes", "retries", "recovered", "not_recorded", "positions_missing"),
    "untrained",
)
"""Counters of `Totals` that are told."""

_Key = tuple[str, str]


class Link:
    """Handed to `edge.assembly.data_plane` of a worker.

    Args:
        address: of whoever gathers; private.
        share: which worker this is.
        records: whether what it takes in is recorded.
    """

    def __init__(self, address: str, share: Share, records: bool) -> None:
        self._address, self._share, self._records = address, share, records
        self._socket: Socket | None = None
        self._gatherer: Watched | None = None
        self._keeps = False
        self._decoders: dict[str, AwaitingDecoder] = {}
        self._books: dict[str, TellingBook] = {}
        self._intakes: Mapping[str, Intake] = {}
        self._events: Events | None = None
        self._totals = Totals()
        self._open: dict[_Key, tuple[SeriesRecord, set[str]]] = {}  # and the routes that are not closed yet
        self._to_close: set[_Key] = set()  # whose end is awaited by whoever gathers
        self._starts: list[bytes] = []  # that came before there were decoders
        self._told: dict[tuple[str, str, str], words.RouteNow] = {}
        self._counted_ns = 0
        self.presence, self.recall, self.origin = Presence(), Recall(()), ""

    # what `data_plane` asks for

    def connect(self, ctx: Context, stack: ExitStack) -> dict[str, Any]:
        """Say who this is; the socket is closed with `stack`. Raises SocketError where nobody gathers."""
        self._socket = dealer(ctx, QUEUED, heartbeats=False)  # both ends watch the other one's process
        stack.callback(self._socket.close, LINGER_MS)
        self._socket.zmq.routing_id = f"{self._share.part}.{os.getpid()}".encode()
        self._socket.connect(self._address, plain=True)
        hello = words.Hello(self._share.part, os.getpid(), self._records)
        self._socket.send([words.WORD, words.pack(hello)], int(1000 * WELCOME_S))
        self._hear_until(lambda: self._gatherer is not None, WELCOME_S)
        if self._gatherer is None:
            raise SocketError(f"nobody gathers the results of workers at {self._address}")
        return {"worker": self._share.part, "pid": os.getpid()}

    def decoder(self, source: str, inner: Decoder) -> Decoder:
        """In place of the protocol's own."""
        found = self._decoders[source] = AwaitingDecoder(inner, self._hear_until)
        for packed in self._starts:
            self._relay(packed)
        return found

    def book(self, source: str) -> TellingBook:
        """In place of the ledger of a source whose decoder is known."""
        own = self._decoders[source].own
        book = TellingBook(source, self._share, lambda uid: self._settled(source, uid), own, self.flush)
        self._books[source] = book
        return book

    def watch(self, intakes: Sequence[Intake], events: Events, totals: Totals) -> None:
        """The loop's own; from now on the link can do what it is asked."""
        self._intakes = {intake.name: intake for intake in intakes}
        self._events, self._totals = events, totals

    def seen(self, facts: Facts) -> None:
        """Several times a second: tell how things are, and hear what is asked."""
        if self._gatherer is not None and self._gatherer.gone:
            self._abandon()
        self.answer()
        self.flush()
        self._tell_state(facts)

    # what the loop takes for its sink

    @property
    def publisher(self) -> Socket:
        """Where results leave."""
        assert self._socket is not None
        return self._socket

    ask = publisher

    @property
    def keeps(self) -> bool:
        """Whether results go into files, elsewhere."""
        return self._keeps

    def send(self, notice: Numbered, arrays: Sequence[np.ndarray] = ()) -> None:
        """Tell one notice, after what it rests on."""
        if isinstance(notice, results.Result):
            self.send_all(notice.route, [(notice, [results.content(array) for array in arrays])])
            return
        self.flush()
        key = (notice.source, notice.series_uid)
        record = self._intakes[notice.source].records.get(notice.series_uid)
        if isinstance(notice, results.SeriesStarted) and record is not None:
            self._open[key] = (record, set(record.accounts))
        self._send([words.NOTICE, *results.pack(notice)])
        if isinstance(notice, results.SeriesEnded):
            self._route_closed(key, notice.route)

    def send_all(self, route: str, notices: Sequence[tuple[Numbered, Sequence[Part]]]) -> None:
        """Tell results of one route and source, each with the bytes of its arrays."""
        self.flush()
        ahead_ns = time.monotonic_ns() - time.time_ns()
        made: list[words.Made] = []
        nbytes, source = 0, notices[0][0].source if notices else ""
        for result, arrays in notices:
            assert isinstance(result, results.Result)
            made.append(words.Made(result.received_ns + ahead_ns, result, [memoryview(array) for array in arrays]))
            nbytes += sum(map(len, arrays))
            if nbytes >= TOGETHER_BYTES:
                self._send([words.WORD, words.pack(words.Results(source, route, made))])
                made, nbytes = [], 0
        if made:
            self._send([words.WORD, words.pack(words.Results(source, route, made))])

    def beat(self) -> None:
        """Whoever gathers tells the subscribers."""

    def listen(self) -> None:
        """Nobody subscribes here."""

    def answer(self, control: Any = None) -> bool:
        """Do what is asked. Nothing asks `control` here."""
        while (message := self.publisher.receive()) is not None:
            self._take(words.unpack_down(message[0]))
        return True

    def flush(self) -> None:
        """Tell what has arrived."""
        for book in self._books.values():
            if book:
                for word in book.pop_told():
                    self._send([words.WORD, words.pack(word)])

    # within

    def _take(self, word: words.Down) -> None:
        if isinstance(word, words.Welcome):
            self._gatherer, self._keeps = Watched(word.pid), word.keeps
            self._starts = word.starts
        elif isinstance(word, words.Start):
            self._relay(word.packed)
        elif isinstance(word, words.Close):
            self._close(word.source, word.series_uid)
        elif self._events is not None:
            self._events.put(_logged(word))

    def _relay(self, packed: bytes) -> None:
        start = words.unpack_start(packed)
        if start.source in self._decoders:
            self._decoders[start.source].relayed(start)

    def _close(self, source: str, uid: str) -> None:
        if source not in self._books or source not in self._intakes:
            return
        self.flush()  # what had come before is told before its end is
        self._books[source].close(uid)
        if (source, uid) in self._open:
            self._to_close.add((source, uid))
        else:
            self._send([words.WORD, words.pack(words.Closed(source, uid))])

    def _route_closed(self, key: _Key, route: str) -> None:
        self._told.pop((*key, route), None)
        if key not in self._open:
            return
        _, routes = self._open[key]
        routes.discard(route)
        if not routes:
            del self._open[key]
            if key in self._to_close:
                self._to_close.discard(key)
                self._send([words.WORD, words.pack(words.Closed(*key))])

    def _settled(self, source: str, uid: str) -> bool:
        intake = self._intakes.get(source)
        record = intake.records.get(uid) if intake is not None else None
        return record is not None and record.settled

    def _tell_state(self, facts: Facts) -> None:
        now_ns = time.monotonic_ns()
        blocked = tuple(name for name, intake in self._intakes.items() if intake.blocked)
        accounts = list(self._changed_accounts())
        counts: words.Counts = {}
        if now_ns - self._counted_ns >= COUNTS_NS:
            self._counted_ns = now_ns
            counts = {name: _told(getattr(self._totals, name)) for name in COUNTED}
        self._send([words.WORD, words.pack(words.State(facts, blocked, accounts, counts))])

    def _changed_accounts(self) -> "Sequence[words.RouteNow]":
        changed = []
        for (source, uid), (record, routes) in self._open.items():
            for route in routes:
                account, positions = record.accounts[route].as_dict(), record.positions[route].as_dict()
                now = words.RouteNow(source, uid, route, account, positions)
                if self._told.get((source, uid, route)) != now:
                    self._told[source, uid, route] = now
                    changed.append(now)
        return changed

    def _send(self, parts: Sequence[Any]) -> None:
        while not self.publisher.send(parts, SEND_MS):
            if self._gatherer is None or self._gatherer.gone:
                self._abandon()
                return

    def _abandon(self) -> None:
        """Nobody takes what this process does: another one starts anew, with whoever gathers then."""
        if self._events is not None and not self._events.failure:
            self._events.failure = "the process that gathers the results of the workers has ended"
            log.error("%s: this worker ends, too", self._events.failure)
            self._events.stop()

    def _hear_until(self, done: Callable[[], bool], patience_s: float) -> None:
        """Hear what whoever gathers says until `done`, at most for so long."""
        self.flush()  # it may be what the others wait for
        deadline = time.monotonic() + patience_s
        while not done() and (left_ms := int(1000 * (deadline - time.monotonic()))) > 0:
            message = self.publisher.receive(min(left_ms, SEND_MS))
            if message is not None:
                self._take(words.unpack_down(message[0]))


def _told(counts: Mapping[Any, float]) -> list[tuple[tuple[str, ...], float]]:
    return [(key if isinstance(key, tuple) else (key,), value) for key, value in dict(counts).items()]


def _logged(word: words.Logged) -> results.SeriesEnded:
    """What the loop takes for the end of a series that is in its log."""
    return results.SeriesEnded(
        source=word.source,
        series_uid=word.series_uid,
        series_id=0,
        route=word.route,
        origin="",
        seq=0,
        published_ns=0,
        reason="",
        verdict="",
        arrivals={},
        account={},
        latency_ms={},
    )
