"""Threads in which requests wait for their answers.

Each makes blocking calls, which poll for themselves. Calls that do not block need a thread of gRPC's to poll for them,
which is started anew whenever nothing was in flight: that takes half as much CPU time again for one request at a time,
and all of the way out is the caller's, who has sockets to read.
"""

import queue
import threading
from collections.abc import Callable

MOST = 64
"""Threads of one client. Further calls wait for one of them."""


class Callers:
    """As many threads as there were calls at the same time; thread-safe."""

    def __init__(self, name: str = "inference") -> None:
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open = 0  # calls that wait or run
        self._threads = 0
        self._closed = False

    def put(self, call: Callable[[], None]) -> bool:
        """Run `call`, which raises nothing, in one of the threads; False where they are closed, then it is not run."""
        with self._lock:
            if self._closed:
                return False
            self._open += 1
            if self._threads < min(self._open, MOST):
                self._threads += 1
                threading.Thread(target=self._run, name=f"{self._name}-{self._threads}", daemon=True).start()
            self._calls.put(call)
            return True

    def close(self) -> None:
        """End the threads when all that was put is done. Returns at once."""
        with self._lock:
            self._closed = True
            for _ in range(self._threads):
                self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            with self._lock:
                self._open -= 1
