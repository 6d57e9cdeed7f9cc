"""The detector is armed when everything behind it is ready, never before: the first frame counts as the last does."""

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import zmq

from edge.bench.proxy import Proxy
from edge.demo.children import child, data_plane
from edge.experiment.dataplane import DataPlane
from edge.experiment.detector import EdgeDetector, Exposure, NotReady, Patience
from edge.experiment.simplon import SimplonClient
from streams.codecs import ENCODERS
from streams.codecs.handshake import presence_topic
from streams.codecs.results import Result, SeriesEnded, topic
from streams.controller import Controller, Readiness
from streams.messages import Acquisition, Compression
from streams.sockets import Context, Socket, context, subscribe
from streams.subscriber import Subscriber
from tests.system.serving import CONFIG, descendants, image, wait_until
from tests.system.test_results import Sender, sending

ARMS = 100
CUTS = (20, 50, 80)
FRAMES = 3
NOWHERE = 9
PATIENT = Patience(margin_s=5.0, announce_s=10.0, ready_s=30.0, results_s=10.0, end_s=10.0)
AT_ONCE = Patience(margin_s=5.0, announce_s=10.0, ready_s=0.0, results_s=10.0, end_s=10.0)

SETTINGS = """
[[source]]
name = "wrong"
protocol = "stream-v2"
address = "tcp://127.0.0.1:{http_port}"
memory_mib = 4

[[source]]
name = "pub"
protocol = "array-1.0"
address = "tcp://127.0.0.1:{pub_port}"
socket = "sub"
memory_mib = 4
"""


class Counting:
    """How many frames a point has."""

    route = "check"

    def describe(self) -> dict[str, dict[str, Any]]:
        return {"value": {"dtype": "number", "shape": [], "units": "1"}}

    def reduce(self, arrays) -> dict[str, float]:
        return {"value": float(len(arrays))}


@dataclass
class Stand:
    """A simulated detector, whose stream goes through a proxy, and the real `edge serve`."""

    ctx: Context
    addresses: dict[str, Any]
    proxy: Proxy
    stream_port: int
    publisher: Any
    pub_proxy: Proxy
    simplon: SimplonClient

    def detector(self, patience: Patience = PATIENT, source: str = "det") -> EdgeDetector:
        plane = DataPlane(self.addresses["handshake"], source, "check")
        return EdgeDetector("eiger", self.simplon, plane, Counting(), Exposure(FRAMES, 0.002), patience)

    def readiness(self, source: str = "det") -> Readiness:
        with Controller(self.ctx, self.addresses["handshake"]) as controller:
            return controller.ready(source, ["check"])

    def maps(self) -> Subscriber:
        return Subscriber(self.ctx, self.addresses["handshake"], ["check"], name="maps")

    def arms(self) -> None:
        """Arm once, and let go."""
        detector = self.detector()
        detector.stage().wait(60)
        assert self.simplon.state() == "ready"
        detector.unstage().wait(30)

    def refuses(self, why: str, source: str = "det") -> None:
        """Stage; nothing is armed, and the error says `why`."""
        detector = self.detector(AT_ONCE, source)
        with pytest.raises(NotReady, match=why) as caught:
            detector.stage().wait(60)
        assert all(one.why in str(caught.value) and one.remedy in str(caught.value) for one in caught.value.problems)
        assert self.simplon.state() == "idle"
        detector.unstage().wait(30)
        assert detector.series == ()


@pytest.fixture(scope="module")
def stand(triton, tmp_path_factory) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("stand")
    with ExitStack() as stack:
        simulated = stack.enter_context(child("simulate", [], folder))
        stream_port, http_port = (_port(simulated[name]) for name in ("stream", "http"))
        proxy = stack.enter_context(Proxy(stream_port))
        address = f"tcp://127.0.0.1:{proxy.port}"
        config = CONFIG.format(protocol="stream-v2", address=address, memory_mib=16)
        config = config.replace("[results]", '[results]\nrequired_subscribers = ["maps"]')
        ctx = stack.enter_context(context())
        publisher = ctx.socket(zmq.PUB)
        pub_proxy = stack.enter_context(Proxy(publisher.bind_to_random_port("tcp://127.0.0.1")))
        config += SETTINGS.format(http_port=http_port, pub_port=pub_proxy.port)
        addresses = stack.enter_context(data_plane(config, folder))
        simplon = SimplonClient(simulated["http"])
        stack.callback(simplon.close)
        yield Stand(ctx, dict(addresses), proxy, stream_port, publisher, pub_proxy, simplon)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


