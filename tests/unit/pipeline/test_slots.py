import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.conditioning.selection import WHOLE, Selection
from edge.pipeline.arena import ALIGNMENT, MAX_SLOTS, Arena, FrameTooLarge
from edge.pipeline.slots import Lane, SlotState
from tests.unit.pipeline.doubles import HeapMemory


def test_a_slot_goes_round():
    lane = Lane(HeapMemory("m", 64), 0, 8, 8)
    slot = lane.acquire()
    assert slot == 0
    states = [lane.state(slot)]
    for step in (lambda: lane.fill(slot, 1), lambda: lane.send(slot), lambda: lane.release(slot)):
        step()
        states.append(lane.state(slot))
    lane.settle(slot)
    states.append(lane.state(slot))
    assert states == [
        SlotState.FILLING,
        SlotState.READY,
        SlotState.IN_FLIGHT,
        SlotState.QUARANTINED,
        SlotState.FREE,
    ]


def test_slots_are_views_of_the_region():
    memory = HeapMemory("m", 64)
    lane = Lane(memory, 16, 8, 4)
    lane.buffer(2)[:] = 7
    assert memory.view.nonzero()[0].tolist() == list(range(32, 40))
    assert lane.run(1, 2).tolist() == [0] * 8 + [7] * 8
    assert np.shares_memory(lane.run(0, 4), memory.view)


def test_a_taken_slot_is_passed_over():
    lane = Lane(HeapMemory("m", 24), 0, 8, 3)
    for _ in range(3):
        lane.fill(lane.acquire(), 1)
    lane.release(0)
    lane.release(2)
    assert [lane.acquire(), lane.acquire(), lane.acquire()] == [0, 2, None]


class Ring(RuleBasedStateMachine):
    """Whatever routes and requests do, no slot leaks and none is handed out twice."""

    def __init__(self) -> None:
        super().__init__()
        self.lane = Lane(HeapMemory("m", 40), 0, 8, 5)
        self.uses: dict[int, list[str]] = {}

    @precondition(lambda self: len(self.uses) < 5)
    @rule(holders=st.integers(0, 3))
    def place(self, holders):
        slot = self.lane.acquire()
        assert slot is not None
        assert slot not in self.uses
        self.lane.fill(slot, holders)
        if holders:
            self.uses[slot] = ["hold"] * holders

    @precondition(lambda self: self.uses)
    @rule(data=st.data())
    def send(self, data):
        slot = data.draw(st.sampled_from(sorted(self.uses)))
        if "hold" in self.uses[slot]:
            self.lane.send(slot)
            self.uses[slot].append("read")

    @precondition(lambda self: self.uses)
    @rule(data=st.data())
    def finish(self, data):
        slot = data.draw(st.sampled_from(sorted(self.uses)))
        use = self.uses[slot].pop(data.draw(st.integers(0, len(self.uses[slot]) - 1)))
        (self.lane.release if use == "hold" else self.lane.settle)(slot)
        if not self.uses[slot]:
            del self.uses[slot]

    @invariant()
    def free_slots_are_the_others(self):
        assert self.lane.free == 5 - len(self.uses)
        for slot in range(5):
            assert (self.lane.state(slot) is SlotState.FREE) == (slot not in self.uses)


Ring.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestRing = Ring.TestCase


def pitches(**nbytes) -> dict:
    return {(channel, WHOLE): pitch for channel, pitch in nbytes.items()}


def test_arena_carves_one_lane_a_channel():
    arena = Arena(HeapMemory("m", 1000), "eiger")
    arena.carve(pitches(a=100, b=100))
    lanes = list(arena.lanes.values())
    assert [lane.count for lane in lanes] == [4, 4]
    assert lanes[1].offset % ALIGNMENT == 0
    assert lanes[0].offset + 4 * 100 <= lanes[1].offset
    assert lanes[1].offset + 4 * 100 <= 1000
    assert arena.fits(pitches(a=100))
    assert arena.fits(pitches(a=100, b=100))
    assert not arena.fits(pitches(a=50))
    assert not arena.fits(pitches(a=100, c=100))


def test_lanes_of_one_channel_have_their_own_pitch_and_as_many_slots():
    arena = Arena(HeapMemory("m", 10_000), "eiger")
    half, corner = Selection(binning=2), Selection((0, 0, 1, 1))
    arena.carve({("a", WHOLE): 400, ("a", half): 100, ("a", corner): 1})
    whole, binned, cut = (arena.lanes["a", selection] for selection in (WHOLE, half, corner))
    assert (whole.pitch, binned.pitch, cut.pitch) == (400, 100, 1)
    assert whole.count == binned.count == cut.count >= 10_000 // 501 - 1
    ends = [lane.offset + lane.count * lane.pitch for lane in (whole, binned, cut)]
    assert ends[0] <= binned.offset and ends[1] <= cut.offset and ends[2] <= 10_000


@given(st.lists(st.integers(1, 300), min_size=1, max_size=6), st.integers(0, 4000))
def test_lanes_never_overlap_and_stay_within_the_memory(sizes, memory):
    arena = Arena(HeapMemory("m", memory), "eiger")
    wanted = {(str(at), WHOLE): nbytes for at, nbytes in enumerate(sizes)}
    try:
        arena.carve(wanted)
    except FrameTooLarge:
        assert memory < sum(sizes) + ALIGNMENT * len(sizes)
        return
    at = 0
    for lane in arena.lanes.values():
        assert lane.offset >= at
        assert lane.count >= 1
        at = lane.offset + lane.count * lane.pitch
    assert at <= memory


def test_arena_is_drained_when_every_slot_is_free():
    arena = Arena(HeapMemory("m", 1000), "eiger")
    assert arena.drained
    arena.carve(pitches(a=100))
    lane = arena.lanes["a", WHOLE]
    slot = lane.acquire()
    assert not arena.drained
    assert arena.usage() == (9, 1)
    lane.fill(slot, 0)
    assert arena.drained


def test_a_frame_larger_than_the_memory_names_the_setting():
    arena = Arena(HeapMemory("m", 1000), "eiger")
    arena.carve(pitches(a=100))
    with pytest.raises(FrameTooLarge, match="memory_mib"):
        arena.carve(pitches(a=501, b=501))
    assert arena.fits(pitches(a=100))


def test_tiny_frames_do_not_make_countless_slots():
    arena = Arena(HeapMemory("m", 4 * MAX_SLOTS), "eiger")
    arena.carve(pitches(a=1))
    assert arena.lanes["a", WHOLE].count == MAX_SLOTS
