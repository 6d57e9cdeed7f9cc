"""The socket of the agent's service: one thread that polls. Thinking, reading and writing logs happen elsewhere."""

import queue
import threading
from collections.abc import Callable

from edge.steering.desk import Desk
from edge.steering.experiments import Experiments
from streams.sockets import Context, Poller, WakeUp, router

BATCH = 100
"""Messages that are taken in one turn, before the answers that are ready have theirs."""
TURN_MS = 500
"""Longest time between two beats."""


class Server:
    """Answers at `address` until it is stopped.

    Args:
        ctx: with the keys, where the address is beyond loopback.

    Attributes:
        address: the real one, where the port was `*`.

    Raises:
        SocketError: it cannot be bound.
    """

    def __init__(self, ctx: Context, address: str, experiments: Experiments) -> None:
        self._answers: queue.SimpleQueue[tuple[bytes, bytes]] = queue.SimpleQueue()
        self._wake_up = WakeUp()
        self._lock = threading.Lock()  # of the next: a thought may end when nobody waits for it any more
        self._closed = False
        self._stopped = False
        self._socket = router(ctx)
        self._poller = Poller()
        self.desk = Desk(experiments, self._send)
        try:
            self._peers = self._socket.peers
            self.address = self._socket.bind(address)
        except BaseException:
            self.close()
            raise
        self._poller.watch(self._socket)
        self._poller.watch(self._wake_up)

    def run(self, beat: Callable[[], None] = lambda: None) -> None:
        """Answer until `stop`; `beat` is called every `TURN_MS` at least."""
        while not self._stopped:
            beat()
            self._poller.wait(TURN_MS)
            self._wake_up.clear()
            self._receive()
            self._answer()
            self._look_at_peers()

    def stop(self) -> None:
        """From any thread, or a signal handler."""
        self._stopped = True
        self._wake_up.set()

    def close(self, linger_ms: int = 0) -> None:
        """Once `run` has returned and the experiments have ended: their last answers leave now."""
        self._answer()
        self._socket.close(linger_ms)
        with self._lock:
            self._closed = True
            self._wake_up.close()

    def _send(self, peer: bytes, answer: bytes) -> None:
        """From any thread."""
        with self._lock:
            if not self._closed:
                self._answers.put((peer, answer))
                self._wake_up.set()

    def _receive(self) -> None:
        for _ in range(BATCH):
            parts = self._socket.receive()
            if parts is None:
                return
            self.desk.handle(bytes(parts[0]), parts[1:])
        self._wake_up.set()  # there may be more

    def _answer(self) -> None:
        while True:
            try:
                peer, answer = self._answers.get_nowait()
            except queue.Empty:
                return
            if not self._socket.send([peer, answer]):  # it has gone, or reads nothing: it may ask again
                self.desk.counts["undelivered"] += 1

    def _look_at_peers(self) -> None:
        self._peers.poll()
        for reason, count in self._peers.refused.items():
            self.desk.counts[f"refused_{reason}"] = count
