"""A ZeroMQ context with keys: whose sockets encrypt, and who asks for each client whether it may connect."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import zmq

from streams.sockets.errors import SocketError
from streams.sockets.keys import Keys

if TYPE_CHECKING:
    from zmq.auth.thread import ThreadAuthenticator

DOMAIN = "edge"
"""ZAP domain of our sockets (ZeroMQ RFC 27). With it ZeroMQ refuses whom nobody vouches for."""


class Closing(Protocol):
    """What has to be closed before the sockets are."""

    def close(self) -> None: ...


class Context:
    """A ZeroMQ context and the keys of its sockets; made by `context`.

    Attributes:
        keys: what its sockets encrypt with; None where they do not.
        watched: the monitors of its sockets. They are ended first: an event that nobody can take in any more would hold
            up the thread in which ZeroMQ does its input and output, and with it the end of the process.
    """

    def __init__(self, io_threads: int = 1, keys: Keys | None = None) -> None:
        self.keys = keys
        self.watched: set[Closing] = set()
        self.zmq: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads)
        self._authenticator: ThreadAuthenticator | None = None

    def socket(self, kind: int) -> "zmq.Socket[bytes]":
        """A bare socket, without limits and not secured yet.

        Raises:
            SocketError: the process has too many files open.
        """
        try:
            return self.zmq.socket(kind)
        except zmq.ZMQError as error:
            raise SocketError(f"cannot open a socket: {error.strerror}; raise `ulimit -n`") from error

    def serve_by_curve(self, socket: "zmq.Socket[bytes]", keys: Keys) -> None:
        """Whoever connects must know the key of the service, and have one that may connect."""
        if self._authenticator is None:
            from streams.sockets.doorkeeper import vouching  # asyncio comes with it: only for those who have keys

            self._authenticator = vouching(self.zmq, DOMAIN, keys)
        socket.curve_server = 1
        socket.curve_secretkey = keys.secret
        socket.zap_domain = DOMAIN.encode()
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def connect_by_curve(self, socket: "zmq.Socket[bytes]", keys: Keys) -> None:
        """Only the service is spoken to, and it learns who we are."""
        socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = keys.public, keys.secret, keys.server

    def close(self) -> None:
        """Close all of its sockets; what is unsent is dropped."""
        for peers in list(self.watched):
            peers.close()
        if self._authenticator is not None and self._authenticator.is_alive():  # else nobody takes its word
            self._authenticator.stop()
        self.zmq.destroy(linger=0)


@contextmanager
def context(io_threads: int = 1, keys: Keys | None = None) -> Iterator[Context]:
    """A ZeroMQ context that never hangs at exit: what is unsent when it closes is dropped.

    Args:
        io_threads: that do its input and output.
        keys: with them all its sockets encrypt (CURVE), but for those told to speak in plain.
    """
    ctx = Context(io_threads, keys)
    try:
        yield ctx
    finally:
        ctx.close()