@contextmanager
def listening(stand: Stand) -> Iterator[Subscriber]:
    with stand.maps() as maps:
        wait_until(lambda: stand.readiness().ready, "readiness")
        yield maps


def test_a_hundred_arms_in_a_row_lose_no_frame_and_the_first_above_all(stand):
    detector = stand.detector()
    with listening(stand) as maps:
        for number in range(ARMS):
            if number in CUTS:
                stand.proxy.cut()  # the connection is made anew while the device gets ready
            detector.stage().wait(60)
            detector.trigger().wait(60)
            assert detector.read()["eiger_first_image"]["value"] == 0
            detector.unstage().wait(60)
            (series,) = detector.series
            assert (series.images, series.verdict, series.doubt, series.problems) == (FRAMES, "complete", "", "")
        images, ended = heard(maps, ARMS)
    assert len(images) == len(ended) == ARMS
    assert set(map(tuple, images.values())) == {tuple(range(FRAMES))}
    assert {one.verdict for one in ended} == {"complete"} and maps.lost == 0


def test_the_first_image_of_a_publisher_is_not_lost_however_new_its_connection(stand):
    """What a PUB sends before the subscription has reached it is dropped: readiness has to wait for that."""
    acquisition = Acquisition(
        1, "", datetime.now(UTC).isoformat(), 9, shape=(12, 10), dtype="uint16", compression=Compression.NONE
    )
    encoder = ENCODERS["array-1.0"](acquisition)
    with listening(stand) as maps:
        for number in range(3):
            stand.pub_proxy.cut()
            wait_until(lambda: not stand.readiness("pub").ready, "the loss of the connection")
            wait_until(lambda: stand.readiness("pub").ready, "the new connection")
            stand.publisher.send_multipart(encoder.image(number, {"image": image(number)}))
            results = (received for _ in range(9) if (received := maps.receive(10)) is not None)
            assert next(one.image_id for one, _ in results if isinstance(one, Result)) == number


def heard(maps: Subscriber, series: int) -> tuple[dict[str, list[int]], list[SeriesEnded]]:
    """Image ids by series, and the ends of so many series."""
    images: dict[str, list[int]] = {}
    ended: list[SeriesEnded] = []
    while len(ended) < series and (received := maps.receive(10)) is not None:
        notice, _ = received
        if isinstance(notice, Result):
            images.setdefault(notice.series_uid, []).append(notice.image_id)
        elif isinstance(notice, SeriesEnded):
            ended.append(notice)
    return {uid: sorted(ids) for uid, ids in images.items()}, ended


def test_a_required_subscriber_that_is_missing(stand):
    why = r"subscriber 'maps' is not connected \(start it, or take it out of `required_subscribers` in edge.toml\)"
    stand.refuses(why)
    with listening(stand):
        stand.arms()
    wait_until(lambda: not stand.readiness().subscribers, "the departure of the subscriber")
    stand.refuses(why)


def test_a_detector_that_is_not_connected(stand):
    with listening(stand):
        stand.proxy.cut(target=NOWHERE)
        wait_until(lambda: stand.readiness().sources["det"] == 0, "the loss of the connection")
        stand.refuses(rf"source 'det' is not connected to its detector \(tcp://127\.0\.0\.1:{stand.proxy.port}\)")
        stand.proxy.cut(target=stand.stream_port)
        stand.arms()


def test_an_address_where_something_else_listens(stand):
    with listening(stand):
        stand.refuses("source 'wrong' is not connected to its detector", "wrong")
        stand.refuses("`edge serve` has no source 'eiger9m'; it has 'det', 'pub', 'wrong'", "eiger9m")


