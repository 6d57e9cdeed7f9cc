"""A TCP proxy whose connections can be cut, to lead on to another server."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class Proxy:
    """Listens on `port` of this host and leads to `target`, a port too, until `cut`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._made: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def cut(self, target: int) -> None:
        """End all connections; new ones lead to `target`."""
        self._target = target
        for each in list(self._made):
            _shut(each)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _shut(self._listener)
        self.cut(self._target)
        for thread in self._threads:
            thread.join(10)
        for each in (*self._made, self._listener):
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._made.append(near)
                far = socket.create_connection(("127.0.0.1", self._target))
                self._made.append(far)
                for one, other in ((near, far), (far, near)):
                    self._threads.append(threading.Thread(target=_copy, args=(one, other), daemon=True))
                    self._threads[-1].start()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(1 << 16):
            other.sendall(data)
    _shut(other)


def _shut(ended: socket.socket) -> None:
    with contextlib.suppress(OSError):
        ended.shutdown(socket.SHUT_RDWR)
