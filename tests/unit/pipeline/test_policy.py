"""Routes that drop images beside one that does not: nobody waits for a slow model who did not ask for it."""

import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge.pipeline.arena import Arena
from edge.pipeline.dispatch import RouteRunner, ServedModel, Serving
from edge.pipeline.inlet import Inlet, Received
from edge.pipeline.intake import Intake
from edge.pipeline.outputs import OutputBlocks, outputs_nbytes
from edge.pipeline.placing import Placement
from edge.pipeline.policy import OVERLOAD, SUPERSEDED, Policy
from edge.pipeline.slots import Lane
from edge.pipeline.totals import Totals
from streams.codecs import DECODERS, ENCODERS
from streams.codecs.compression import HEADER
from streams.ledger.book import SeriesBook
from streams.messages import Acquisition, Compression
from streams.routing import Route
from tests.unit.pipeline.doubles import SPEC, HeapMemory, SumServer

SHAPE = (2, 3)
SLOTS = 12


class Bench:
    """A source whose images all routes want; each route has a server of its own, which answers when told to."""

    def __init__(self, *policies: Policy, channels: tuple[str, ...] = ("image",), split: bool = False) -> None:
        self.memory = HeapMemory("frames", 2 * 6 * SLOTS)
        self.arena = Arena(self.memory, "det")
        self.runners, self.servers, self.serving = [], [], []
        for at, policy in enumerate(policies):
            outputs = HeapMemory(f"outputs-{at}", 4 * outputs_nbytes(SPEC, SHAPE, SPEC.max_batch))
            model = ServedModel(SPEC, "1", "00", (2,))
            blocks = OutputBlocks(outputs, SPEC, 4)
            rule = Route(f"r{at}", "sum", channels=(channels[at],) if split else ())
            self.runners.append(RouteRunner(rule, model, blocks, 1, policy=policy))
            self.servers.append(SumServer(self.memory, outputs))
            self.serving.append(Serving(1, self.servers[-1], "shm"))
        self.totals = Totals()
        decoder, placement = DECODERS["stream-v2"]("det"), Placement(self.arena)
        inlet = Inlet("det", None, self.totals)
        self.intake = Intake(inlet, decoder, SeriesBook(), placement, self.runners, self.totals)
        self.channels = channels
        self.announce(1)
        self.epoch = 1
        self.recovered = False
        self.published: dict[str, list[int]] = {runner.route.name: [] for runner in self.runners}
        self.channels_of = {name: Counter[str]() for name in self.published}
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.take(*self.encoder.start())

    def announce(self, number: int, shape: tuple[int, int] = SHAPE) -> None:
        acquisition = Acquisition(number, f"u{number}", f"2026-01-0{number}T00:00:00Z", 1000, shape, "uint16")
        self.encoder = ENCODERS["stream-v2"](replace(acquisition, channels=self.channels))
        self.sent, self.shape = 0, shape

    @property
    def accounts(self):
        *_, record = self.intake.records.values()
        return record.accounts

    def take(self, *messages) -> None:
        for parts in messages:
            received = Received([bytes(part) for part in parts], time.time_ns(), self.recovered)
            self.intake.take(received, lambda _: None, self.refused)
            self.turn()

    def together(self, images: int) -> None:
        """Images that wait for their slots at the same time."""
        for _ in range(images):
            pixels = dict.fromkeys(self.channels, np.full(self.shape, self.sent % 100, np.uint16))
            parts = [bytes(part) for part in self.encoder.image(self.sent, pixels)]
            self.intake.take(Received(parts, time.time_ns(), False), lambda _: None, self.refused)
            self.sent += 1
        self.turn()

    def image(self) -> None:
        pixels = np.full(self.shape, self.sent % 100, np.uint16)
        self.take(self.encoder.image(self.sent, dict.fromkeys(self.channels, pixels)))
        self.sent += 1

    def turn(self) -> None:
        """What the loop does between two messages."""
        self.intake.place(self.refused)
        for runner, serving in zip(self.runners, self.serving, strict=True):
            runner.pump(serving, 0, lambda one, done: one.complete(done, 0, self, self.totals), self.totals)
            for record, _, reason in runner.pop_dropped():
                record.accounts[runner.route.name].drop(reason)
                self.dropped[runner.route.name, reason] += 1
        assert all(account.balanced for account in self.accounts.values())
        free, taken = self.arena.usage()
        assert free + taken == sum(lane.count for lane in self.arena.lanes.values())

    def answer(self, at: int) -> None:
        if self.servers[at].asked:
            self.servers[at].answer()
        self.turn()

    def lose(self, at: int) -> None:
        """The server of one route goes away in the middle of everything, and another one comes."""
        while self.servers[at].asked:
            self.servers[at].fail("unavailable", settled=False)
        self.epoch += 1
        self.serving[at] = Serving(self.epoch, self.servers[at], "shm")
        self.runners[at].settle_all()
        self.runners[at].resume(self.epoch)
        self.turn()

    def finish(self) -> None:
        while any(server.asked for server in self.servers) or self.intake.blocked:
            for at in range(len(self.servers)):
                self.answer(at)

    def inferred_all(self, runner, frames, arrays) -> None:
        for at, frame in enumerate(frames):
            assert arrays["total"][at, 0] == frame.shape[0] * frame.shape[1] * (frame.image_id % 100)
            frame.record.accounts[runner.route.name].publish(1)
            self.published[runner.route.name].append(frame.image_id)
            self.channels_of[runner.route.name][frame.channel] += 1

    def failed(self, runner, frame, reason, detail) -> None:
        frame.record.accounts[runner.route.name].fail(reason)

    def refused(self, record, runner, reason, detail) -> None:
        record.accounts[runner.route.name].fail(reason)


