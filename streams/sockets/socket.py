"""One ZeroMQ socket with its limits, and the roles that sockets have here."""

import errno
from collections.abc import Sequence
from contextlib import suppress

import zmq

from streams.bounds import MAX_PARTS, MAX_REQUEST_BYTES
from streams.messages import Part
from streams.sockets.errors import SocketError
from streams.sockets.monitor import Peers
from streams.sockets.policy import security
from streams.sockets.securing import Context

MAX_PART_BYTES = 512 * 1024 * 1024
"""A larger part makes ZeroMQ drop that connection. It has no limit for the parts of one message together: a peer that
never ends its message is bounded by the machine only, which is one reason to keep ports on trusted networks."""


HANDSHAKE_MS = 5_000
"""Whoever connects and has not said by then who it is, is disconnected: half-open connections hold a descriptor."""

MAX_SUBSCRIPTION_BYTES = 1024
"""Longest message of a subscriber. Topics have 80 bytes at most, the longest one of the CURVE handshake some 600."""

SUBSCRIPTIONS = 8
"""High-water mark of subscriptions on their way in: all that wait are taken at once, in the thread that publishes."""

HEARTBEAT_MS = 5_000
SILENCE_MS = 30_000
"""A peer of ours that answers no heartbeat for so long is gone, however its machine ended. Detectors get none: not all
that speak ZMTP know them."""


LARGE_BYTES = 1 << 16
"""From here on it takes less time to lend memory to ZeroMQ than to copy it (measured)."""

_MORE, _LAST = int(zmq.SNDMORE | zmq.DONTWAIT), int(zmq.DONTWAIT)  # to join the enums takes longer than to send


class Socket:
    """One zmq socket with its limits; made by the functions below, each of which names a role."""

    def __init__(self, ctx: Context, kind: int, high_water_mark: int, max_part_bytes: int = MAX_PART_BYTES) -> None:
        self.ctx = ctx
        self.zmq = ctx.socket(kind)
        # What zmq.Socket.send does first is for sockets of the draft API, and takes longer than to send a small part.
        self._send = super(zmq.Socket, self.zmq).send
        self._peers: Peers | None = None
        self._connected_to = ""
        self.zmq.linger = 0
        self.zmq.handshake_ivl = HANDSHAKE_MS
        self.zmq.maxmsgsize = max_part_bytes
        self.zmq.sndhwm = self.zmq.rcvhwm = high_water_mark

    @property
    def peers(self) -> Peers:
        """Who is connected and who was refused since this was first asked for; it has to be polled."""
        if self._peers is None:
            self._peers = Peers(self.ctx, self.zmq, self._connect_again)
        return self._peers

    def bind(self, address: str, plain: bool = False) -> str:
        """Bind and return the real address (a `*` port is replaced by the one that was found free).

        Args:
            address: where; beyond this machine the context must have keys.
            plain: for peers that cannot encrypt: do not, wherever it is.

        Raises:
            SocketError: it cannot be bound, or would be reachable without protection.
        """
        keys = self.ctx.keys
        if security("bind", address, keys, plain) == "curve" and keys is not None:
            self.ctx.serve_by_curve(self.zmq, keys)
        try:
            self.zmq.bind(address)
        except zmq.ZMQError as error:
            raise SocketError(_explain("bind", address, error)) from error
        return self.zmq.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")

    def connect(self, address: str, plain: bool = False) -> None:
        """Connect; ZeroMQ reconnects by itself for as long as the socket lives. Arguments and errors as for `bind`."""
        keys = self.ctx.keys
        if security("connect", address, keys, plain) == "curve" and keys is not None:
            self.ctx.connect_by_curve(self.zmq, keys)
        try:
            self.zmq.connect(address)
        except zmq.ZMQError as error:
            raise SocketError(_explain("connect", address, error)) from error
        self._connected_to = address

    def _connect_again(self) -> None:
        with suppress(zmq.ZMQError):  # what ZeroMQ has forgotten already
            self.zmq.disconnect(self._connected_to)
        with suppress(zmq.ZMQError):  # too many open files, say: the next time
            self.zmq.connect(self._connected_to)

    def send(self, parts: Sequence[Part], timeout_ms: int = 0, *, copy: bool = True) -> bool:
        """Send one message whole; False where the queue stayed full for `timeout_ms`.

        Without `copy` parts of `LARGE_BYTES` or more are not copied, and must not change any more.
        """
        if timeout_ms and not self.zmq.poll(timeout_ms, zmq.POLLOUT):
            return False
        try:
            for part in parts[:-1]:
                self._send(part, _MORE, copy or len(part) < LARGE_BYTES)
            self._send(parts[-1], _LAST, copy or len(parts[-1]) < LARGE_BYTES)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:  # a ROUTER's peer has gone
                return False
            raise
        return True

    def receive(self, timeout_ms: int = 0) -> list[memoryview] | None:
        """One message as views that keep its memory alive; None where none came within `timeout_ms`.

        Of a message with too many parts one more than `MAX_PARTS` is kept: by that its codec knows it.
        """
        if timeout_ms and not self.zmq.poll(timeout_ms, zmq.POLLIN):
            return None
        try:
            frame = self.zmq.recv(zmq.DONTWAIT, copy=False)
        except zmq.Again:
            return None
        parts = [frame.buffer]
        while frame.more:
            frame = self.zmq.recv(copy=False)
            if len(parts) <= MAX_PARTS:
                parts.append(frame.buffer)
        return parts

    def close(self, linger_ms: int = 0) -> None:
        """Close; what is unsent may take `linger_ms` more to leave."""
        if self._peers is not None:
            self._peers.close()
        self.zmq.close(linger=linger_ms)


