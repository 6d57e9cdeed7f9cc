"""Both ends of a detector's stream: PUSH and PULL, PUB and SUB, REP and REQ."""

import time
from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

import zmq

from streams.bounds import MAX_REQUEST_BYTES
from streams.messages import Part
from streams.sockets.errors import SocketError
from streams.sockets.monitor import Peers
from streams.sockets.securing import Context
from streams.sockets.socket import Socket, keep_alive, pull, push, subscribe

Pattern: TypeAlias = Literal["pull", "sub", "req"]
"""How we listen to a source: PULL from its PUSH, SUB to its PUB, REQ to its REP."""


class Receiving(Protocol):
    """Where the messages of a source arrive."""

    zmq: Any

    @property
    def peers(self) -> Peers:
        """Who is connected; it has to be polled."""
        ...

    def bind(self, address: str, plain: bool = False) -> str: ...

    def connect(self, address: str, plain: bool = False) -> None: ...

    def receive(self, timeout_ms: int = 0) -> list[memoryview] | None:
        """One message whole; None where none came within `timeout_ms`."""
        ...

    def close(self, linger_ms: int = 0) -> None: ...


QUESTIONS = 64
"""High-water mark of sockets that ask and answer. More than one message never waits, but with a mark of one ZeroMQ
takes a queue for full until it has heard that the last one left, and a REP drops its answer in silence."""


class Asking:
    """A REQ socket that asks for the next message, one at a time: the default pattern of the Karabo bridge.

    What was asked for is never asked for twice, however long the answer takes: a server answers every question, and REQ
    drops the answers to all but the last, so that a train would be lost for each. Only a question that went away with
    its connection is asked again, by a new socket: the old one cannot say whether the question had left. ZeroMQ tells
    us of lost connections on its monitor, so whoever waits for messages has to wait for that, too (`Poller` does).
    """

    QUESTION = b"next"

    RETRY_S = 0.1
    """Between two connections to a peer that takes no question: something else than a server."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._address, self._plain = "", False
        self._out = False  # this socket has sent a question: without one, REQ refuses to receive
        self._asked = False  # and its connection is still there
        self._not_before = 0.0  # the next connection, monotonic
        self._disconnections = 0  # that were seen
        self._open()
        self._peers = Peers(self._ctx, self.zmq)

    @property
    def peers(self) -> Peers:
        """Who is connected; `receive` polls it."""
        return self._peers

    def bind(self, address: str, plain: bool = False) -> str:
        """Servers that are asked bind themselves. Raises SocketError."""
        raise SocketError(
            f"cannot bind {address}: whom we ask, we connect to; leave bind out, or choose another socket"
        )

    def connect(self, address: str, plain: bool = False) -> None:
        """Connect and ask for the first message."""
        self._socket.connect(address, plain)
        self._address, self._plain = address, plain
        self._ask()

    def receive(self, timeout_ms: int = 0) -> list[memoryview] | None:
        """The answer, after which the next question is on its way; None where none came within `timeout_ms`."""
        deadline = time.monotonic() + timeout_ms / 1000
        while True:
            self._asked = not self._lost() and self._asked  # looked at first: what had come before is there now
            parts = self._socket.receive() if self._out else None
            if parts is not None:
                self._out = False
            if not self._asked:
                self._reconnect()
            elif parts is not None:
                self._ask()
            left_ms = int(1000 * (deadline - time.monotonic()))
            if parts is not None or left_ms <= 0:
                return parts
            poller = zmq.Poller()
            poller.register(self.zmq, zmq.POLLIN)
            poller.register(self.peers.zmq, zmq.POLLIN)
            poller.poll(left_ms if self._asked else min(left_ms, int(1000 * self.RETRY_S)))

    @property
    def idle(self) -> bool:
        """Whether no question is out: then `receive` is to be called now and then, for it asks again."""
        return bool(self._address) and not self._asked

    def close(self, linger_ms: int = 0) -> None:
        self.peers.close()
        self._socket.close(linger_ms)

    def _open(self) -> None:
        self._out = self._asked = False
        self._socket = Socket(self._ctx, zmq.REQ, QUESTIONS)
        self.zmq = self._socket.zmq
        keep_alive(self.zmq)

    def _lost(self) -> bool:
        """Whether a connection was lost since the last call."""
        self.peers.poll()
        before, self._disconnections = self._disconnections, self.peers.disconnections
        return self._disconnections != before

    def _ask(self) -> None:
        self._asked = self._out = self._socket.send([self.QUESTION])

    def _reconnect(self) -> None:
        """Ask anew by a new socket, but not in a tight loop."""
        if self._address and time.monotonic() >= self._not_before:
            self._not_before = time.monotonic() + self.RETRY_S
            self.close()
            self._open()
            self.peers.follow(self.zmq)
            self.connect(self._address, self._plain)


def source(ctx: Context, pattern: Pattern) -> Receiving:
    """Where the messages of a source arrive, by the pattern in which it sends; its peers have to be polled."""
    if pattern == "req":
        return Asking(ctx)
    socket = pull(ctx) if pattern == "pull" else subscribe(ctx, [b""], 64)
    keep_alive(socket.zmq)
    _ = socket.peers  # known from the first one on
    return socket


class Sending(Protocol):
    """What a detector sends from."""

    def bind(self, address: str, plain: bool = False) -> str: ...

    def connect(self, address: str, plain: bool = False) -> None: ...

    def send(self, parts: Sequence[Part], timeout_ms: int = 0) -> bool:
        """Send one message whole; False where it could not leave within `timeout_ms`."""
        ...

    def close(self, linger_ms: int = 0) -> None: ...


class Announcing:
    """A PUB that waits for its first subscriber: what is published before is lost to all."""

    def __init__(self, ctx: Context, high_water_mark: int = 1_000) -> None:
        self._socket = Socket(ctx, zmq.XPUB, high_water_mark, MAX_REQUEST_BYTES)
        self.zmq = self._socket.zmq
        self.bind, self.connect, self.close = self._socket.bind, self._socket.connect, self._socket.close
        self._subscribed = False

    def send(self, parts: Sequence[Part], timeout_ms: int = 0) -> bool:
        """Publish, once somebody has subscribed; False where nobody did within `timeout_ms`."""
        if not self._subscribed:
            self._subscribed = self._socket.receive(timeout_ms) is not None
        return self._subscribed and self._socket.send(parts)


class Answering:
    """A REP socket that gives the next message to whoever asks: the default pattern of the Karabo bridge."""

    def __init__(self, ctx: Context) -> None:
        self._socket = Socket(ctx, zmq.REP, QUESTIONS, MAX_REQUEST_BYTES)
        self.zmq = self._socket.zmq
        self.bind, self.connect, self.close = self._socket.bind, self._socket.connect, self._socket.close

    def send(self, parts: Sequence[Part], timeout_ms: int = 0) -> bool:
        """Answer; False where nobody asked within `timeout_ms`, or asked for something else."""
        question = self._socket.receive(timeout_ms)
        if question is None:
            return False
        if [bytes(part) for part in question] == [Asking.QUESTION]:
            return self._socket.send(parts)
        # as karabo_bridge's server does
        self._socket.send([b"Error: bad request %b" % bytes(question[0])[:100]])
        return False


def detector(ctx: Context, pattern: Pattern) -> Sending:
    """What a detector sends from, by the pattern in which its receivers listen."""
    if pattern == "req":
        return Answering(ctx)
    return push(ctx) if pattern == "pull" else Announcing(ctx)
