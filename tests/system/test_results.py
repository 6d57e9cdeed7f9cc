"""The result stream over real sockets: nobody misses the first frame, and nothing comes twice."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgpack
import numpy as np
import pytest
import zmq

from edge.pipeline.control import Control
from edge.pipeline.sinks import ResultSink
from streams.codecs import handshake
from streams.codecs.results import Result, SeriesEnded, describe
from streams.sockets import Poller, Socket, SocketError, WakeUp, context, publish, router
from streams.subscriber import NoAnswer, Subscriber


def result(image_id: int, route: str = "ptycho") -> Result:
    spec = describe("phase", np.zeros(3, np.float32), "rad")
    return Result("det", "u", 1, image_id, "image", route, "m", "1", "00", "", 0, 1, 0, specs=(spec,))


def ended(route: str = "ptycho") -> SeriesEnded:
    return SeriesEnded("det", "u", 1, route, "", 0, 0, "end", "complete", {}, {}, {})


def bind_when_free(socket: Socket, address: str) -> str:
    """ZeroMQ frees the port of a closed socket from a thread of its own, a moment after `close`."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.bind(address, plain=True)
        except SocketError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


class Sender:
    """A `ResultSink` that answers its handshake from a thread, as the serving loop does."""

    def __init__(
        self, ctx, origin: str = "first", replay_bytes: int = 1 << 20, host: str = "127.0.0.1", addresses=None
    ) -> None:
        self.pub, self.ask = publish(ctx), router(ctx)
        address, ask_address = addresses or (f"tcp://{host}:*", f"tcp://{host}:*")
        address = bind_when_free(self.pub, address)
        self.address = bind_when_free(self.ask, ask_address)
        self.sink = ResultSink(self.pub, self.ask, address, origin, ["ptycho", "peaks"], replay_bytes)
        self.understood: list[bool] = []
        self._jobs: list = []
        self._wake_up = WakeUp()
        self._done = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        poller = Poller()
        poller.watch(self._wake_up)
        poller.watch(self.ask)
        while not self._done:
            ready = poller.wait(1000)
            if self.ask.zmq in ready:
                self.understood.append(self.sink.answer(Control([]).answer))
            self._wake_up.clear()
            while self._jobs:
                self._jobs.pop(0)()

    def do(self, job) -> None:
        """Run `job` on the sender's thread, the only one that may use its sockets."""
        done = threading.Event()
        self._jobs.append(lambda: (job(), done.set()))
        self._wake_up.set()
        assert done.wait(5)

    def send(self, *ids: int, route: str = "ptycho") -> None:
        self.do(lambda: [self.sink.send(result(i, route), [np.full(3, i, np.float32)]) for i in ids])

    def lose(self, *ids: int) -> None:
        """Results that are sent but never arrive, as if a subscriber's queue was full."""

        def job() -> None:
            real, self.sink._publish = self.sink._publish, _Nowhere()
            for i in ids:
                self.sink.send(result(i), [np.full(3, i, np.float32)])
            self.sink._publish = real

        self.do(job)

    def close(self) -> None:
        self._done = True
        self._wake_up.set()
        self._thread.join(5)
        self._wake_up.close()
        self.pub.close()
        self.ask.close()


class _Nowhere:
    def send(self, parts, timeout_ms=0, *, copy=True) -> bool:
        return True


@contextmanager
def sending(**options) -> Iterator[tuple]:
    with context() as ctx:
        sender = Sender(ctx, **options)
        try:
            yield ctx, sender
        finally:
            sender.close()


def take(subscriber: Subscriber, count: int) -> list[int]:
    read = []
    for _ in range(count):
        received = subscriber.receive(5)
        assert received is not None, f"only {read} came"
        notice, arrays = received
        assert isinstance(notice, Result)
        np.testing.assert_array_equal(arrays["phase"], np.full(3, notice.image_id))
        read.append(notice.image_id)
    return read


@pytest.mark.parametrize("attempt", range(10))
def test_the_first_result_after_the_handshake_arrives(attempt):
    with sending() as (ctx, sender), Subscriber(ctx, sender.address, ["ptycho"]) as subscriber:
        sender.send(0)
        assert take(subscriber, 1) == [0]


def test_only_chosen_routes_come():
    with sending() as (ctx, sender), Subscriber(ctx, sender.address, ["peaks"]) as subscriber:
        sender.send(1, route="ptycho")
        sender.send(2, route="peaks")
        assert take(subscriber, 1) == [2]


def test_a_gap_is_filled_in_order_and_marked():
    with sending() as (ctx, sender), Subscriber(ctx, sender.address, ["ptycho"]) as subscriber:
        sender.send(0)
        sender.lose(1, 2)
        sender.send(3)
        notices = [subscriber.receive(5) for _ in range(4)]
        assert [notice[0].image_id for notice in notices] == [0, 1, 2, 3]
        assert [notice[0].recovered for notice in notices] == [False, True, True, False]
        assert subscriber.lost == 0


def test_the_loss_of_the_last_message_shows_by_the_heartbeat():
    with sending() as (ctx, sender), Subscriber(ctx, sender.address, ["ptycho"]) as subscriber:
        sender.send(0)
        sender.lose(1)
        sender.do(sender.sink.beat)
        assert take(subscriber, 2) == [0, 1]


def test_what_the_sender_forgot_is_counted_as_lost():
    with sending(replay_bytes=600) as (ctx, sender), Subscriber(ctx, sender.address, ["ptycho"]) as subscriber:
        sender.lose(*range(50))
        sender.send(50)
        read = []
        while not read or read[-1] != 50:
            read += take(subscriber, 1)
        assert subscriber.lost == 51 - len(read) > 0
        assert read == list(range(51 - len(read), 51))


