"""A TCP proxy whose connections can be cut, silenced and restored: a network that fails to order."""

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

CHUNK = 1 << 16
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of a connection that ends with a reset instead of what is still to be sent (socket(7))."""

BUFFER_BYTES = 1 << 16
"""Of each socket where `narrow` is asked for: what is under way is what a cut costs."""


class Proxy:
    """Listens on `port` of this host and leads to `target`, a port too.

    Args:
        target: where connections lead.
        port: where to listen; 0: any free one.
        narrow: keep the buffers of the sockets small.
        rewrite: (bytes, bytes of the same length): replaced in what the target says, where it stands in one piece. A
            server that tells its address is so reached through another proxy.
    """

    def __init__(
        self, target: int, port: int = 0, *, narrow: bool = False, rewrite: tuple[bytes, bytes] | None = None
    ) -> None:
        if rewrite is not None and len(rewrite[0]) != len(rewrite[1]):
            raise ValueError(f"{rewrite[0]!r} and {rewrite[1]!r} differ in length")
        self._target, self._narrow, self._rewrite = target, narrow, rewrite
        self._lock = threading.Lock()
        self._made: set[socket.socket] = set()
        self._flows = threading.Event()
        self._flows.set()
        self._ended = False
        self._listener = socket.create_server(("127.0.0.1", port))
        if narrow:
            _shrink(self._listener)  # accepted sockets inherit it
        self.port: int = self._listener.getsockname()[1]
        self.bytes = 0  # that passed, both ways
        self._thread = threading.Thread(target=self._accept, name=f"proxy-{self.port}", daemon=True)

    def cut(self, target: int | None = None) -> None:
        """Reset all connections; new ones are taken, and lead to `target` where it is given."""
        if target is not None:
            self._target = target
        for each in self._connections():
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            _shut(each)

    def silence(self) -> None:
        """Pass nothing on, and say nothing of it: connections stay, as behind a cable that was pulled."""
        self._flows.clear()

    def restore(self) -> None:
        """Pass on again, what waited first."""
        self._flows.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._flows.set()
        _shut(self._listener)
        self.cut()
        self._thread.join(10)
        self._listener.close()

    def _connections(self) -> list[socket.socket]:
        with self._lock:
            return list(self._made)

    def _accept(self) -> None:
        while not self._ended:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = self._connect()
            except OSError:  # the target is away: so are we
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                near.close()
                continue
            with self._lock:
                self._made |= {near, far}
            left = [near, far]  # whichever pump ends last closes both
            for one, other, told in ((near, far, None), (far, near, self._rewrite)):
                pump = threading.Thread(target=self._pump, args=(one, other, told, left), daemon=True)
                pump.start()

    def _connect(self) -> socket.socket:
        far = socket.socket()
        if self._narrow:
            _shrink(far)
        far.settimeout(2.0)
        try:
            far.connect(("127.0.0.1", self._target))
        except OSError:
            far.close()
            raise
        far.settimeout(None)
        return far

    def _pump(
        self, one: socket.socket, other: socket.socket, told: tuple[bytes, bytes] | None, left: list[socket.socket]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(CHUNK):
                self._flows.wait()
                other.sendall(data.replace(*told) if told else data)
                self.bytes += len(data)
        _shut(other)
        with self._lock:
            left.remove(one)
            if left:
                return
            self._made -= {one, other}
        one.close()
        other.close()


def _shrink(one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)


def _shut(ended: socket.socket) -> None:
    with contextlib.suppress(OSError):
        ended.shutdown(socket.SHUT_RDWR)
