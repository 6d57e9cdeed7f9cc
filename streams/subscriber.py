"""Receives results so that none is missed and none comes twice.

with context() as ctx, Subscriber(ctx, "tcp://127.0.0.1:5601", ["ptycho"]) as results:
    for notice, arrays in results:
        ...
"""

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from types import TracebackType

import numpy as np

from streams.codecs import handshake, results
from streams.ledger.intervals import IntervalSet
from streams.messages import CodecError
from streams.sockets import Context, Peers, Socket, dealer, subscribe

HELLO_INTERVAL_MS = 100
REPLAY_TIMEOUT_MS = 2_000
"""Silence after which what is missing counts as lost."""
SERIES_REMEMBERED = 4096
"""Series of which repeats are known, counted for each route and channel."""


class NoAnswer(RuntimeError):
    """Nobody answers at the handshake address."""


class Subscriber:
    """An iterator over (notice, arrays by name) of the chosen routes, in the sender's order.

    Gaps in `seq` are filled from the sender's memory; what it no longer has is counted in `lost`. Results that
    were handed out before are dropped by key and counted in `repeats`.

    Args:
        ask_address: the handshake socket of the sender.
        routes: names; empty means every route that the sender has.
        timeout_s: how long to wait for the sender's first answer.
        from_start: first what the sender published before, as far as it remembers.
        name: by which the sender knows that this subscriber is present, of 1 to 64 letters, digits, `_`, `.`, `-`; a
            detector is not armed without those that are required. Several of one name count as one. Empty: none.

    Raises:
        NoAnswer: the sender did not answer in time.
        ValueError: it has no such route; or that is no name.
    """

    def __init__(
        self,
        ctx: Context,
        ask_address: str,
        routes: Sequence[str] = (),
        timeout_s: float = 10.0,
        *,
        from_start: bool = False,
        name: str = "",
    ) -> None:
        presence = handshake.presence_topic(name) if name else b""
        self.lost = 0
        self.repeats = 0
        self.unreadable = 0
        self._ctx = ctx
        self._address = ask_address
        self._ask = dealer(ctx)
        self._peers = self._ask.peers
        self._ready: deque[tuple[results.Notice, dict[str, np.ndarray]]] = deque()
        self._seen: dict[tuple[str, str, str, str], IntervalSet] = {}
        try:
            self._ask.connect(ask_address)
            welcome = self._hello(timeout_s)
            self.routes = _chosen(routes, welcome, ask_address)
            self._origin = welcome.origin
            self._next = dict.fromkeys(welcome.next_seq, 0) if from_start else dict(welcome.next_seq)
            self._results = self._subscribe(_reachable(welcome.publish, ask_address), timeout_s)
            if presence:  # only now: whoever is present misses nothing
                self._results.zmq.subscribe(presence)
        except BaseException:
            self._ask.close()
            raise

    def __enter__(self) -> "Subscriber":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._ask.close()
        self._results.close()

    def __iter__(self) -> Iterator[tuple[results.Notice, dict[str, np.ndarray]]]:
        while True:
            received = self.receive(1.0)
            if received is not None:
                yield received

    def receive(self, timeout_s: float) -> tuple[results.Notice, dict[str, np.ndarray]] | None:
        """The next notice (never a heartbeat) with its arrays; None where none came in time.

        Where results were lost on the way it first asks for them, which may take `REPLAY_TIMEOUT_MS` longer.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            while self._ready:
                notice, arrays = self._ready.popleft()
                if not self._is_repeat(notice):
                    return notice, arrays
                self.repeats += 1
            left_ms = int((deadline - time.monotonic()) * 1000)
            if left_ms < 0:
                return None
            parts = self._results.receive(max(left_ms, 1))
            if parts is not None:
                self._take(parts)

    def _hello(self, timeout_s: float, token: bytes = b"") -> handshake.Welcome:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self._ask.send([handshake.pack(handshake.Hello(token))], HELLO_INTERVAL_MS)
            reply = self._reply(time.monotonic() + HELLO_INTERVAL_MS / 1000)
            if isinstance(reply, handshake.Welcome):
                return reply
        raise NoAnswer(unanswered(self._address, timeout_s, self._peers))

    def _subscribe(self, address: str, timeout_s: float) -> Socket:
        """A SUB socket of which it is certain that its subscriptions are in force."""
        token = os.urandom(16)
        own_topic = handshake.hello_topic(token)
        socket = subscribe(self._ctx, [*map(results.topic, self.routes), own_topic])
        deadline = time.monotonic() + timeout_s
        try:
            socket.connect(address)
            while time.monotonic() < deadline:
                self._hello(timeout_s, token)
                if self._comes_back(socket, own_topic):
                    return socket
            raise NoAnswer(f"results at {address} do not arrive; does a firewall stand between?")
        except BaseException:
            socket.close()
            raise

    def _comes_back(self, socket: Socket, own_topic: bytes) -> bool:
        """Whether our own topic comes within `HELLO_INTERVAL_MS`. What else comes does not end the wait: the answer to
        a hello that was faster than our subscription never comes, however many results do."""
        until = time.monotonic() + HELLO_INTERVAL_MS / 1000
        while (left_ms := int((until - time.monotonic()) * 1000)) > 0:
            parts = socket.receive(left_ms)
            if parts is not None and bytes(parts[0]) == own_topic:
                return True
            if parts is not None:
                self._take(parts)
        return False

    def _take(self, parts: Sequence[memoryview]) -> None:
        """One message of the result stream, after whatever was lost before it."""
        try:
            notice, arrays = results.decode(parts)
        except CodecError:
            self.unreadable += not bytes(parts[0]).startswith(b"\0")  # a late answer to our own hello is fine
            return
        if notice.origin != self._origin:  # the sender was started anew and counts from 0
            self._origin, self._next = notice.origin, dict.fromkeys(self.routes, 0)
        expected = self._next.get(notice.route)
        if expected is None:
            return
        beat = isinstance(notice, results.Heartbeat)
        upto = notice.seq + 1 if beat else notice.seq
        if upto > expected:
            self._fill(notice.route, expected, upto - 1)
        self._next[notice.route] = max(expected, notice.seq + 1)
        if beat:
            self._peers.poll()  # what it has to tell would pile up
            return
        if notice.seq < expected:
            self.repeats += 1
        else:
            self._ready.append((notice, arrays))

    def _fill(self, route: str, first: int, last: int) -> None:
        """Ask for `first` to `last`, both included; what does not come is lost."""
        wanted = last - first + 1
        got = 0
        while first <= last:
            request = handshake.Replay(route, first, last)
            self._ask.send([handshake.pack(request)])
            until, came = self._collect(request)
            got += came
            if until is None:
                break
            first = until + 1
        self.lost += wanted - got

    def _collect(self, request: handshake.Replay) -> tuple[int | None, int]:
        """What answers `request`: the last number that its closing word covers (None: no word), and how many came.

        Answers to earlier requests, given up for lost, may still arrive: they are passed over.
        """
        came = 0
        while (parts := self._ask.receive(REPLAY_TIMEOUT_MS)) is not None:
            try:
                head = handshake.unpack_reply(parts[0])
                if not isinstance(head, handshake.Replay | handshake.Replayed):
                    continue
                if (head.route, head.first) != (request.route, request.first):
                    continue
                if isinstance(head, handshake.Replayed):
                    return min(head.last, request.last), came
                self._ready.append(results.decode(parts[1:]))
                came += 1
            except CodecError:
                self.unreadable += 1
        return None, came

    def _is_repeat(self, notice: results.Notice) -> bool:
        """Whether the result of this image was handed out before; remembers it."""
        if not isinstance(notice, results.Result):
            return False
        key = (notice.source, notice.series_uid, notice.channel, notice.route)
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = IntervalSet()
            if len(self._seen) > SERIES_REMEMBERED:
                self._seen.pop(next(iter(self._seen)))
        return not seen.add(notice.image_id)

    def _reply(self, deadline: float) -> handshake.Reply | None:
        left_ms = int((deadline - time.monotonic()) * 1000)
        parts = self._ask.receive(max(left_ms, 1))
        if parts is None:
            return None
        try:
            return handshake.unpack_reply(parts[0])
        except CodecError:
            self.unreadable += 1
            return None


def unanswered(address: str, waited_s: float, peers: Peers) -> str:
    """That nobody answers at a handshake address, and why that may be; `peers` are those of the socket that asked."""
    peers.poll()
    refused = f" ({peers.why()})" if peers.why() else ""
    return (
        f"nobody answers at {address} for {waited_s:g} s{refused}; is `edge serve` running there, and is this its "
        "handshake address?"
    )


def _chosen(routes: Sequence[str], welcome: handshake.Welcome, address: str) -> tuple[str, ...]:
    unknown = set(routes) - set(welcome.next_seq)
    if unknown:
        raise ValueError(f"no route {sorted(unknown)} at {address}; it has {sorted(welcome.next_seq)}")
    return tuple(routes) or tuple(welcome.next_seq)


def _reachable(address: str, asked: str) -> str:
    """Where to connect for `address`: a sender that listens on all its networks is where it was `asked`."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    if host in ("0.0.0.0", "*", "[::]"):
        return f"{asked.rpartition(':')[0]}:{port}"
    return address