def test_more_than_one_request_is_made_for_a_long_gap():
    with sending() as (ctx, sender), Subscriber(ctx, sender.address, ["ptycho"]) as subscriber:
        sender.lose(*range(1500))
        sender.send(1500)
        assert take(subscriber, 1501) == list(range(1501))


def test_late_answers_to_an_earlier_question_are_passed_over():
    with sending() as (ctx, sender), Subscriber(ctx, sender.address, ["ptycho"]) as subscriber:
        sender.lose(0, 1, 2)
        subscriber._ask.send([handshake.pack(handshake.Replay("ptycho", 1, 1))])  # an answer that nobody waits for
        sender.send(3)
        assert take(subscriber, 4) == [0, 1, 2, 3]
        assert (subscriber.lost, subscriber.repeats) == (0, 0)


def test_a_sender_on_all_networks_is_where_it_was_asked():
    with context() as ctx:
        sender = Sender(ctx, host="0.0.0.0")
        with Subscriber(ctx, sender.address.replace("0.0.0.0", "127.0.0.1"), ["ptycho"]) as subscriber:
            sender.send(0)
            assert take(subscriber, 1) == [0]
        sender.close()


def test_a_result_that_was_handed_out_is_dropped():
    with sending() as (ctx, sender), Subscriber(ctx, sender.address, ["ptycho"]) as subscriber:
        sender.send(0, 1, 1, 0, 2)
        assert take(subscriber, 3) == [0, 1, 2]
        assert subscriber.receive(0.05) is None
        assert subscriber.repeats == 2


def test_a_restarted_sender_counts_anew_and_repeats_are_dropped():
    with context() as ctx:
        first = Sender(ctx, "first")
        with Subscriber(ctx, first.address, ["ptycho"]) as subscriber:
            first.send(0, 1)
            assert take(subscriber, 2) == [0, 1]
            addresses = (first.sink._address, first.address)
            first.close()
            second = Sender(ctx, "second", addresses=addresses)
            second.send(1, 2)
            while (received := subscriber.receive(0.1)) is None:
                second.do(second.sink.beat)  # until the subscription has been made anew
            assert received[0].image_id == 2
            assert received[0].origin == "second"
            assert (subscriber.repeats, subscriber.lost) == (1, 0)
            second.close()


def test_what_was_published_before_comes_first_when_asked_for():
    with sending() as (ctx, sender):
        sender.send(0, 1, 2)
        with Subscriber(ctx, sender.address, ["ptycho"], from_start=True) as subscriber:
            sender.do(sender.sink.beat)
            assert take(subscriber, 3) == [0, 1, 2]
            assert subscriber.lost == 0


def test_series_end_comes_after_the_results():
    with sending() as (ctx, sender), Subscriber(ctx, sender.address, ["ptycho"]) as subscriber:
        sender.send(0)
        sender.do(lambda: sender.sink.send(ended()))
        assert take(subscriber, 1) == [0]
        received = subscriber.receive(5)
        assert received is not None
        assert isinstance(received[0], SeriesEnded)


def test_nobody_there_says_what_to_look_for():
    with context() as ctx, pytest.raises(NoAnswer, match="edge serve"):
        Subscriber(ctx, "tcp://127.0.0.1:9", timeout_s=0.3)


def test_an_unknown_route_names_the_known_ones():
    with sending() as (ctx, sender), pytest.raises(ValueError, match="peaks"):
        Subscriber(ctx, sender.address, ["nothing"])


def test_hostile_handshakes_are_counted_and_others_served():
    with sending() as (ctx, sender):
        hostile = ctx.socket(zmq.DEALER)
        hostile.linger = 0
        hostile.connect(sender.address)
        for message in ([b"x"], [b""], [b"a", b"b", b"c"], [b"\xdf" * 4000], [msgpack.packb({"op": "hello"})]):
            hostile.send_multipart(message)
        hostile.send(msgpack.packb({"op": "replay", "route": "ptycho", "first": -(2**62), "last": 2**62}))
        assert hostile.poll(5000)
        with Subscriber(ctx, sender.address, ["ptycho"]) as subscriber:
            sender.send(0)
            assert take(subscriber, 1) == [0]
        assert sender.understood.count(False) == 5
        hostile.send(b"\0" * 5000)  # more than a request may have: the connection ends, nothing reaches us
        with Subscriber(ctx, sender.address, ["ptycho"]) as subscriber:
            sender.send(1)
            assert take(subscriber, 1) == [1]
        hostile.close()


def test_headers_can_be_read_without_our_code():
    """A subscriber needs msgpack and numpy only."""
    with sending() as (ctx, sender), Subscriber(ctx, sender.address, ["ptycho"]):
        bare = ctx.socket(zmq.SUB)
        bare.linger = 0
        bare.subscribe(b"ptycho\0")
        bare.connect(sender.sink._address)
        while not bare.poll(20):
            sender.do(sender.sink.beat)
        while msgpack.unpackb(bare.recv_multipart()[1])["type"] != "heartbeat":
            pass
        sender.send(4)
        while True:
            topic, header, *arrays = bare.recv_multipart()
            header = msgpack.unpackb(header)
            if header["type"] == "result":
                break
        assert topic == b"ptycho\0"
        assert header["image_id"] == 4
        assert np.frombuffer(arrays[0], header["arrays"][0]["dtype"]).tolist() == [4, 4, 4]
        bare.close()