def test_a_slow_route_that_drops_keeps_nobody_waiting():
    bench = Bench(Policy(), Policy("drop_oldest"))
    for _ in range(100):
        bench.image()
        bench.answer(0)
    assert not bench.intake.blocked
    bench.finish()
    assert bench.published["r0"] == list(range(100))
    assert bench.dropped == {("r1", OVERLOAD): 100 - len(bench.published["r1"])}
    assert bench.published["r1"][-1] == 99, "the newest images are those that are kept"
    assert bench.arena.drained


def test_a_route_that_blocks_makes_its_source_wait_and_loses_nothing():
    bench = Bench(Policy(), Policy())
    while not bench.intake.blocked:
        bench.image()
        bench.answer(0)
    assert bench.sent == SLOTS + 1
    bench.finish()
    assert bench.published == {"r0": list(range(SLOTS + 1)), "r1": list(range(SLOTS + 1))}
    assert not bench.dropped
    assert bench.arena.drained


def test_of_the_images_that_wait_latest_keeps_the_newest_only():
    bench = Bench(Policy("latest"))
    for _ in range(10):
        bench.image()
    assert len(bench.runners[0].queue) == 1
    bench.finish()
    assert bench.published["r0"] == [0, 9]
    assert bench.dropped == {("r0", SUPERSEDED): 8}


def test_a_route_alone_drops_where_its_images_fill_all_slots():
    bench = Bench(Policy("drop_oldest", slots=SLOTS))
    for _ in range(3 * SLOTS):
        bench.image()
        assert not bench.intake.blocked
    bench.finish()
    assert bench.published["r0"][-1] == 3 * SLOTS - 1
    assert bench.accounts["r0"].in_flight == 0
    assert bench.arena.drained


@pytest.mark.parametrize("first", ["block", "drop_oldest", "latest"])
def test_a_route_for_each_threshold_gets_its_images(first):
    bench = Bench(Policy(first, 0, 2), Policy("latest", 0, 2), channels=("t1", "t2"), split=True)
    for _ in range(50):
        bench.image()
        bench.answer(0)
        bench.answer(1)
    bench.finish()
    assert bench.published == {"r0": list(range(50)), "r1": list(range(50))}
    assert not bench.dropped


def test_another_shape_waits_for_what_is_at_the_server_and_for_nothing_else():
    bench = Bench(Policy("drop_oldest", slots=SLOTS))
    for _ in range(8):
        bench.image()
    bench.announce(2, (3, 4))
    bench.take(*bench.encoder.start())
    bench.image()
    assert bench.intake.blocked
    assert bench.dropped == {("r0", OVERLOAD): 7}
    bench.answer(0)
    assert not bench.intake.blocked
    bench.finish()
    assert bench.published["r0"] == [0, 0]
    assert bench.arena.drained


@pytest.mark.parametrize(("slots", "sharing", "of", "quota"), [
    (0, 1, 100, 50), (0, 2, 100, 25), (0, 4, 2, 1), (30, 1, 100, 30), (30, 1, 10, 5), (30, 4, 100, 12)
])  # fmt: skip
def test_quotas(slots, sharing, of, quota):
    assert Policy("drop_oldest", slots, sharing).quota(of) == quota


