"""From message to slot: wanted images are decompressed into shared memory as soon as slots are free."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from edge.conditioning.selection import WHOLE, Selection
from edge.pipeline.arena import Arena, FrameTooLarge, LaneKey
from edge.pipeline.batching import Pending
from edge.pipeline.dispatch import RouteRunner
from edge.pipeline.filling import Filling
from edge.pipeline.preparing import Preparing, Shot
from edge.pipeline.record import SeriesRecord
from edge.pipeline.slots import Lane
from streams.messages import CodecError, Frame
from streams.positions.headers import position_in

Failed = Callable[[SeriesRecord, RouteRunner, str, str], None]  # reason, detail
PositionReader = Callable[[Any], dict[str, float] | None]
"""Finds the position in what rode along with a frame."""


MOST_WAYS = 256
"""Channels and shapes whose way is remembered."""


class Waiting(msgspec.Struct, gc=False):
    """A wanted image that has no slot yet. Its blobs are still views into the message."""

    frame: Frame
    record: SeriesRecord
    runners: list[RouteRunner]
    received_wall_ns: int
    received_ns: int
    recovered: bool = False
    shot: Shot | None = None  # None: the frame as it came


class _Way(msgspec.Struct, gc=False):
    """Where images of one channel, shape and type go that are wanted by the same routes."""

    runners: list[RouteRunner]
    lanes: tuple[Lane, ...]  # one a selection
    shapes: tuple[tuple[int, int], ...]  # of what each selection takes
    holders: tuple[int, ...]  # routes that share each
    whole: int | None  # position of the lane of whole images
    parts: tuple[tuple[int, Selection], ...]  # positions of the others
    of_runner: tuple[int, ...]  # position of each runner's lane
    itemsize: int


class Placement:
    """The wanted images of one source on their way into its arena, in the order of their arrival.

    An image takes one slot for each selection of the routes that want it, in all lanes or in none.

    Args:
        arena: its memory.
        reader: finds positions.
        preparing: makes images of its frames.
    """

    def __init__(self, arena: Arena, reader: PositionReader = position_in, preparing: Preparing | None = None) -> None:
        self.arena = arena
        self.preparing = preparing or Preparing()
        self._reader = reader
        self._waiting: deque[Waiting] = deque()
        self._filling = Filling()
        self._ways: dict[tuple[str, tuple[int, int], str], _Way] = {}
        self._carved_for = ""  # series
        self._pitches: dict[LaneKey, int] = {}  # of that series

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def copied(self) -> int:
        """Images that were copied once more, for the selection of a route."""
        return self._filling.copied

    def put(self, waiting: Waiting) -> None:
        """A wanted image."""
        self._waiting.append(waiting)

    def abandon(self) -> list[tuple[SeriesRecord, RouteRunner]]:
        """Give up the images that had no slot yet: one entry a route."""
        given_up = [(waiting.record, runner) for waiting in self._waiting for runner in waiting.runners]
        self._waiting.clear()
        return given_up

    def place(self, failed: Failed) -> None:
        """Decompress waiting images into slots for as long as there are free ones."""
        while self._waiting:
            waiting = self._waiting[0]
            try:
                way = self._way(waiting)
            except FrameTooLarge as error:
                self._fail(self._waiting.popleft(), "too_large", str(error), failed)
                continue
            if way is None or any(lane.free == 0 for lane in way.lanes):
                return
            self._fill(self._waiting.popleft(), way, failed)

    def _fill(self, waiting: Waiting, way: _Way, failed: Failed) -> None:
        slots = [_acquired(lane) for lane in way.lanes]
        shot = waiting.shot or Shot(waiting.frame, (waiting.frame,))
        whole = None if way.whole is None else way.lanes[way.whole].buffer(slots[way.whole])
        try:
            self._filling.fill(
                shot, whole, [(selection, way.lanes[at].buffer(slots[at])) for at, selection in way.parts]
            )
        except CodecError as error:
            for at, lane in enumerate(way.lanes):
                lane.fill(slots[at], 0)
            self._fail(waiting, error.reason, str(error), failed)
            return
        for at, lane in enumerate(way.lanes):
            lane.fill(slots[at], way.holders[at])
        position = self._reader(waiting.frame.user_data)
        for number, runner in enumerate(waiting.runners):
            at = way.of_runner[number]
            runner.queue.put(_pending(waiting, way, at, slots[at], position))

    def _way(self, waiting: Waiting) -> _Way | None:
        """Where the image goes; None while the lanes must drain before they can be carved for it."""
        frame = waiting.frame
        key = (frame.channel, frame.shape, frame.dtype)
        way = self._ways.get(key)
        if way is not None and way.runners == waiting.runners:
            return way
        selections = tuple(dict.fromkeys(runner.selection for runner in waiting.runners))
        wanted = {(frame.channel, selection): selected_nbytes(frame, selection) for selection in selections}
        if not self.arena.fits(wanted):
            if not self.arena.drained:
                return None
            self._ways.clear()
            self._carve(waiting, wanted)
        way = _way_of(waiting, selections, tuple(self.arena.lanes[lane] for lane in wanted))
        if len(self._ways) >= MOST_WAYS:
            self._ways.clear()
        self._ways[key] = way
        return way

    def _carve(self, waiting: Waiting, wanted: Mapping[LaneKey, int]) -> None:
        """Lanes for this image, for the other channels of its series, and for what came of the series before.

        Channels are taken to be alike until their frames tell: a lane more or of another pitch is carved then.
        """
        series = waiting.record.series
        before = self._pitches if self._carved_for == series.uid else {}
        channels = (waiting.frame.channel,) if _assembled(waiting) else series.channels
        alike = {
            (channel, runner.selection): wanted[waiting.frame.channel, runner.selection]
            for channel in channels
            for runner in waiting.runners
            if not runner.route.channels or channel in runner.route.channels
        }
        pitches = {**alike, **before, **wanted}
        self.arena.carve(pitches)
        self._carved_for, self._pitches = series.uid, pitches

    def _fail(self, waiting: Waiting, reason: str, detail: str, failed: Failed) -> None:
        for runner in waiting.runners:
            failed(waiting.record, runner, reason, detail)


def selected_nbytes(frame: Frame, selection: Selection) -> int:
    """Bytes of what `selection` takes of the decompressed image."""
    height, width = selection.shape(frame.shape)
    return height * width * np.dtype(frame.dtype).itemsize


def _assembled(waiting: Waiting) -> bool:
    return waiting.shot is not None and len(waiting.shot.parts) > 1


def _way_of(waiting: Waiting, selections: tuple[Selection, ...], lanes: tuple[Lane, ...]) -> _Way:
    of_runner = tuple(selections.index(runner.selection) for runner in waiting.runners)
    return _Way(
        runners=list(waiting.runners),
        lanes=lanes,
        shapes=tuple(selection.shape(waiting.frame.shape) for selection in selections),
        holders=tuple(of_runner.count(at) for at in range(len(selections))),
        whole=selections.index(WHOLE) if WHOLE in selections else None,
        parts=tuple((at, selection) for at, selection in enumerate(selections) if selection != WHOLE),
        of_runner=of_runner,
        itemsize=np.dtype(waiting.frame.dtype).itemsize,
    )


def _acquired(lane: Lane) -> int:
    slot = lane.acquire()
    assert slot is not None  # it had a free one, and one image takes one of each lane
    return slot


def _pending(waiting: Waiting, way: _Way, at: int, slot: int, position: dict[str, float] | None) -> Pending:
    frame = waiting.frame
    return Pending(
        record=waiting.record,
        lane=way.lanes[at],
        slot=slot,
        image_id=frame.image_id,
        channel=frame.channel,
        shape=way.shapes[at],
        itemsize=way.itemsize,
        position=position,
        received_wall_ns=waiting.received_wall_ns,
        received_ns=waiting.received_ns,
        recovered=waiting.recovered,
    )
