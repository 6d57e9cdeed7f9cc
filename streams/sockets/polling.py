"""Waiting on several sockets, and being woken by other threads."""

import os
import threading
from typing import Any

import zmq

from streams.sockets.sources import Asking, Receiving


class WakeUp:
    """Lets other threads wake a poller: an eventfd, since a zmq socket may be used by one thread only."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closing = threading.Lock()
        self._closed = False

    def set(self) -> None:
        """Wake the poller; from any thread, any number of times, also when it has gone."""
        with self._closing:
            if not self._closed:
                os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        """Called by the poller's thread before it drains the queue that goes with this."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Whoever is late wakes nobody: the number of the descriptor may belong to something else by then."""
        with self._closing:
            self._closed = True
            os.close(self.fd)


class Poller:
    """Waits on several of ours at once."""

    def __init__(self) -> None:
        self._poller = zmq.Poller()
        self._asking: dict[Asking, tuple[Any, Any]] = {}  # the sockets that each has at present

    def watch(self, what: Receiving | WakeUp, wanted: bool = True) -> None:
        """Start or stop waiting for messages on `what`."""
        if isinstance(what, Asking):
            self._follow(what, wanted)
        else:
            self._set(what.fd if isinstance(what, WakeUp) else what.zmq, wanted)

    def wait(self, timeout_ms: int) -> set[Any]:
        """The zmq sockets and file descriptors that are ready: where a message may be received, or a question asked."""
        for asking in list(self._asking):
            self._follow(asking, True)
        owners = {monitor: socket for socket, monitor in self._asking.values()}
        idle = {asking.zmq for asking in self._asking if asking.idle}
        if idle:
            timeout_ms = min(timeout_ms, int(1000 * Asking.RETRY_S))
        return {owners.get(key, key) for key, _ in self._poller.poll(timeout_ms)} | idle

    def _follow(self, asking: Asking, wanted: bool) -> None:
        for key in self._asking.pop(asking, ()):
            self._set(key, False)
        if wanted:
            self._asking[asking] = (asking.zmq, asking.peers.zmq)
            for key in self._asking[asking]:
                self._set(key, True)

    def _set(self, key: Any, wanted: bool) -> None:
        if wanted:
            self._poller.register(key, zmq.POLLIN)
        elif key in self._poller:
            self._poller.unregister(key)