def test_latest_is_the_newest_of_each_channel():
    bench = Bench(Policy("latest"), channels=("t1", "t2"))
    for _ in range(20):
        bench.image()
        bench.answer(0)
        bench.answer(0)
    assert len(bench.runners[0].queue) <= 2
    bench.finish()
    assert bench.published["r0"].count(19) == 2
    assert bench.arena.drained


def test_latest_serves_channels_in_turn():
    bench = Bench(Policy("latest"), channels=("t1", "t2"))
    for _ in range(20):
        bench.image()
        bench.answer(0)  # there is time for one of the two
    assert bench.channels_of["r0"]["t1"] > 8
    assert bench.channels_of["r0"]["t2"] > 8


def test_images_of_one_message_keep_to_the_quota_and_the_newest_stay():
    """A train of pulses comes as one message."""
    bench = Bench(Policy(), Policy("drop_oldest", slots=2))
    bench.together(12)
    assert bench.runners[1]._held.total() <= 2
    bench.finish()
    assert bench.published["r0"] == list(range(12))
    assert bench.published["r1"][-1] == 11
    assert not bench.intake.blocked


def test_sources_do_not_count_against_one_another():
    large, small = Lane(HeapMemory("a", 600), 0, 6, 100), Lane(HeapMemory("b", 24), 0, 6, 4)
    bench = Bench(Policy("drop_oldest"))
    (runner,) = bench.runners
    assert all(runner.admits(large) for _ in range(50))
    assert not runner.admits(large)
    assert runner.admits(small)
    assert runner.admits(small)
    assert not runner.admits(small)
    for lane in (small, small, *[large] * 50):
        runner.give_back(lane)
    assert not runner._held


def test_what_is_recovered_waits_instead():
    bench = Bench(Policy("drop_oldest"))
    bench.recovered = True
    while not bench.intake.blocked:
        bench.image()
    assert not bench.dropped
    while bench.intake.blocked:
        bench.answer(0)
    bench.finish()
    assert bench.published["r0"] == list(range(bench.sent))


def test_an_image_that_cannot_be_read_gives_back_what_was_kept_for_it():
    bench = Bench(Policy("drop_oldest"))
    compressed = ENCODERS["stream-v2"](
        Acquisition(3, "u3", "2026-01-03T00:00:00Z", 10, SHAPE, "uint16", compression=Compression.LZ4_HDF5)
    )
    bench.take(*compressed.start())
    (message,) = compressed.image(0, {"image": np.arange(6, dtype=np.uint16).reshape(SHAPE)})
    head = HEADER.pack(12, 12)
    at = bytes(message).index(head) + len(head)
    bench.take([bytes(message[:at]) + b"\xff" * 4 + bytes(message[at + 4 :])])
    assert bench.accounts["r0"].failed == {"malformed": 1}
    assert not bench.runners[0]._held
    assert bench.arena.drained


def test_what_is_quarantined_counts_against_the_quota():
    """After a lost connection the server may still read: those slots are neither ours nor anybody's."""
    bench = Bench(Policy("drop_oldest", slots=4))
    for _ in range(4):
        bench.image()
    bench.servers[0].fail("unavailable", settled=False)  # one image was in flight
    for _ in range(20):
        bench.image()
    _, taken = bench.arena.usage()
    assert taken <= 4 + 1
    bench.lose(0)
    bench.finish()
    assert bench.arena.drained
    assert bench.accounts["r0"].in_flight == 0


STEPS = st.lists(st.sampled_from(["image"] * 6 + ["answer 0", "answer 1", "answer 2", "lose 0", "lose 1", "lose 2"]))


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(0, SLOTS))
def test_whatever_happens_every_image_is_accounted_for_and_every_slot_free_in_the_end(steps, slots):
    bench = Bench(Policy(), Policy("drop_oldest", slots, 2), Policy("latest", 0, 2))
    for step in steps:
        if step == "image":
            if not bench.intake.blocked:
                bench.image()
        else:
            what, at = step.split()
            bench.answer(int(at)) if what == "answer" else bench.lose(int(at))
        assert all(runner._held.total() <= runner.policy.quota(SLOTS) for runner in bench.runners[1:])
    bench.finish()
    for name, account in bench.accounts.items():
        assert account.received == bench.sent == account.published + account.lost
        assert sorted(bench.published[name]) == sorted(set(bench.published[name]))
    assert bench.accounts["r0"].lost == sum(bench.accounts["r0"].failed.values())  # servers that died five times on it
    assert bench.arena.drained
