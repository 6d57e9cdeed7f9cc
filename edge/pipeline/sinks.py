"""Where results leave: the publishing socket, the order on it, who listens, and the recent past for late comers."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Protocol, TypeAlias

import msgpack
import numpy as np

from edge.pipeline.presence import Presence
from edge.results.recall import Recall
from streams.codecs import handshake, results
from streams.messages import CodecError, Part
from streams.sockets import Socket

OVERHEAD_BYTES = 400
"""What Python keeps for one remembered message beside its bytes: tuple, list, bytes objects, a place in the deque."""

SUBSCRIPTIONS_AT_ONCE = 1000
"""Comings and goings of subscribers that are taken in before the loop's other work has its turn."""

Numbered: TypeAlias = results.Result | results.SeriesStarted | results.SeriesEnded
"""Notices that are counted: origin, number and time are stamped on them here."""

Question: TypeAlias = handshake.Triggered | handshake.Inquire | handshake.Ready
"""What is asked on the handshake socket that is not about results."""


class ReplayBuffer:
    """The last results of one route, in at most `limit` bytes of memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._kept: deque[tuple[int, int, list[Part]]] = deque()  # number, size, message

    def keep(self, seq: int, parts: list[Part]) -> None:
        """Remember a message; the oldest ones make room for it."""
        nbytes = OVERHEAD_BYTES + sum(map(len, parts))
        self._kept.append((seq, nbytes, parts))
        self._bytes += nbytes
        while self._bytes > self._limit and len(self._kept) > 1:
            self._bytes -= self._kept.popleft()[1]

    def between(self, first: int, last: int) -> list[tuple[int, list[Part]]]:
        """What is still kept of `first` to `last`, both included."""
        if not self._kept:
            return []
        oldest, newest = self._kept[0][0], self._kept[-1][0]  # numbers are consecutive
        first, last = max(first, oldest), min(last, newest)
        if first > last:
            return []
        return [(seq, parts) for seq, _, parts in islice(self._kept, first - oldest, last - oldest + 1)]


class Sink(Protocol):
    """Where the serving loop's notices leave, and where it is asked; `ResultSink` explains each."""

    @property
    def publisher(self) -> Socket: ...

    @property
    def ask(self) -> Socket: ...

    @property
    def origin(self) -> str: ...

    @property
    def presence(self) -> Presence: ...

    @property
    def recall(self) -> Recall: ...

    @property
    def keeps(self) -> bool: ...

    def send(self, notice: Numbered, arrays: Sequence[np.ndarray] = ()) -> None: ...

    def send_all(self, route: str, notices: Sequence[tuple[Numbered, Sequence[Part]]]) -> None: ...

    def beat(self) -> None: ...

    def listen(self) -> None: ...

    def answer(self, control: Callable[[Question], handshake.Reply]) -> bool: ...


class ResultSink:
    """Stamps, publishes and remembers results; answers the handshake.

    Args:
        publish, ask: the bound publishing and ROUTER sockets.
        publish_address: where subscribers connect; told in the welcome.
        origin: an id of this process start.
        routes: the names of all routes.
        replay_bytes: memory for each route's recent past.
        keep: where notices go beside the subscribers (result files); it must not block.
        recall: finds results that an earlier process kept.
    """

    def __init__(
        self,
        publish: Socket,
        ask: Socket,
        publish_address: str,
        origin: str,
        routes: Sequence[str],
        replay_bytes: int,
        keep: Callable[[results.Notice, Sequence[Part]], None] | None = None,
        recall: Recall | None = None,
    ) -> None:
        self.publisher, self.ask = publish, ask
        self.origin = origin
        self.presence = Presence()
        self._publish = publish
        self._address = publish_address
        self._keep = keep
        self.recall = Recall(()) if recall is None else recall
        self._seq = dict.fromkeys(routes, 0)
        self._replay = {route: ReplayBuffer(replay_bytes) for route in routes}

    @property
    def keeps(self) -> bool:
        """Whether results go into files, too."""
        return self._keep is not None

    def send(self, notice: Numbered, arrays: Sequence[np.ndarray] = ()) -> None:
        """Publish one notice; `arrays` must not change afterwards, for they are kept for replay."""
        self.send_all(notice.route, [(notice, [results.content(array) for array in arrays])])

    def send_all(self, route: str, notices: Sequence[tuple[Numbered, Sequence[Part]]]) -> None:
        """Publish notices of one route, each with the bytes of its arrays; these must not change afterwards.

        They are sent one straight after the other: so ZeroMQ's thread is woken once for all of them, which takes
        longer than to send one. They share the time at which they were published.
        """
        seq, now_ns = self._seq[route], time.time_ns()
        replay, sent = self._replay[route], []
        for notice, arrays in notices:
            stamped = results.stamped(notice, origin=self.origin, seq=seq, published_ns=now_ns)
            parts = results.pack(stamped, arrays)
            replay.keep(seq, parts)
            sent.append((stamped, parts))
            seq += 1
        self._seq[route] = seq
        for _, parts in sent:
            self._publish.send(parts, copy=False)
        if self._keep is not None:
            for stamped, parts in sent:
                self._keep(stamped, parts)

    def beat(self) -> None:
        """Tell every subscriber the last number used, so that the loss of a last message shows."""
        for route, seq in self._seq.items():
            self._publish.send(results.encode(results.Heartbeat(route, self.origin, seq - 1, time.time_ns())))

    def listen(self) -> None:
        """Take in who came to listen, and who left."""
        for _ in range(SUBSCRIPTIONS_AT_ONCE):
            message = self.publisher.receive()
            if message is None:
                return
            self.presence.take(message)

    def answer(self, control: Callable[[Question], handshake.Reply]) -> bool:
        """Serve one message that waits on the handshake socket; `control` answers what is not about results.

        Returns:
            Whether it could be understood.
        """
        message = self.ask.receive()
        if message is None:
            return True
        if len(message) != 2:
            return False
        peer = bytes(message[0])
        try:
            request = handshake.unpack_request(message[1])
        except CodecError:
            return False
        if isinstance(request, handshake.Hello):
            self._publish.send([handshake.hello_topic(request.token)])
            self.ask.send([peer, handshake.pack(handshake.Welcome(self.origin, self._address, dict(self._seq)))])
        elif isinstance(request, handshake.Replay):
            self._send_again(peer, request)
        else:
            self.ask.send([peer, handshake.pack(control(request))])
        return True

    def _send_again(self, peer: bytes, request: handshake.Replay) -> None:
        sent = 0
        head = handshake.pack(request)
        buffer = self._replay.get(request.route)
        last = min(request.last, request.first + handshake.MAX_REPLAY - 1)
        for _, parts in buffer.between(request.first, last) if buffer else ():
            if not self.ask.send([peer, head, *_as_repeat(parts)]):
                break
            sent += 1
        self.ask.send([peer, handshake.pack(handshake.Replayed(request.route, request.first, last, sent))])


def _as_repeat(parts: list[Part]) -> list[Part]:
    header = msgpack.unpackb(parts[1])
    if "recovered" not in header:
        return parts
    header["recovered"] = True
    return [parts[0], bytes(msgpack.packb(header) or b""), *parts[2:]]
