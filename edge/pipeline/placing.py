"""From message to slot: wanted images are decompressed into shared memory as soon as slots are free.

Images are decompressed side by side where there are threads for it, but reach their routes in the order in which they
arrived.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from edge.conditioning.selection import WHOLE, Selection
from edge.pipeline.arena import Arena, FrameTooLarge, LaneKey
from edge.pipeline.batching import Pending
from edge.pipeline.decompression import Decompression, Job
from edge.pipeline.dispatch import RouteRunner
from edge.pipeline.plans import Plan
from edge.pipeline.preparing import Preparing, Shot
from edge.pipeline.record import SeriesRecord
from edge.pipeline.refusal import refusal_of
from edge.pipeline.slots import Lane
from streams.ledger.series import Series
from streams.messages import Frame
from streams.positions.headers import position_in

Failed = Callable[[SeriesRecord, RouteRunner, str, str], None]  # reason, detail
PositionReader = Callable[[Any], dict[str, float] | None]
"""Finds the position in what rode along with a frame."""


MOST_WAYS = 256
"""Plans whose way is remembered."""


class Waiting(msgspec.Struct, gc=False):
    """A wanted image that has no slot yet. Its blobs are still views into the message."""

    shot: Shot
    record: SeriesRecord
    plan: Plan
    received_wall_ns: int
    received_ns: int
    recovered: bool = False
    expected: tuple[str, ...] = ()  # routes that wait for the result of another one


class _Way(msgspec.Struct, gc=False):
    """Where images of one plan go."""

    lanes: tuple[Lane, ...]  # one a selection
    shapes: tuple[tuple[int, int], ...]  # of what each selection takes
    holders: tuple[int, ...]  # routes that share each
    whole: int | None  # position of the lane of whole images
    parts: tuple[tuple[int, Selection], ...]  # positions of the others
    of_runner: tuple[int, ...]  # position of each runner's lane
    nbytes: int  # of the whole image


class _Filling(msgspec.Struct, gc=False):
    """An image on its way into its slots."""

    waiting: Waiting
    way: _Way
    slots: list[int]
    job: Job


class Placement:
    """The wanted images of one source on their way into its arena, in the order of their arrival.

    An image takes one slot for each selection of the routes that want it, in all lanes or in none.

    Args:
        arena: its memory.
        reader: finds positions.
        preparing: makes images of its frames.
        decompression: does what takes long.
    """

    def __init__(
        self,
        arena: Arena,
        reader: PositionReader = position_in,
        preparing: Preparing | None = None,
        decompression: Decompression | None = None,
    ) -> None:
        self.arena = arena
        self.preparing = preparing or Preparing()
        self._reader = reader
        self._decompression = decompression or Decompression()
        self._waiting: deque[Waiting] = deque()
        self._filling: deque[_Filling] = deque()
        self._ways: dict[Plan, _Way] = {}
        self._carved_for = ""  # series
        self._pitches: dict[LaneKey, int] = {}  # of that series

    def __len__(self) -> int:
        """Images that have no slot yet."""
        return len(self._waiting)

    @property
    def filling(self) -> int:
        """Images that are being decompressed."""
        return len(self._filling)

    @property
    def copied(self) -> int:
        """Images that were copied once more, for the selection of a route."""
        return self._decompression.copied

    def put(self, waiting: Waiting) -> None:
        """A wanted image."""
        self._waiting.append(waiting)

    def abandon(self) -> list[tuple[SeriesRecord, RouteRunner]]:
        """Give up the images that are in no slot yet: one entry a route."""
        images = [*self._waiting, *(filling.waiting for filling in self._filling)]
        self._waiting.clear()
        self._filling.clear()
        return [(image.record, runner) for image in images for runner in _all_routes(image)]

    def place(self, failed: Failed) -> None:
        """Decompress waiting images into slots for as long as there are free ones; hand on those that are done."""
        while self._waiting:
            waiting = self._waiting[0]
            try:
                way = self._way(waiting.plan, waiting.record)
            except FrameTooLarge as error:
                self._fail(self._waiting.popleft(), "too_large", str(error), failed)
                continue
            if way is None:
                for runner in waiting.plan.everyone:
                    runner.make_room(self.arena.lanes.values())
                if not self.arena.drained:
                    break
                continue
            patient = waiting.plan.patient or waiting.recovered
            if waiting.plan.dropping and (not patient or _free(way)):
                way = self._admitted(waiting, way)
            if way.lanes and _free(way):
                self._fill(waiting, way)
                self._hand_on_done(failed)  # those of one message, too, may make room for one another
            elif way.lanes:
                if patient:
                    break
                _give_back(waiting.plan, way)
                _refuse(waiting, waiting.plan.runners)
            self._waiting.popleft()
        self._hand_on_done(failed)

    def _admitted(self, waiting: Waiting, way: _Way) -> _Way:
        """The way of an image after the routes that drop were asked whether they have room for it.

        What is recovered is not dropped: a capture has time.
        """
        plan = waiting.plan
        refusing = [
            runner
            for runner, at in zip(plan.runners, way.of_runner, strict=True)
            if runner.policy.drops and not runner.admits(way.lanes[at], waiting.recovered)
        ]
        if not refusing:
            return way
        _refuse(waiting, refusing)
        behind = plan.behind(refusing)
        waiting.expected = tuple(name for name in waiting.expected if name not in behind)
        waiting.plan = plan.only([runner for runner in plan.runners if runner not in refusing])
        return self._way(waiting.plan, waiting.record) or way

    def _hand_on_done(self, failed: Failed) -> None:
        while self._filling and self._filling[0].job.done:
            self._hand_on(self._filling.popleft(), failed)

    def _fill(self, waiting: Waiting, way: _Way) -> None:
        slots = [_acquired(lane) for lane in way.lanes]
        whole = None if way.whole is None else way.lanes[way.whole].buffer(slots[way.whole])
        parts = [(selection, way.lanes[at].buffer(slots[at])) for at, selection in way.parts]
        job = Job(waiting.shot, whole, parts, way.nbytes)
        self._filling.append(_Filling(waiting, way, slots, job))
        self._decompression.take(job)

    def _hand_on(self, filling: _Filling, failed: Failed) -> None:
        waiting, way, slots, job = filling.waiting, filling.way, filling.slots, filling.job
        if job.error is not None:
            for at, lane in enumerate(way.lanes):
                lane.fill(slots[at], 0)
            _give_back(waiting.plan, way)
            self._fail(waiting, job.error.reason, str(job.error), failed)
            return
        for at, lane in enumerate(way.lanes):
            lane.fill(slots[at], way.holders[at])
        position = self._reader(waiting.shot.frame.user_data)
        for runner, at in zip(waiting.plan.runners, way.of_runner, strict=True):
            runner.offer(_pending(waiting, way, at, slots[at], position))

    def _way(self, plan: Plan, record: SeriesRecord) -> _Way | None:
        """Where the image goes; None while the lanes must drain before they can be carved for it."""
        way = self._ways.get(plan)
        if way is not None:
            return way
        frame = plan.frame
        selections = tuple(dict.fromkeys(runner.selection for runner in plan.runners))
        wanted = {(frame.channel, selection): selected_nbytes(frame, selection) for selection in selections}
        if not self.arena.fits(wanted):
            if not self.arena.drained:
                return None
            self._ways.clear()
            self._carve(plan, record.series, wanted)
        way = _way_of(plan, selections, tuple(self.arena.lanes[lane] for lane in wanted))
        if len(self._ways) >= MOST_WAYS:
            self._ways.clear()
        self._ways[plan] = way
        return way

    def _carve(self, plan: Plan, series: Series, wanted: Mapping[LaneKey, int]) -> None:
        """Lanes for this image, for the other channels and routes of its series, and for what came of it before.

        Channels are taken to be alike until their frames tell: a lane more or of another pitch is carved then.
        """
        before = self._pitches if self._carved_for == series.uid else {}
        alike: dict[LaneKey, int] = {}
        for channel in () if self.preparing.assembles else series.channels:
            frame = replace(plan.frame, channel=channel)
            takers = [one for one in plan.everyone if one.route.wants(frame) and refusal_of(frame, one) is None]
            alike |= {(channel, one.selection): selected_nbytes(frame, one.selection) for one in takers}
        pitches = {**alike, **before, **wanted}
        self.arena.carve(pitches)
        self._carved_for, self._pitches = series.uid, pitches

    def _fail(self, waiting: Waiting, reason: str, detail: str, failed: Failed) -> None:
        for runner in _all_routes(waiting):
            failed(waiting.record, runner, reason, detail)


def selected_nbytes(frame: Frame, selection: Selection) -> int:
    """Bytes of what `selection` takes of the decompressed image."""
    height, width = selection.shape(frame.shape)
    return height * width * np.dtype(frame.dtype).itemsize


def _free(way: _Way) -> bool:
    return all(lane.free for lane in way.lanes)


def _give_back(plan: Plan, way: _Way) -> None:
    """The image does not come: the routes that admitted it are told."""
    for runner, at in zip(plan.runners, way.of_runner, strict=True):
        runner.give_back(way.lanes[at])


def _refuse(waiting: Waiting, runners: Sequence[RouteRunner]) -> None:
    for runner in runners:
        runner.refuse(waiting.record, waiting.expected)


def _all_routes(waiting: Waiting) -> list[RouteRunner]:
    """The routes that were to get the image, now or later."""
    plan = waiting.plan
    return [*plan.runners, *(runner for runner in plan.able if runner.route.name in waiting.expected)]


def _way_of(plan: Plan, selections: tuple[Selection, ...], lanes: tuple[Lane, ...]) -> _Way:
    of_runner = tuple(selections.index(runner.selection) for runner in plan.runners)
    return _Way(
        lanes=lanes,
        shapes=tuple(selection.shape(plan.frame.shape) for selection in selections),
        holders=tuple(of_runner.count(at) for at in range(len(selections))),
        whole=selections.index(WHOLE) if WHOLE in selections else None,
        parts=tuple((at, selection) for at, selection in enumerate(selections) if selection != WHOLE),
        of_runner=of_runner,
        nbytes=selected_nbytes(plan.frame, WHOLE),
    )


def _acquired(lane: Lane) -> int:
    slot = lane.acquire()
    assert slot is not None  # it had a free one, and one image takes one of each lane
    return slot


def _pending(waiting: Waiting, way: _Way, at: int, slot: int, position: dict[str, float] | None) -> Pending:
    frame = waiting.shot.frame
    return Pending(
        waiting.record,
        way.lanes[at],
        slot,
        frame.image_id,
        frame.channel,
        way.shapes[at],
        waiting.plan.itemsize,
        position,
        waiting.received_wall_ns,
        waiting.received_ns,
        waiting.recovered,
        waiting.expected,
    )
