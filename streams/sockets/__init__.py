"""Every ZeroMQ socket of the project. Nothing else imports zmq.

The wrappers are thin: they set the limits that keep a hostile or slow peer from harming us, hand out
memory views instead of copies, and turn errno into a sentence.
"""

from streams.sockets.polling import Poller, WakeUp
from streams.sockets.relay import Relay, ready, relay_from, relay_to, size
from streams.sockets.socket import (
    MAX_PART_BYTES,
    Context,
    Socket,
    SocketError,
    context,
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
    "Announcing",
    "Answering",
    "Asking",
    "Context",
    "Pattern",
    "Poller",
    "Receiving",
    "Relay",
    "Sending",
    "Socket",
    "SocketError",
    "WakeUp",
    "context",
    "dealer",
    "detector",
    "publish",
    "pull",
    "push",
    "ready",
    "relay_from",
    "relay_to",
    "router",
    "size",
    "source",
    "subscribe",
]
