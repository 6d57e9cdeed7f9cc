"""From message to slot: wanted frames are decompressed into shared memory as soon as slots are free."""

from collections import deque
from collections.abc import Callable

import msgspec
import numpy as np

from edge.models.spec import ANY
from edge.pipeline.arena import Arena, FrameTooLarge
from edge.pipeline.batching import Pending
from edge.pipeline.dispatch import RouteRunner
from edge.pipeline.record import SeriesRecord
from edge.pipeline.slots import Lane
from streams.codecs.compression import decompress_into
from streams.messages import CodecError, Frame
from streams.positions import position_in

Failed = Callable[[SeriesRecord, RouteRunner, str, str], None]  # reason, detail


class Waiting(msgspec.Struct, gc=False):
    """A wanted frame that has no slot yet. Its blob is still a view into the message."""

    frame: Frame
    record: SeriesRecord
    runners: list[RouteRunner]
    received_wall_ns: int
    received_ns: int
    recovered: bool = False


class Placement:
    """The wanted frames of one source on their way into its arena, in the order of their arrival."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self._waiting: deque[Waiting] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, waiting: Waiting) -> None:
        """A wanted frame."""
        self._waiting.append(waiting)

    def abandon(self) -> list[tuple[SeriesRecord, RouteRunner]]:
        """Give up the frames that had no slot yet: one entry a route."""
        given_up = [(waiting.record, runner) for waiting in self._waiting for runner in waiting.runners]
        self._waiting.clear()
        return given_up

    def place(self, failed: Failed) -> None:
        """Decompress waiting frames into slots for as long as there are free ones."""
        while self._waiting:
            waiting = self._waiting[0]
            try:
                lane = self._lane(waiting.frame, waiting.record)
            except FrameTooLarge as error:
                self._fail(self._waiting.popleft(), "too_large", str(error), failed)
                continue
            slot = None if lane is None else lane.acquire()
            if lane is None or slot is None:
                return
            self._waiting.popleft()
            try:
                decompress_into(waiting.frame, lane.buffer(slot))
            except CodecError as error:
                lane.fill(slot, 0)
                self._fail(waiting, error.reason, str(error), failed)
                continue
            lane.fill(slot, len(waiting.runners))
            for runner in waiting.runners:
                runner.queue.put(_pending(waiting, lane, slot))

    def _lane(self, frame: Frame, record: SeriesRecord) -> Lane | None:
        """Where `frame` goes; None while the lanes must drain before they can be carved for it."""
        nbytes = image_nbytes(frame)
        if not self.arena.fits(frame.channel, nbytes):
            if not self.arena.drained:
                return None
            self.arena.carve(record.series.channels, nbytes)
        return self.arena.lanes[frame.channel]

    def _fail(self, waiting: Waiting, reason: str, detail: str, failed: Failed) -> None:
        for runner in waiting.runners:
            failed(waiting.record, runner, reason, detail)


def image_nbytes(frame: Frame) -> int:
    """Bytes of the decompressed image."""
    return frame.shape[0] * frame.shape[1] * np.dtype(frame.dtype).itemsize


def refusal_of(frame: Frame, runner: RouteRunner) -> tuple[str, str] | None:
    """(reason, detail) where the route's model cannot take `frame`, None where it can."""
    spec = runner.spec
    dtype = np.dtype(frame.dtype)
    if dtype.kind != "u" and dtype.name != "int32":  # int32 is read as uint32: flags are negative, counts are not
        return "wrong_dtype", f"model {spec.name} takes unsigned counts, the frames are {dtype.name}"
    if dtype.itemsize not in runner.model.itemsizes:
        served = " or ".join(str(8 * size) for size in runner.model.itemsizes)
        return "wrong_dtype", (
            f"route {runner.route.name} serves {served} bits a pixel, the frames have {8 * dtype.itemsize}; "
            "add that to pixel_bits of the route"
        )
    if any(want not in (ANY, have) for want, have in zip(spec.frame_shape, frame.shape, strict=True)):
        height, width = spec.frame_shape
        return "wrong_shape", (
            f"model {spec.name} takes frames of {height} x {width} pixels, these have {frame.shape[0]} x "
            f"{frame.shape[1]}; set the detector's region of interest, or use a model for this size"
        )
    if not runner.outputs.capacity(frame.shape):
        return "too_large", (
            f"what {spec.name} answers for a frame of {frame.shape[0]} x {frame.shape[1]} does not fit the memory of "
            f"route {runner.route.name}; set its output_mib higher"
        )
    return None


def _pending(waiting: Waiting, lane: Lane, slot: int) -> Pending:
    frame = waiting.frame
    return Pending(
        record=waiting.record,
        lane=lane,
        slot=slot,
        image_id=frame.image_id,
        channel=frame.channel,
        shape=frame.shape,
        itemsize=np.dtype(frame.dtype).itemsize,
        position=position_in(frame.user_data),
        received_wall_ns=waiting.received_wall_ns,
        received_ns=waiting.received_ns,
        recovered=waiting.recovered,
    )
