"""Who is connected to a socket, and who was refused: by ZeroMQ's socket monitor."""

import logging
import struct
import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count

import zmq

from streams.sockets.securing import Context

log = logging.getLogger(__name__)

REASONS = {
    "mechanism": "one end encrypts and the other does not",
    "wrong_key": "they expect another server's key",
    "not_allowed": "the key is not among those that may connect",
    "protocol": "what they say is no ZeroMQ handshake",
    "no_handshake": "the other end hung up, or said nothing in time; it may want keys, or other ones",
}
"""Why peers are refused. A client that expects another server's key only sees that it is hung up on."""

LOG_S = 10.0
"""Shortest time between two lines on refusals."""

EVENTS_AT_ONCE = 1_000
"""Of one `poll`, so that a flood cannot hold up its caller."""

AGAIN_S = 1.0
"""After so long without an attempt ZeroMQ has given a peer up, and we connect anew."""

HEAD = struct.Struct("=Hi")
"""Number and value of an event, as zmq_socket_monitor(3) states them."""

FAILED: dict[int, str] = {
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "not_allowed",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "no_handshake",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "protocol",
}
PROTOCOL: dict[int, str] = {
    zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH: "mechanism",
    zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC: "wrong_key",
}
OPENED = int(zmq.EVENT_ACCEPTED | zmq.EVENT_CONNECTED)
TRYING = int(zmq.EVENT_CONNECT_RETRIED | zmq.EVENT_CONNECT_DELAYED | zmq.EVENT_CONNECTED)
WATCHED = OPENED | TRYING | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | sum(FAILED)

_numbers = count()  # of monitors: each has an address of its own


class Attendance:
    """What the events of a monitor add up to. No I/O.

    An opened or closed connection is told with its file descriptor, the fate of its handshake without (libzmq 4.3):
    of several connections that are at it, the newest is taken for the one meant. That is right unless somebody dawdles,
    and is put right when that one fails.

    Attributes:
        refused: failed handshakes by reason.
        given_up: whether a connection that we made has ended, and ZeroMQ does not try again: it does not where the peer
            broke the protocol, or refused our key.
    """

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        self.given_up = False
        self._ours: set[int] = set()  # connections that we made
        self._at_it: dict[int, None] = {}  # in the order in which they came
        self._established: set[int] = set()
        self._failed = 0  # whose end is yet to be told

    @property
    def connected(self) -> int:
        """Peers whose handshake succeeded and who have not left."""
        return len(self._established)

    def take(self, event: int, value: int) -> None:
        """One event with its value, as zmq_socket_monitor(3) states them."""
        if event & TRYING:
            self.given_up = False
        if event & OPENED:
            self._established.discard(value)  # a descriptor is used again: the end of that one was not told
            self._at_it.pop(value, None)
            self._at_it[value] = None
            self._ours.discard(value)
            if event == zmq.EVENT_CONNECTED:
                self._ours.add(value)
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._establish_newest()
        elif event in FAILED:
            self.refused[PROTOCOL.get(value, "protocol") if FAILED[event] == "protocol" else FAILED[event]] += 1
            self._failed += bool(self._at_it)  # an established peer may break the protocol, too
        elif event == zmq.EVENT_DISCONNECTED:
            self.given_up = value in self._ours
            self._ours.discard(value)
            self._closed(value)

    def lost(self) -> None:
        """The socket is gone, and all its connections."""
        self._at_it.clear()
        self._established.clear()
        self._failed = 0
        self._ours.clear()
        self.given_up = False

    def _establish_newest(self) -> None:
        if self._at_it:
            self._established.add(self._at_it.popitem()[0])

    def _closed(self, fd: int) -> None:
        if self._failed:
            self._failed -= 1
            if fd in self._established:  # it had not succeeded: another one had
                self._established.remove(fd)
                self._establish_newest()
            else:
                self._at_it.pop(fd, None)
        elif fd in self._established:
            self._established.remove(fd)
        elif fd in self._at_it:  # libzmq says nothing of a peer that does not even begin as ZMTP does
            del self._at_it[fd]
            self.refused["protocol"] += 1


class Peers:
    """The peers of a socket. For the thread that uses the socket.

    What ZeroMQ has given up is connected anew by `poll`, where `connect_again` says how: a detector comes back whose
    port something else had for a while. Poll every second or so: events wait in memory until then, for a queue that is
    full would stop the thread in which ZeroMQ does its input and output.

    Attributes:
        zmq: readable when there is news.
        disconnections: connections that ended, of whatever kind.
    """

    def __init__(
        self, ctx: Context, socket: "zmq.Socket[bytes]", connect_again: Callable[[], None] | None = None
    ) -> None:
        self._ctx, self._connect_again = ctx, connect_again
        self._given_up_at: float | None = None  # monotonic
        self._attendance = Attendance()
        self._told: Counter[str] = Counter()
        self._not_before = 0.0  # the next line, monotonic
        self.disconnections = 0
        self.follow(socket)

    @property
    def connected(self) -> int:
        """Peers whose handshake succeeded and who have not left, at the last poll."""
        return self._attendance.connected

    @property
    def refused(self) -> Mapping[str, int]:
        """Handshakes that failed, by reason (`REASONS`), at the last poll."""
        return self._attendance.refused

    def follow(self, socket: "zmq.Socket[bytes]") -> None:
        """Watch `socket` from now on, which takes the place of the one before."""
        self._ctx.watched.add(self)
        self._socket = socket
        address = f"inproc://monitor-{next(_numbers)}"
        socket.monitor(address, WATCHED)
        self.zmq: zmq.Socket[bytes] = self._ctx.socket(zmq.PAIR)
        self.zmq.linger = self.zmq.rcvhwm = 0  # 0 here is no bound
        self.zmq.connect(address)

    def poll(self) -> None:
        """Take in what happened since the last call; never waits. Refusals are logged, lost connections made anew."""
        for _ in range(EVENTS_AT_ONCE):
            try:
                head, _ = self.zmq.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            event, value = HEAD.unpack(head)  # pyzmq's own reader makes an enumeration member of each descriptor
            self.disconnections += event == zmq.EVENT_DISCONNECTED
            self._attendance.take(event, value)
        self._see_to_the_lost(time.monotonic())
        if self._told != self._attendance.refused and time.monotonic() >= self._not_before:
            self._not_before = time.monotonic() + LOG_S
            news = self._attendance.refused - self._told
            self._told = self._attendance.refused.copy()
            log.warning("%s: %s", _endpoint(self._socket), _in_words(news))

    def _see_to_the_lost(self, now: float) -> None:
        if not self._attendance.given_up or self._connect_again is None:
            self._given_up_at = None
        elif self._given_up_at is None:
            self._given_up_at = now
        elif now - self._given_up_at >= AGAIN_S:
            self._given_up_at = now
            self._connect_again()

    def why(self) -> str:
        """Why handshakes failed, in words; empty where none did."""
        return _in_words(self._attendance.refused) if self._attendance.refused else ""

    def close(self) -> None:
        """Stop watching; to be called before the socket is closed."""
        self._ctx.watched.discard(self)
        if self.zmq.closed:
            return
        self._socket.disable_monitor()
        self.zmq.close(linger=0)
        self._attendance.lost()


def _endpoint(socket: "zmq.Socket[bytes]") -> str:
    return socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")


def _in_words(refused: Counter[str]) -> str:
    each = (f"{number} because {REASONS[reason]}" for reason, number in refused.items())
    return f"{refused.total()} handshakes failed: {', '.join(each)}"
