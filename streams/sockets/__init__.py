"""Every ZeroMQ socket of the project. Nothing else imports zmq.

The wrappers are thin: they set the limits that keep a hostile or slow peer from harming us, hand out
memory views instead of copies, and turn errno into a sentence.
"""

from streams.sockets.errors import KeysError, SocketError
from streams.sockets.keys import Keys, keys_of, read_keys
from streams.sockets.monitor import REASONS, Peers
from streams.sockets.policy import beyond_loopback
from streams.sockets.polling import Poller, WakeUp
from streams.sockets.relay import Relay, ready, relay_from, relay_to, size
from streams.sockets.securing import Context, context
from streams.sockets.socket import (
    MAX_PART_BYTES,
    Socket,
    dealer,
    publish,
    pull,
    push,
    router,
    subscribe,
)
from streams.sockets.sources import Announcing, Answering, Asking, Pattern, Receiving, Sending, detector, source

__all__ = [
    "MAX_PART_BYTES",
    "REASONS",
    "Announcing",
    "Answering",
    "Asking",
    "Context",
    "Keys",
    "KeysError",
    "Pattern",
    "Peers",
    "Poller",
    "Receiving",
    "Relay",
    "Sending",
    "Socket",
    "SocketError",
    "WakeUp",
    "beyond_loopback",
    "context",
    "dealer",
    "detector",
    "keys_of",
    "publish",
    "pull",
    "push",
    "read_keys",
    "ready",
    "relay_from",
    "relay_to",
    "router",
    "size",
    "source",
    "subscribe",
]
