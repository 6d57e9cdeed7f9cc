"""Batches: runs of neighbouring slots of one series, in the order the frames arrived."""

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from edge.pipeline.record import SeriesRecord
from edge.pipeline.slots import Lane

MOST_LANES = 1024
"""Lanes, present and past, of which is remembered when they were served."""


class Pending(msgspec.Struct, gc=False):
    """One frame in its slot, on its way through one route."""

    record: SeriesRecord
    lane: Lane
    slot: int
    image_id: int
    channel: str
    shape: tuple[int, int]  # (height, width)
    itemsize: int
    position: dict[str, float] | None
    received_wall_ns: int
    received_ns: int  # monotonic
    recovered: bool = False  # from a capture: it may have been inferred before
    expected: tuple[str, ...] = ()  # routes that wait for this route's result, or for that of one of them
    attempts: int = 0  # servers that it was sent to and that did not survive, or may not have
    tried_epoch: int = 0  # the last of them
    failures: int = 0  # answers of the present server that its model failed
    failed_ns: int = 0  # monotonic, when the last of them was taken
    retried_since_ns: int = 0  # monotonic, of the present server; 0: never


class RouteQueue:
    """Frames of one route that wait for the server, by lane; the lane whose first frame came first is served first.

    Args:
        in_turn: serve the lane first that was served longest ago: where only the newest frame of each lane waits, one
            of them may always be the newer one.
    """

    def __init__(self, in_turn: bool = False) -> None:
        self._in_turn = in_turn
        self._served: dict[int, int] = {}  # by lane: when, in takings
        self._takings = 0
        self._lanes: dict[int, deque[Pending]] = {}
        self._size = 0
        self._aside: deque[Pending] = deque()

    def __len__(self) -> int:
        return self._size + len(self._aside)

    def put(self, frame: Pending) -> None:
        lane = self._lanes.get(id(frame.lane))
        if lane is None:
            lane = self._lanes[id(frame.lane)] = deque()
        lane.append(frame)
        self._size += 1

    def take_oldest(self, lane: Lane) -> Pending | None:
        """The frame that waits longest in `lane`; None where none does."""
        waiting = self._lanes.get(id(lane))
        if not waiting:
            return None
        frame = waiting.popleft()
        self._size -= 1
        if not waiting:
            del self._lanes[id(lane)]
        return frame

    def take_of(self, lanes: Iterable[Lane]) -> list[Pending]:
        """All that wait in these lanes."""
        taken = [frame for lane in lanes for frame in self._lanes.pop(id(lane), ())]
        self._size -= len(taken)
        return taken

    def put_back(self, frames: Iterable[Pending]) -> None:
        """Frames of one request that failed go first again, in their old order."""
        for frame in reversed(list(frames)):
            self._lanes.setdefault(id(frame.lane), deque()).appendleft(frame)
            self._size += 1

    def set_aside(self, frames: Iterable[Pending]) -> None:
        """Frames whose fate is open: they are in no batch before they are put back."""
        self._aside.extend(frames)

    def take_aside(self, until_ns: int | None = None) -> list[Pending]:
        """Those set aside that failed by `until_ns`; all of them without it."""
        taken = []
        while self._aside and (until_ns is None or self._aside[0].failed_ns <= until_ns):
            taken.append(self._aside.popleft())
        return taken

    def next_batch(self, capacity: Callable[[tuple[int, int]], int]) -> tuple[int, bool]:
        """How many frames (neighbours of one series) make the next batch; whether more may join it.

        `capacity` says how many frames of a shape may go together.
        """
        lane = self._first()
        most = capacity(lane[0].shape) if lane else 0
        length = 0
        last: Pending | None = None
        for frame in lane:
            if length == most or (last is not None and not _follows(frame, last)):
                break
            last = frame
            length += 1
        return length, length < most and length == len(lane)

    def take(self, length: int) -> list[Pending]:
        """The first `length` frames of the lane that is served next."""
        lane = self._first()
        taken = [lane.popleft() for _ in range(length)]
        self._size -= length
        if taken:
            self._note(id(taken[0].lane))
            if not lane:
                del self._lanes[id(taken[0].lane)]
        return taken

    def _note(self, lane: int) -> None:
        if self._in_turn:
            if len(self._served) >= MOST_LANES:
                self._served.clear()
            self._takings += 1
            self._served[lane] = self._takings

    def forgive(self) -> None:
        """A new server: what waited for the old one has not tried this one's patience, nor failed there."""
        for lane in self._lanes.values():
            for frame in lane:
                frame.retried_since_ns = frame.failures = 0

    def clear(self) -> list[Pending]:
        """All of them."""
        frames = [frame for lane in self._lanes.values() for frame in lane] + self.take_aside()
        self._lanes.clear()
        self._size = 0
        return frames

    def _first(self) -> deque[Pending]:
        if not self._lanes:
            return deque()
        if self._in_turn:
            return self._lanes[min(self._lanes, key=lambda lane: self._served.get(lane, 0))]
        return min(self._lanes.values(), key=lambda lane: lane[0].received_ns)


def _follows(frame: Pending, last: Pending) -> bool:
    return (
        frame.slot == last.slot + 1
        and frame.record is last.record
        and frame.shape == last.shape
        and frame.itemsize == last.itemsize
        and frame.attempts == last.attempts
        and not (frame.failures or last.failures)  # alone it will show whether it is to blame
    )
