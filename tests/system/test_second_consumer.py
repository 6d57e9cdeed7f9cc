"""Two programs on one PUSH port, over real sockets: ZeroMQ deals in turn, and the account shows it."""

import pytest

from edge.bench.faultrun import Run
from edge.bench.faults import ordered
from streams.codecs import ENCODERS, PROTOCOLS
from streams.ledger.book import SeriesBook
from streams.ledger.merging import merge
from streams.ledger.shares import Share
from streams.simulation.onwire import OnWire
from streams.sockets import Socket, context, pull, push

WAIT_MS = 10_000


def receive(socket: Socket) -> list[bytes]:
    parts = socket.receive(WAIT_MS)
    assert parts is not None
    return [bytes(part) for part in parts]


def dealt(protocol: str, consumers: int) -> tuple[int, int, list[list[OnWire]]]:
    """Images and channels of a series without faults, and what each consumer got of it."""
    simulation, messages = ordered(protocol, "delay", 0)
    with context() as ctx:
        detector = push(ctx)
        address = detector.bind("tcp://127.0.0.1:*")
        sockets = [pull(ctx) for _ in range(consumers)]
        for socket in sockets:
            socket.connect(address)
        reached: set[int] = set()
        while len(reached) < consumers:  # until all are connected, so that each has its turn
            assert detector.send([b"probe"], WAIT_MS)
            reached |= {at for at, socket in enumerate(sockets) if socket.receive(20) is not None}
        for socket in sockets:
            while socket.receive(100) is not None:
                pass
        for message in messages:
            assert detector.send(message.parts, WAIT_MS)
        assert all(detector.send([b"over"], WAIT_MS) for _ in sockets)
        got: list[list[OnWire]] = []
        for socket in sockets:
            mine: list[OnWire] = []
            while (parts := receive(socket)) != [b"over"]:
                if parts != [b"probe"]:
                    mine.append(OnWire(parts))
            got.append(mine)
    assert sum(map(len, got)) == len(messages)
    return simulation.acquisition.images, len(simulation.acquisition.channels), got


@pytest.mark.parametrize("protocol", ENCODERS)
def test_a_second_consumer_is_suspected_by_the_first(protocol):
    images, _, (ours, _) = dealt(protocol, 2)
    (account,) = Run(protocol, {}, None).feed(ours).accounts
    assert account.ended.suspicion is not None
    assert (account.ended.suspicion.stride, account.ended.suspicion.missing) == (2, 1)
    assert account.ended.verdict == "incomplete"
    assert 0.4 * images < len(account.received) < 0.6 * images


@pytest.mark.parametrize("protocol", ENCODERS)
def test_workers_that_share_a_port_have_it_all(protocol):
    images, channels, got = dealt(protocol, 3)
    accounts = [
        Run(protocol, {}, None, SeriesBook(Share(part, 3))).feed(mine).accounts for part, mine in enumerate(got, 1)
    ]
    traits = PROTOCOLS[protocol]
    merged = merge([account.ended for (account,) in accounts], numbered=traits.series_number)
    assert (merged.received, merged.missing, merged.silent, merged.suspicion) == (images * channels, 0, (), None)
    assert merged.verdict == ("complete" if traits.expected else "unknown")
