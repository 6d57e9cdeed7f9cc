"""The places of a server: so many connections at a time, and who has to go when one more comes."""

import threading
import time

from edge.http.connection import Connection

PATIENCE_S = 1.0
"""For a connection that was told to go; it waits for its peer alone, so it goes at once."""


class Places:
    """A flood of connections that ask for nothing cannot keep out those who do: the one whose peer has been waited for
    the longest makes room. One whose answer is being made stays.
    """

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)
        self._lock = threading.Lock()
        self._taken: set[Connection] = set()

    def take(self, connection: Connection) -> tuple[bool, Connection | None]:
        """Whether it has a place now, and who had to go for it."""
        gone = None
        if not self._free.acquire(blocking=False):
            gone = self._make_room()
            if gone is None or not self._free.acquire(timeout=PATIENCE_S):
                return False, gone
        with self._lock:
            self._taken.add(connection)
        return True, gone

    def leave(self, connection: Connection) -> None:
        """Its place is free; the connection is closed before."""
        with self._lock:
            self._taken.discard(connection)
        self._free.release()

    def answering(self, connection: Connection) -> None:
        """A request of it is here, and it is not told to go before there is an answer."""
        with self._lock:
            connection.waiting_since = None

    def waiting(self, connection: Connection) -> None:
        """For its peer: to take the answer, to send its next request."""
        with self._lock:
            connection.waiting_since = time.monotonic()

    def deafen(self) -> None:
        """No request is taken any more, for the server ends; answers on their way still leave."""
        with self._lock:
            for connection in self._taken:
                connection.deafen()

    def _make_room(self) -> Connection | None:
        with self._lock:
            waiting = [(each.waiting_since, each) for each in self._taken if each.waiting_since is not None]
            if not waiting:
                return None
            oldest = min(waiting, key=lambda pair: pair[0])[1]
            self._taken.discard(oldest)  # not to be told twice
            oldest.interrupt()
            return oldest
