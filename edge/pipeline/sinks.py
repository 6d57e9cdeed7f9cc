"""Where results leave: the publishing socket, the order on it, who listens, and the recent past for late comers."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeAlias

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

Question: TypeAlias = handshake.Triggered | handshake.Inquire | handshake.Ready
"""What is asked on the handshake socket that is not about results."""


class ReplayBuffer:
    """The last results of one route, in at most `limit` bytes of memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._kept: deque[tuple[int, list[Part]]] = deque()

    def keep(self, seq: int, parts: list[Part]) -> None:
        """Remember a message; the oldest ones make room for it."""
        self._kept.append((seq, parts))
        self._bytes += OVERHEAD_BYTES + sum(map(len, parts))
        while self._bytes > self._limit and len(self._kept) > 1:
            _, old = self._kept.popleft()
            self._bytes -= OVERHEAD_BYTES + sum(map(len, old))

    def between(self, first: int, last: int) -> list[tuple[int, list[Part]]]:
        """What is still kept of `first` to `last`, both included."""
        if not self._kept:
            return []
        oldest, newest = self._kept[0][0], self._kept[-1][0]  # numbers are consecutive
        first, last = max(first, oldest), min(last, newest)
        return list(islice(self._kept, first - oldest, last - oldest + 1)) if first <= last else []


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

    def send(
        self, notice: results.Result | results.SeriesStarted | results.SeriesEnded, arrays: Sequence[np.ndarray] = ()
    ) -> None:
        """Publish one notice; `arrays` must not change afterwards, for they are kept for replay."""
        seq = self._seq[notice.route]
        self._seq[notice.route] = seq + 1
        stamped = results.stamped(notice, origin=self.origin, seq=seq, published_ns=time.time_ns())
        parts = results.encode(stamped, arrays)
        self._replay[notice.route].keep(seq, parts)
        self._publish.send(parts)
        if self._keep is not None:
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