def pull(ctx: Context, high_water_mark: int = 64) -> Socket:
    """Receives from a detector. Its queue is short: what we do not take soon stays with the sender."""
    return Socket(ctx, zmq.PULL, high_water_mark)


def push(ctx: Context, high_water_mark: int = 64) -> Socket:
    """Sends as a detector does."""
    return Socket(ctx, zmq.PUSH, high_water_mark)


def publish(ctx: Context, high_water_mark: int = 1_000) -> Socket:
    """Sends results to whoever subscribed; a subscriber that reads too slowly loses messages, we never wait.

    The mark bounds what one stalled subscriber keeps in memory; what it misses it may ask for again. `receive` tells
    who subscribes: byte 1 and a topic when its first subscriber came, 0 and the topic when its last one left. These
    notices wait in memory, so they have to be taken.
    """
    socket = Socket(ctx, zmq.XPUB, high_water_mark, MAX_SUBSCRIPTION_BYTES)
    socket.zmq.rcvhwm = SUBSCRIPTIONS
    _heartbeat(socket.zmq)
    _ = socket.peers  # known from the first one on
    return socket


def subscribe(ctx: Context, topics: Sequence[bytes], high_water_mark: int = 10_000) -> Socket:
    """Receives messages whose first part starts with one of `topics`."""
    socket = Socket(ctx, zmq.SUB, high_water_mark)
    for topic in topics:
        socket.zmq.subscribe(topic)
    return socket


def router(ctx: Context, high_water_mark: int = 500) -> Socket:
    """Answers many peers; the first part of each message is the peer. Only short requests are taken.

    It sends no heartbeats of its own: libzmq 4.3.5 aborts the process where one is due to a peer whose connection broke
    while more of its messages waited than the mark (stream_engine_base.cpp: `!_io_error`). Whether a peer of ours is
    gone it knows all the same: the peer's heartbeats name the silence (TTL) after which it is.
    """
    socket = Socket(ctx, zmq.ROUTER, high_water_mark, MAX_REQUEST_BYTES)
    keep_alive(socket.zmq)  # of peers that send no heartbeats
    _ = socket.peers  # known from the first one on
    socket.zmq.router_mandatory = 1  # a full or vanished peer is told to us instead of dropped in silence
    return socket


def dealer(ctx: Context, high_water_mark: int = 500, *, heartbeats: bool = True) -> Socket:
    """Asks a router.

    Without `heartbeats` where both ends know otherwise that the other one is gone, and either may be slow: behind a
    full queue no answer is heard, so they would break a connection that is in order and lose what waits in it.
    """
    socket = Socket(ctx, zmq.DEALER, high_water_mark)
    if heartbeats:
        _heartbeat(socket.zmq)
    return socket


def _heartbeat(socket: "zmq.Socket[bytes]") -> None:
    """Both ends notice when the other one is gone: what is asked for here is asked of the peer, too (its TTL)."""
    socket.heartbeat_ivl, socket.heartbeat_timeout, socket.heartbeat_ttl = HEARTBEAT_MS, SILENCE_MS, SILENCE_MS


def keep_alive(socket: "zmq.Socket[bytes]") -> None:
    """A peer whose machine was switched off says nothing: without this a receiver would wait for it for ever."""
    socket.tcp_keepalive, socket.tcp_keepalive_idle = 1, 10
    socket.tcp_keepalive_intvl, socket.tcp_keepalive_cnt = 5, 3


def _explain(verb: str, address: str, error: zmq.ZMQError) -> str:
    reasons = {
        zmq.EADDRINUSE: "the port is in use; stop the other program (`ss -ltnp` names it) or choose another port",
        zmq.EADDRNOTAVAIL: "this machine has no such network address; use 127.0.0.1 or one that `ip addr` lists",
        errno.ENODEV: "this machine has no such network address; use 127.0.0.1 or one that `ip addr` lists",
        errno.EINVAL: "that is no ZeroMQ address; write tcp://HOST:PORT",
        zmq.EPROTONOSUPPORT: "that transport is not known; write tcp://HOST:PORT",
        errno.EACCES: "not permitted; ports below 1024 need privileges, choose a higher one",
    }
    return f"cannot {verb} {address}: {reasons.get(error.errno or 0, error.strerror)}"
