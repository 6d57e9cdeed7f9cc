"""A subscriber that comes while results flow, to a sender that answers its first hellos before its subscription."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from streams import sockets
from streams.codecs import handshake
from streams.codecs.results import Heartbeat, encode
from streams.subscriber import NoAnswer, Subscriber

EVERY_MS = 10


@contextmanager
def sender(ctx: sockets.Context, ignored: int, published: str = "") -> Iterator[str]:
    """Publishes all the time; the tokens of the first `ignored` hellos that have one are not sent back.

    It says that it publishes at `published`; empty: where it does.
    """
    publisher, ask = sockets.publish(ctx), sockets.router(ctx)
    real, address = publisher.bind("tcp://127.0.0.1:*"), ask.bind("tcp://127.0.0.1:*")
    stop = threading.Event()

    def run() -> None:
        left = ignored
        while not stop.is_set():
            while publisher.receive() is not None:
                continue
            publisher.send(encode(Heartbeat("maps", "one", -1, 0)))
            parts = ask.receive(EVERY_MS)
            if parts is None:
                continue
            hello = handshake.unpack_request(parts[1])
            assert isinstance(hello, handshake.Hello)
            ask.send([parts[0], handshake.pack(handshake.Welcome("one", published or real, {"maps": 0}))])
            if hello.token and (left := left - 1) < 0:
                publisher.send([handshake.hello_topic(hello.token)])

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield address
    finally:
        stop.set()
        thread.join(10)
        publisher.close()
        ask.close()


def test_it_asks_again_however_many_results_come() -> None:
    with sockets.context() as ctx, sender(ctx, ignored=3) as address, Subscriber(ctx, address, timeout_s=20) as results:
        assert results.routes == ("maps",)


def test_it_gives_up_in_time() -> None:
    with sockets.context() as ctx, sender(ctx, ignored=10**6) as address, pytest.raises(NoAnswer, match="firewall"):
        Subscriber(ctx, address, timeout_s=0.5)


def test_one_that_may_not_connect_leaves_no_socket_behind() -> None:
    """A device that is staged again and again with a wrong setting must not run out of files."""
    with sockets.context() as ctx, sender(ctx, ignored=0, published="tcp://192.0.2.1:5601") as address:
        before = set(ctx.watched)
        with pytest.raises(sockets.SocketError, match="keys"):
            Subscriber(ctx, address, timeout_s=20)
        assert ctx.watched == before
