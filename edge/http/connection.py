"""One connection of the server: bytes by a deadline, TLS or not."""

import socket
import ssl
import time
from contextlib import suppress

RECEIVE_BYTES = 16 * 1024
SEND_BYTES = 64 * 1024
LINGER_S = 1.0
LINGER_BYTES = 1024 * 1024


class Connection:
    """All times are of `time.monotonic`. What the peer does wrong, or too slowly, is an OSError."""

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self._sock = sock
        self.peer = peer
        self.waiting_since: float | None = time.monotonic()  # for the peer; None while an answer to it is made
        self.interrupted = False

    def secure(self, context: ssl.SSLContext, deadline: float) -> None:
        """The handshake of TLS.

        Raises:
            OSError: it failed (ssl.SSLError), or took too long (TimeoutError).
        """
        self._until(deadline)
        self._sock = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
        self._until(deadline)
        self._sock.do_handshake()

    def receive(self, deadline: float) -> bytes:
        """Whatever came; b"" where the peer has said all.

        Raises:
            TimeoutError: nothing came.
            OSError: the connection is lost.
        """
        self._until(deadline)
        return self._sock.recv(RECEIVE_BYTES)

    def send(self, content: bytes, deadline: float) -> None:
        """All of it, by the deadline, however the peer takes it in small bites.

        Raises:
            TimeoutError: the peer did not take it.
            OSError: the connection is lost.
        """
        left = memoryview(content)
        while left:
            self._until(deadline)
            left = left[self._sock.send(left[:SEND_BYTES]) :]

    def linger(self) -> None:
        """Take what the peer still sends, for a moment: closed at once it might never see the last answer."""
        deadline, left = time.monotonic() + LINGER_S, LINGER_BYTES
        with suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_WR)  # below TLS: its own would forget that there was TLS
            while left > 0:
                self._until(deadline)
                taken = socket.socket.recv(self._sock, RECEIVE_BYTES)
                if not taken:
                    return
                left -= len(taken)

    def interrupt(self) -> None:
        """From any thread: whoever waits for this peer finds the connection ended."""
        self.interrupted = True
        with suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def deafen(self) -> None:
        """From any thread: whoever waits for more of this peer finds that it has said all; it can still be answered."""
        with suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RD)

    def close(self) -> None:
        self._sock.close()

    def _until(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the peer was too slow")
        self._sock.settimeout(left)
