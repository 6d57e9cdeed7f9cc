"""Takes requests and gives answers, without sockets: who asked is an opaque name, and answers leave by a function."""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

from edge.agent.messages import CannotSuggest
from edge.agent.service import ServiceClosed
from edge.steering import wire
from edge.steering.experiments import Busy, Differs, Experiment, Experiments
from edge.steering.log import LogError, LogFull
from edge.steering.words import pack, suggestion_words
from streams.messages import CodecError, Part

log = logging.getLogger(__name__)

MOST_IN_HAND = 1000
"""Requests that are taken and not answered."""


class NotOpen(RuntimeError):
    """The experiment is not open."""


KINDS: tuple[tuple[type[BaseException], wire.Kind], ...] = (
    (NotOpen, "not_open"),
    (ServiceClosed, "not_open"),
    (CancelledError, "not_open"),
    (CannotSuggest, "cannot_suggest"),
    (Busy, "busy"),
    (LogFull, "full"),
    (LogError, "unusable"),
    (Differs, "differs"),
    (ValueError, "refused"),
    (OSError, "disk"),
)
"""What an error is called on the wire; the first that fits."""


class Desk:
    """All but the socket of the agent's service. `handle` is for one thread; answers come from any.

    Args:
        send: takes a peer and an answer for it.

    Attributes:
        counts: "requests" taken, "answers" to them, "failed" among these, "repeated" while the same was in hand, and
            what was no request, by the reason of the CodecError.
    """

    def __init__(self, experiments: Experiments, send: Callable[[bytes, bytes], None]) -> None:
        self._experiments = experiments
        self._send = send
        self._since = time.time()
        self._lock = threading.Lock()  # of the two below
        self._in_hand: set[tuple[bytes, int]] = set()
        self.counts: Counter[str] = Counter()

    def handle(self, peer: bytes, parts: Sequence[Part]) -> None:
        """Take one message of `peer`; never raises, whatever it is."""
        try:
            if len(parts) != 1:
                raise CodecError("malformed", f"a request has one part, not {len(parts)}")
            request = wire.unpack_request(parts[0])
        except CodecError as error:
            self._count(error.reason)
            self._send(peer, pack(_failed(0, "too_large" if error.reason == "too_large" else "malformed", error)))
            return
        if isinstance(request, wire.Ping):
            self._count("requests", "answers")
            self._send(peer, pack(self._pong(request.number)))
        else:
            self._take(peer, request)

    def told(self) -> str:
        """One line for people."""
        return f"experiments that are open: {', '.join(self._experiments.names) or 'none'}"

    def _take(self, peer: bytes, request: wire.Request) -> None:
        token = (peer, request.number)
        with self._lock:
            if token in self._in_hand:  # its answer will do
                self.counts["repeated"] += 1
                return
            self.counts["requests"] += 1
            full = len(self._in_hand) >= MOST_IN_HAND
            self._in_hand.add(token)
        try:
            if full:
                raise Busy(f"{MOST_IN_HAND} requests wait for their answers, the most that may")
            job, told = self._begin(request)
        except RuntimeError as error:  # NotOpen, Busy; or all is ending
            self._finish(token, self._failure(request.number, error))
            return
        job.add_done_callback(lambda done: self._finish(token, self._outcome(request.number, done, told)))

    def _begin(self, request: wire.Request) -> tuple[Future[Any], Callable[[Any], wire.Answer]]:
        """A future, and the answer to what it will hold. Raises RuntimeError where nothing was begun."""
        number = request.number
        if isinstance(request, wire.Open):
            return self._experiments.open(request.experiment, request.definition), lambda found: _opened(number, found)
        assert not isinstance(request, wire.Ping)
        if isinstance(request, wire.Close):
            return self._experiments.close(request.experiment), lambda _: wire.Taken(number)
        found = self._experiments.get(request.experiment)
        if found is None:
            raise NotOpen(f"experiment {request.experiment!r} is not open")
        if isinstance(request, wire.Ask):
            return found.follow(found.service.request(request.key, request.n)), lambda made: _suggested(number, made)
        if isinstance(request, wire.Ingest):
            job = found.service.ingest([one.meant() for one in request.observations])
        else:
            job = found.service.abandon(request.suggestion_ids)
        return found.follow(job), lambda _: wire.Taken(number)

    def _outcome(self, number: int, done: Future[Any], told: Callable[[Any], wire.Answer]) -> wire.Answer:
        error = CancelledError("the service stops") if done.cancelled() else done.exception()
        return told(done.result()) if error is None else self._failure(number, error)

    def _failure(self, number: int, error: BaseException) -> wire.Failed:
        kind = _kind(error)
        if kind in ("failed", "disk", "unusable", "full"):
            log.error("request %d: %s", number, error, exc_info=error if kind == "failed" else None)
        return _failed(number, kind, error)

    def _finish(self, token: tuple[bytes, int], answer: wire.Answer) -> None:
        with self._lock:
            self._in_hand.discard(token)
            self.counts["answers"] += 1
            self.counts["failed"] += isinstance(answer, wire.Failed)
        self._send(token[0], pack(answer))

    def _count(self, *what: str) -> None:
        with self._lock:
            self.counts.update(what)
        if what[0] != "requests" and f"{self.counts[what[0]]}".strip("0") == "1":  # the 1st, 10th, 100th
            log.warning("%d messages that are no requests (%s)", self.counts[what[0]], what[0])

    def _pong(self, number: int) -> wire.Pong:
        with self._lock:
            counts = dict(self.counts)
        return wire.Pong(number, self._since, os.getpid(), self._experiments.names, counts)


def _opened(number: int, found: Experiment) -> wire.Opened:
    return wire.Opened(number, *found.agent.counts)


def _suggested(number: int, made: Sequence[Any]) -> wire.Suggested:
    return wire.Suggested(number, tuple(map(suggestion_words, made)))


def _kind(error: BaseException) -> wire.Kind:
    for cls, kind in KINDS:
        if isinstance(error, cls):
            return kind
    return "failed"


def _failed(number: int, kind: wire.Kind, error: BaseException) -> wire.Failed:
    text = str(error) or type(error).__name__
    return wire.Failed(number, kind, text.encode("utf-8", "replace").decode()[: wire.MAX_TEXT])
