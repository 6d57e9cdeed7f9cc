"""Streams that know no series, through the whole data plane: every image comes back, and nothing is claimed in vain."""

import pytest
import zmq

from edge.pipeline.loop import Patience
from streams import sockets
from streams.codecs import ANNOUNCED, PROTOCOLS
from streams.codecs.results import SeriesStarted
from tests.system import loopbench
from tests.system.loopbench import SECOND, LoopBench, Taken, loop_bench, series

IDLE = Patience(grace_ns=60 * SECOND, idle_ns=2 * SECOND, drain_ns=15 * SECOND)
NAMELESS = [protocol for protocol in PROTOCOLS if protocol not in ANNOUNCED]


def taken_by(protocol: str, images: int) -> Taken:
    traits = PROTOCOLS[protocol]
    pulses = 4 if traits.trains else 1
    return series(protocol, images, compression=traits.compressions[0], images_per_message=pulses)


def opened(bench: LoopBench, count: int) -> SeriesStarted:
    bench.until(lambda: len(bench.started) >= count, f"series {count}")
    return bench.started[count - 1]


@pytest.mark.parametrize("protocol", NAMELESS)
def test_every_image_comes_back_and_an_idle_stream_closes_its_series(protocol: str) -> None:
    with loop_bench(protocol, patience=IDLE) as bench:
        bench.ready()
        taken = taken_by(protocol, 80)
        messages = taken.images
        lost = len(messages) // 2
        bench.send([*messages[4:lost], *messages[lost + 1 :]])
        start = opened(bench, 1)
        skipped = messages[4].image_id or 0
        assert (start.first_image, start.announced, start.expected) == (skipped, True, None)
        ended = bench.end_of(number=start.series_id)
        here = {(channel, at) for channel, at in taken.values if at >= skipped}
        gone = {("image", (messages[lost].image_id or 0) + pulse) for pulse in range(80 // len(messages))}
        assert bench.values(number=start.series_id) == {key: taken.values[key] for key in here - gone}
        assert (ended.verdict, ended.reason) == ("incomplete", "idle")
        assert ended.arrivals["missing"] == len(gone) and ended.first_image == skipped
        bench.nothing_is_left()


@pytest.mark.parametrize("protocol", NAMELESS)
def test_nobody_knows_whether_a_stream_without_holes_is_complete(protocol: str) -> None:
    with loop_bench(protocol, patience=IDLE) as bench:
        bench.ready()
        taken = taken_by(protocol, 40)
        bench.send(taken.messages)
        start = opened(bench, 1)
        ended = bench.end_of(number=start.series_id)
        assert bench.values(number=start.series_id) == taken.values
        assert (ended.verdict, ended.reason, ended.arrivals["missing"]) == ("unknown", "idle", 0)
        bench.nothing_is_left()


def test_a_server_that_is_asked_may_go_away_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop reads only what is ready: it has to be woken when there is somebody to ask again."""
    monkeypatch.setattr(loopbench, "push", lambda ctx, _: sockets.detector(ctx, "req"))
    monkeypatch.setattr(loopbench, "pull", lambda ctx, _: sockets.source(ctx, "req"))
    with loop_bench("karabo", patience=IDLE) as bench:
        bench.ready()
        taken = taken_by("karabo", 160)
        half = len(taken.messages) // 2
        bench.send(taken.messages[:half])
        bench.taken_in(half)
        server = bench.detectors[0]
        address = server.zmq.getsockopt_string(zmq.LAST_ENDPOINT)
        assert server.zmq.poll(20_000)  # it goes away with a question
        server.close()
        bench.detectors[0] = successor = sockets.detector(bench.ctx, "req")
        bench.until(lambda: _bound(successor, address), f"{address} to be free")
        bench.send(taken.messages[half:])
        start = opened(bench, 1)
        bench.end_of(number=start.series_id)
        assert bench.values(number=start.series_id) == taken.values
        bench.nothing_is_left()


def _bound(socket: sockets.Sending, address: str) -> bool:
    try:
        return socket.bind(address) == address
    except sockets.SocketError:  # ZeroMQ frees the port of a closed socket from a thread of its own
        return False
