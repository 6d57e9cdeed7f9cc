"""Passes messages on as they are; imports no codec (`streams.tee` must be small)."""

from collections.abc import Sequence
from typing import Any, Literal

import zmq

from streams.sockets.polling import WakeUp
from streams.sockets.securing import Context
from streams.sockets.socket import Socket, keep_alive


class Relay:
    """Passes messages on as they are: any number of parts of any size, their bytes never copied (`streams.tee`).

    A message is a list of parts that only `take`, `give` and `size` look into. Its memory is shared, however often it
    is given, and freed by whoever is done with it last.
    """

    def __init__(self, ctx: Context, kind: int, high_water_mark: int, thread: int) -> None:
        self._socket = Socket(ctx, kind, high_water_mark, max_part_bytes=-1)
        self.zmq = self._socket.zmq
        self.zmq.affinity = 1 << thread
        keep_alive(self.zmq)

    def open(self, address: str, bind: bool, plain: bool = False) -> str:
        """Bind or connect; the real address. `plain` as for `Socket`. Raises SocketError."""
        if bind:
            return self._socket.bind(address, plain)
        self._socket.connect(address, plain)
        return address

    def take(self) -> list[Any] | None:
        """The next message, whole; None where none is there."""
        try:
            parts = [self.zmq.recv(zmq.DONTWAIT, copy=False)]
        except zmq.Again:
            return None
        while parts[-1].more:
            parts.append(self.zmq.recv(copy=False))
        return parts

    def give(self, message: Sequence[Any]) -> bool:
        """Hand over a message whole; False where it cannot leave at once: nobody is connected, or the queue is full.

        A peer that leaves between two parts takes its part of the message with it: ZeroMQ then discards the parts that
        follow, and the answer is False, as if the message had never been given.
        """
        last = len(message) - 1
        whole = True
        for at, part in enumerate(message):
            try:
                self.zmq.send(part, zmq.DONTWAIT | (zmq.SNDMORE if at < last else 0), copy=False)
            except zmq.Again:
                if at == 0:
                    return False
                whole = False
        return whole

    def close(self, linger_ms: int = 0) -> None:
        """Close; what is unsent may take `linger_ms` more to leave."""
        self._socket.close(linger_ms)


def size(message: Sequence[Any]) -> int:
    """Bytes in all parts of a message that a `Relay` took."""
    return sum(map(len, message))


def relay_from(ctx: Context, pattern: Literal["pull", "sub"], queue: int, thread: int) -> Relay:
    """The near end of a detector, served by input/output thread number `thread` of the context.

    A PUSH waits for us, so room for `queue` messages is enough; a PUB drops what finds none.
    """
    if pattern == "pull":
        return Relay(ctx, zmq.PULL, queue, thread)
    relay = Relay(ctx, zmq.SUB, 1_000, thread)
    relay.zmq.subscribe(b"")
    return relay


def relay_to(ctx: Context, queue: int, thread: int) -> Relay:
    """The near end of whoever pulls: ZeroMQ holds `queue` messages of ours for it, beside what the network holds."""
    return Relay(ctx, zmq.PUSH, queue, thread)


def ready(taking: Sequence[Relay], giving: Sequence[Relay], wake_up: WakeUp, timeout_ms: int) -> None:
    """Wait until one of `taking` has a message, one of `giving` has room, or `wake_up` is set; it is cleared."""
    poller = zmq.Poller()
    poller.register(wake_up.fd, zmq.POLLIN)
    for relay in taking:
        poller.register(relay.zmq, zmq.POLLIN)
    for relay in giving:
        poller.register(relay.zmq, zmq.POLLOUT)
    poller.poll(timeout_ms)
    wake_up.clear()
