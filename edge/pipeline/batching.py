"""Batches: runs of neighbouring slots of one series, in the order the frames arrived."""

from collections import deque
from collections.abc import Iterable

import msgspec

from edge.pipeline.record import SeriesRecord
from edge.pipeline.slots import Lane


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
    attempts: int = 0


class RouteQueue:
    """Frames of one route that wait for the server."""

    def __init__(self) -> None:
        self._waiting: deque[Pending] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, frame: Pending) -> None:
        self._waiting.append(frame)

    def put_back(self, frames: Iterable[Pending]) -> None:
        """Frames whose request failed go first again, in their old order."""
        self._waiting.extendleft(reversed(list(frames)))

    def run_length(self, most: int) -> int:
        """How many frames at the front make one batch of at most `most`: neighbours of one series."""
        length = 0
        last: Pending | None = None
        for frame in self._waiting:
            if length == most or (last is not None and not _follows(frame, last)):
                break
            last = frame
            length += 1
        return length

    def take(self, length: int) -> list[Pending]:
        """The first `length` frames."""
        return [self._waiting.popleft() for _ in range(length)]

    def clear(self) -> list[Pending]:
        """All of them."""
        return self.take(len(self._waiting))


def _follows(frame: Pending, last: Pending) -> bool:
    return (
        frame.slot == last.slot + 1
        and frame.lane is last.lane
        and frame.record is last.record
        and frame.shape == last.shape
        and frame.itemsize == last.itemsize
        and frame.attempts == last.attempts
    )