def test_an_inference_server_that_died(stand):
    with listening(stand):
        (triton,) = (pid for pid, name in descendants(stand.addresses["pid"]).items() if name == "tritonserver")
        os.kill(triton, signal.SIGKILL)
        wait_until(lambda: not stand.readiness().models["identity"], "the loss of the server")
        stand.refuses("model 'identity' is not ready on the server: ")
        stand.arms()


def test_what_is_told_beside(stand):
    with listening(stand), stand.maps():
        told = stand.readiness("")
        assert (told.models, told.subscribers) == ({"identity": True}, ("maps",))
        assert told.sources == {"det": 1, "wrong": 0, "pub": 1} and [one.what for one in told.problems] == [
            "connection"
        ]
        assert (told.recording, told.results, told.stopping) == ("off", "off", False)
        assert re.fullmatch(r"\d+\.\d+.*", told.version) and told.started_ns > 0
        assert stand.readiness("").origin == told.origin
        detector = stand.detector()
        detector.stage().wait(60)
        armed = stand.readiness("")
        assert armed.series_open == told.series_open + 1 and len(armed.subscribers) == 2
        detector.unstage().wait(30)
        wait_until(lambda: stand.readiness("").series_open == told.series_open, "the end of the series")


# Presence, without a data plane


def present(sender: Sender) -> frozenset[str]:
    sender.do(sender.sink.listen)
    return sender.sink.presence.names


def test_who_comes_is_present_and_who_goes_is_not():
    with sending() as (ctx, sender):
        with Subscriber(ctx, sender.address, ["ptycho"]), Subscriber(ctx, sender.address, name="maps"):
            wait_until(lambda: present(sender) == {"maps"}, "presence")
            with Subscriber(ctx, sender.address, name="maps"), Subscriber(ctx, sender.address, name="plan"):
                wait_until(lambda: present(sender) == {"maps", "plan"}, "presence")
            wait_until(lambda: present(sender) == {"maps"}, "the absence of one and the presence of the other")
        wait_until(lambda: not present(sender), "absence")
        with pytest.raises(ValueError, match="no name for a subscriber"):
            Subscriber(ctx, sender.address, name="a b")


def test_a_flood_of_subscriptions_does_not_hold_up_the_loop_and_who_is_required_is_seen():
    with sending() as (ctx, sender):
        stranger = ctx.socket(zmq.XSUB)
        stranger.sndhwm = 0
        stranger.connect(sender.sink._address)
        for _ in range(20_000):
            stranger.send(b"\x01" + os.urandom(30))
        stranger.send_multipart([b"\x07not a subscription", b"at all"])
        with Subscriber(ctx, sender.address, ["ptycho"], name="maps") as maps:
            wait_until(lambda: present(sender) == {"maps"}, "presence")
            sender.send(1)
            assert maps.receive(10) is not None
        stranger.close(linger=0)


def test_presence_is_told_behind_the_other_subscriptions_whenever_a_connection_is_made():
    """Whoever is present after the network was away has its results, too."""
    with context() as ctx:
        publisher = ctx.socket(zmq.XPUB)
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        subscriber = subscribe(ctx, [presence_topic("maps"), topic("zz"), topic("Aa"), topic("0")])
        with Proxy(port) as proxy:
            subscriber.connect(f"tcp://127.0.0.1:{proxy.port}")
            for _ in range(3):
                told = [message[1:] for message in comings_and_goings(publisher, subscriber, 4)]
                assert told[-1] == presence_topic("maps") and len(set(told)) == 4
                proxy.cut()
                assert all(message[0] == 0 for message in comings_and_goings(publisher, subscriber, 4))
        subscriber.close()
        publisher.close(linger=0)


def comings_and_goings(publisher: Any, subscriber: Socket, number: int) -> list[bytes]:
    """What the publisher is told next. ZeroMQ tells it anew only while the subscriber's socket is used."""
    told: list[bytes] = []
    deadline = time.monotonic() + 10
    while len(told) < number:
        assert time.monotonic() < deadline, f"only {told}"
        subscriber.receive()
        if publisher.poll(10):
            told.append(publisher.recv())
    return told
