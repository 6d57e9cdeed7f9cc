"""REQ and REP on real sockets: every question asked once, and asked again only where it was lost."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import zmq

from streams import sockets
from streams.bounds import MAX_PARTS
from streams.codecs import DECODERS
from streams.messages import CodecError
from streams.sockets import Asking, Context, Poller

PATIENCE_MS = 20_000
QUIET_MS = 50
"""How long it is listened for a question that must not come: one that is sent arrives within a millisecond."""


def test_a_peer_that_is_no_server_harms_nobody():
    """It pushes instead of answering: the connection is refused again and again."""
    with sockets.context() as ctx:
        pushing, asking = sockets.push(ctx), sockets.source(ctx, "req")
        asking.connect(pushing.bind("tcp://127.0.0.1:*"))
        for _ in range(20_000):
            assert asking.receive() is None


class Server:
    """Answers when it is told to, and counts what it is asked."""

    def __init__(self, ctx: Context, address: str = "tcp://127.0.0.1:*") -> None:
        self.socket = ctx.socket(zmq.ROUTER)  # unlike a REP, it sees questions that came before it has answered
        self.socket.linger = 0
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while True:
            try:
                self.socket.bind(address)  # ZeroMQ frees the port of a closed socket from a thread of its own
                break
            except zmq.ZMQError:
                assert time.monotonic() < deadline, f"{address} is not free"
                time.sleep(0.01)
        self.address = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def asked(self, asking: Asking, poller_ms: int = PATIENCE_MS) -> list[bytes] | None:
        """The envelope of the next question; `asking` is given the chance to ask it."""
        deadline = time.monotonic() + poller_ms / 1000
        while True:
            assert asking.receive() is None
            if self.socket.poll(5):
                *envelope, question = self.socket.recv_multipart()
                assert question == b"next"
                return envelope
            if time.monotonic() >= deadline:
                return None

    def answer(self, envelope: list[bytes] | None, *parts: bytes) -> None:
        assert envelope is not None, "no question came"
        self.socket.send_multipart([*envelope, *parts])

    def close(self) -> None:
        self.socket.close()


@contextmanager
def conversation() -> Iterator[tuple[Server, Asking]]:
    with sockets.context() as ctx:
        server, asking = Server(ctx), Asking(ctx)
        asking.connect(server.address)
        try:
            yield server, asking
        finally:
            asking.close()
            server.close()


def test_one_question_a_message() -> None:
    with conversation() as (server, asking):
        envelope = server.asked(asking)
        for number in range(20):
            server.answer(envelope, b"%d" % number, b"data")
            assert [bytes(part) for part in asking.receive(PATIENCE_MS) or []] == [b"%d" % number, b"data"]
            envelope = server.asked(asking)
        assert server.asked(asking, QUIET_MS) is None


def test_a_new_connection_is_asked_once() -> None:
    """The socket may know of it before we are told of it."""
    with sockets.context() as ctx:
        server = Server(ctx)
        for _ in range(100):
            asking = Asking(ctx)
            asking.connect(server.address)
            server.answer(server.asked(asking), b"data")
            assert asking.receive(PATIENCE_MS) == [b"data"]
            assert server.asked(asking) is not None
            assert server.asked(asking, 5) is None
            asking.close()


def test_a_slow_server_is_waited_for_and_not_asked_twice() -> None:
    """A second question would cost a train: the answer to the first is dropped."""
    with conversation() as (server, asking):
        envelope = server.asked(asking)
        assert server.asked(asking, 10 * QUIET_MS) is None
        server.answer(envelope, b"late")
        assert asking.receive(PATIENCE_MS) == [b"late"]
        assert server.asked(asking) is not None
        assert server.asked(asking, QUIET_MS) is None


@pytest.mark.parametrize("answered", [False, True])
def test_a_server_that_went_away_with_a_question_is_asked_once_when_it_is_back(answered: bool) -> None:
    with conversation() as (server, asking), sockets.context() as ctx:
        envelope = server.asked(asking)
        if answered:
            server.answer(envelope, b"before")
            assert asking.receive(PATIENCE_MS) == [b"before"]
            server.asked(asking)
        server.close()
        successor = Server(ctx, server.address)
        envelope = successor.asked(asking)
        assert successor.asked(asking, QUIET_MS) is None
        successor.answer(envelope, b"after")
        assert asking.receive(PATIENCE_MS) == [b"after"]
        assert successor.asked(asking) is not None
        assert successor.asked(asking, QUIET_MS) is None


def test_an_answer_that_came_before_its_server_went_away_counts() -> None:
    with conversation() as (server, asking), sockets.context() as ctx:
        poller = Poller()
        poller.watch(asking)
        server.answer(server.asked(asking), b"last")
        assert asking.zmq.poll(PATIENCE_MS), "no answer came"
        server.close()
        while not asking.peers.disconnections:
            assert asking.peers.zmq.poll(PATIENCE_MS), "the connection is still there"
            asking.peers.poll()
        assert asking.receive() == [b"last"]
        successor = Server(ctx, server.address)
        successor.answer(successor.asked(asking), b"next")
        assert asking.receive(PATIENCE_MS) == [b"next"]


def test_a_server_that_comes_later() -> None:
    with sockets.context() as ctx:
        server = Server(ctx)
        server.close()
        asking = Asking(ctx)
        asking.connect(server.address)
        for _ in range(10):
            assert asking.receive(5) is None
        server = Server(ctx, server.address)
        envelope = server.asked(asking)
        assert server.asked(asking, QUIET_MS) is None
        server.answer(envelope, b"first")
        assert asking.receive(PATIENCE_MS) == [b"first"]


def test_a_poller_wakes_when_there_is_somebody_to_ask() -> None:
    """A loop that reads only what is ready would otherwise wait for an answer that was never asked for."""
    with sockets.context() as ctx:
        server, asking, poller = Server(ctx), Asking(ctx), Poller()
        poller.watch(asking)
        asking.connect(server.address)
        for _ in range(3):
            deadline = time.monotonic() + PATIENCE_MS / 1000
            while not server.socket.poll(QUIET_MS):  # asked again when the poller says so, not at once
                assert time.monotonic() < deadline, "no question came"
                if poller.wait(QUIET_MS):
                    assert asking.receive() is None
            server.close()
            before = asking.peers.disconnections
            while asking.peers.disconnections == before:
                assert poller.wait(PATIENCE_MS) == {asking.zmq}, "the connection is still there"
                assert asking.receive() is None
            server = Server(ctx, server.address)
        envelope = server.asked(asking)
        server.answer(envelope, b"data")
        while (parts := asking.receive()) is None:
            assert poller.wait(PATIENCE_MS) == {asking.zmq}, "no answer came"
        assert parts == [b"data"]
        poller.watch(asking, wanted=False)
        server.answer(server.asked(asking), b"more")
        assert poller.wait(QUIET_MS) == set()
        server.close()


def test_whom_we_ask_we_connect_to() -> None:
    with sockets.context() as ctx:
        asking = sockets.source(ctx, "req")
        with pytest.raises(sockets.SocketError, match="whom we ask, we connect to"):
            asking.bind("tcp://127.0.0.1:*")


def test_our_two_ends_agree() -> None:
    with sockets.context() as ctx:
        answering, asking = sockets.detector(ctx, "req"), sockets.source(ctx, "req")
        asking.connect(answering.bind("tcp://127.0.0.1:*"))
        for number in range(5):
            while not answering.send([b"%d" % number, b""], 5):
                assert asking.receive() is None
            assert asking.receive(PATIENCE_MS) == [b"%d" % number, b""]


def test_a_message_of_too_many_parts_is_told_and_not_cut_in_silence() -> None:
    with sockets.context() as ctx:
        push, pull = sockets.push(ctx), sockets.pull(ctx)
        pull.connect(push.bind("tcp://127.0.0.1:*"))
        for count in (MAX_PARTS, MAX_PARTS + 1, 2 * MAX_PARTS):
            assert push.send([b"x"] * count, PATIENCE_MS)
        found = [pull.receive(PATIENCE_MS) or [] for _ in range(3)]
        assert [len(parts) for parts in found] == [MAX_PARTS, MAX_PARTS + 1, MAX_PARTS + 1]
        for protocol, decoder in DECODERS.items():
            with pytest.raises(CodecError) as caught:
                decoder("detector").decode(found[2], 1)
            assert caught.value.reason == ("malformed" if protocol == "stream-v2" else "too_large")
        push.send([b"whole"], PATIENCE_MS)
        assert pull.receive(PATIENCE_MS) == [b"whole"]
