"""The simulated detector: what it sends, when, and how it gives up. No socket and no clock."""

import numpy as np
import pytest

from streams.codecs import ANNOUNCED, DECODERS, ENCODERS, PROTOCOLS
from streams.codecs.compression import decompress_into
from streams.messages import Acquisition, CodecError, Frame, SeriesEnd, SeriesStart
from streams.simulation.faults import Faults
from streams.simulation.onwire import OnWire
from streams.simulation.simulator import Sender, Simulation, SimulatorError

POSITIONS = np.array([[0.5, -1.25], [2.0, 3.0], [4.0, 5.0]])


def acquisition(**changes):
    fields = {
        "series_id": 4,
        "series_uid": "uid",
        "arm_date": "2026-01-02T03:04:05Z",
        "images": 3,
        "shape": (24, 36),
        "dtype": "uint16",
    }
    return Acquisition(**{**fields, **changes})


def image(index):
    return np.full((24, 36), 10 + index, np.uint16)


def received(simulation):
    decoder = DECODERS[simulation.protocol]("detector")
    return [message for sent in simulation.messages() for message in decoder.decode(sent.parts, 1)]


def usual(protocol, **changes):
    """An acquisition that the protocol can carry."""
    return acquisition(compression=PROTOCOLS[protocol].compressions[0], **changes)


@pytest.mark.parametrize("protocol", list(ENCODERS))
def test_a_series_with_positions(protocol):
    start, *rest = received(Simulation(protocol, usual(protocol), image, POSITIONS, "m"))
    frames = [one for one in rest if isinstance(one, Frame)]
    assert isinstance(start, SeriesStart)
    assert isinstance(rest[-1], SeriesEnd) == PROTOCOLS[protocol].end
    if protocol in ANNOUNCED:
        assert start.user_data == {"scan": {"axes": ["row", "col"], "units": "m", "points": 3}}
    assert [frame.image_id for frame in frames] == [0, 1, 2]
    positions = [{"row": row, "col": col} for row, col in POSITIONS.tolist()]
    assert [frame.user_data["position"] for frame in frames] == positions
    for frame in frames:
        out = np.zeros(24 * 36 * 2, np.uint8)
        decompress_into(frame, out)
        assert (out.view("<u2") == 10 + frame.image_id).all()


@pytest.mark.parametrize("protocol", ANNOUNCED)
def test_a_series_without_positions_keeps_its_user_data(protocol):
    start, *frames, _ = received(Simulation(protocol, acquisition(user_data={"a": 1}), image))
    assert start.user_data == {"a": 1}
    assert [frame.user_data for frame in frames] == [None] * 3


def test_positions_join_the_user_data_of_the_start():
    start, *_ = received(Simulation("stream-v2", acquisition(user_data={"a": 1}), image, POSITIONS))
    assert start.user_data["a"] == 1 and start.user_data["scan"]["units"] == "px"


def test_channels():
    def images(index):
        return {"low": image(index), "high": image(index + 50)}

    start, *frames, _ = received(Simulation("stream-v2", acquisition(channels=("low", "high")), images))
    assert start.channels == ("low", "high")
    assert [frame.channel for frame in frames] == ["low", "high"] * 3


@pytest.mark.parametrize("protocol", list(ENCODERS))
def test_faults(protocol):
    faults = Faults(lost=frozenset({0}), repeated=frozenset({1}), corrupted=frozenset({2}), no_start=True, no_end=True)
    sent = list(Simulation(protocol, usual(protocol), image, faults=faults).messages())
    assert [message.image_id for message in sent] == [1, 1, 2]
    assert [(message.repeat, message.damage) for message in sent] == [(False, ""), (True, ""), (False, "truncated")]
    assert sent[0].parts == sent[1].parts
    decoder = DECODERS[protocol]("detector")
    assert isinstance(decoder.decode(sent[0].parts, 1)[-1], Frame)
    with pytest.raises(CodecError):
        decoder.decode(sent[2].parts, 1)


@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (3,)])
def test_positions_must_match_the_images(shape):
    with pytest.raises(ValueError, match="for 3 images"):
        next(Simulation("stream-v2", acquisition(), image, np.zeros(shape)).messages())


class World:
    """A socket and a clock that obey the test: sending takes `cost` seconds, `refusals` come first."""

    def __init__(self, refusals=0, stuck_after=None, cost=0.0):
        self.now = 100.0
        self.refusals = refusals
        self.stuck_after = stuck_after
        self.cost = cost
        self.sent = []

    def send(self, parts, timeout_ms=0):
        if self.refusals or len(self.sent) == self.stuck_after:
            self.refusals = max(0, self.refusals - 1)
            self.now += timeout_ms / 1000
            return False
        self.now += self.cost
        self.sent.append((round(self.now, 6), list(parts)))
        return True

    def sender(self, **options):
        return Sender(self, clock=lambda: self.now, sleep=self.sleep, **options)

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds


SERIES = [OnWire([b"start"]), *[OnWire([b"%d" % n], n) for n in range(5)], OnWire([b"end"])]


def test_images_leave_at_the_rate_and_the_rest_at_once():
    world, progress = World(), []
    assert world.sender(rate_hz=10).send(SERIES, progress.append) == 5
    assert [at for at, _ in world.sent] == [100.0, 100.0, 100.1, 100.2, 100.3, 100.4, 100.4]
    assert [parts for _, parts in world.sent] == [message.parts for message in SERIES]
    assert progress == [1, 2, 3, 4, 5]


def test_trains_leave_at_the_rate_of_their_images():
    world, progress = World(), []
    trains = [OnWire([b"train"], 8 * n, 8, "image") for n in range(3)]
    assert world.sender(rate_hz=80).send(trains, progress.append) == 24
    assert [at for at, _ in world.sent] == [100.0, 100.1, 100.2]
    assert progress == [8, 16, 24]


def test_a_delayed_message_delays_none_that_is_due_later():
    world = World()
    late = [OnWire([b"%d" % n], n, delay_s=0.15 if n == 1 else 0.0) for n in range(4)]
    world.sender(rate_hz=10).send(late)
    assert [at for at, _ in world.sent] == [100.0, 100.25, 100.25, 100.3]


def test_a_slow_send_does_not_delay_the_images_after_it():
    world = World(cost=0.15)
    world.sender(rate_hz=5).send(SERIES)
    assert [at for at, _ in world.sent[1:6]] == [100.3, 100.5, 100.7, 100.9, 101.1]


def test_without_a_rate_nothing_waits():
    world = World()
    world.sender().send(SERIES)
    assert world.now == 100.0


def test_the_pace_starts_when_a_receiver_has_connected():
    world = World(refusals=20)  # of 0.2 s each
    world.sender(rate_hz=10).send(SERIES)
    assert [at for at, _ in world.sent[:3]] == [104.0, 104.0, 104.1]


def test_nobody_connects():
    world = World(refusals=10**9)
    with pytest.raises(SimulatorError, match="no receiver connected for 3 s"):
        world.sender(peer_timeout_s=3).send(SERIES)
    assert world.now == pytest.approx(103, abs=0.3)


def test_the_receiver_stops_reading():
    world = World(stuck_after=3)
    with pytest.raises(SimulatorError, match="the receiver stopped reading for 2 s"):
        world.sender(stall_timeout_s=2).send(SERIES)
    assert len(world.sent) == 3
