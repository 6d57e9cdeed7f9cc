"""The near end of one source: message -> codec -> arrival facts -> router -> slot."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from edge.models.spec import ANY
from edge.pipeline.arena import Arena, FrameTooLarge
from edge.pipeline.batching import Pending
from edge.pipeline.dispatch import RouteRunner
from edge.pipeline.record import SeriesRecord
from edge.pipeline.slots import Lane
from edge.pipeline.totals import Totals
from streams.codecs.compression import decompress_into
from streams.messages import CodecError, Decoder, Frame, Part, SeriesEnd, SeriesStart
from streams.positions import position_in
from streams.series import Arrival, Series, SeriesBook
from streams.sockets import Socket

log = logging.getLogger(__name__)

Opened = Callable[[SeriesRecord], None]
Failed = Callable[[SeriesRecord, RouteRunner, str, str], None]  # reason, detail


class _Waiting(msgspec.Struct, gc=False):
    """A wanted frame that has no slot yet. Its blob is still a view into the message."""

    frame: Frame
    record: SeriesRecord
    runners: list[RouteRunner]
    received_wall_ns: int
    received_ns: int


class Intake:
    """Takes in one source.

    Args:
        name: the source's.
        socket: where its messages arrive.
        decoder: its protocol.
        arena: its memory.
        runners: all routes.
        totals: counters.
    """

    def __init__(
        self, name: str, socket: Socket, decoder: Decoder, arena: Arena, runners: Sequence[RouteRunner], totals: Totals
    ) -> None:
        self.name = name
        self.socket = socket
        self.arena = arena
        self.records: dict[str, SeriesRecord] = {}
        self._decoder = decoder
        self._runners = runners
        self._totals = totals
        self._book = SeriesBook()
        self._waiting: deque[_Waiting] = deque()
        self._warned: set[str] = set()

    @property
    def blocked(self) -> bool:
        """Whether frames wait for a slot: then nothing more is taken from the socket, and the sender waits."""
        return bool(self._waiting)

    def take(self, parts: Sequence[Part], opened: Opened, failed: Failed) -> None:
        """Enter one message. Never raises for what a peer sent."""
        wall_ns, now_ns = time.time_ns(), time.monotonic_ns()
        self._totals.messages[self.name] += 1
        try:
            messages = self._decoder.decode(parts, wall_ns)
        except CodecError as error:
            self._totals.malformed[self.name, error.reason] += 1
            if error.reason not in self._warned:  # once a series: `_open` forgets
                self._warned.add(error.reason)
                log.warning("source %s: message dropped, %s; further ones are counted only", self.name, error)
            return
        for message in messages:
            if isinstance(message, Frame):
                series, new = self._book.of_frame(message, now_ns)
                if new:
                    self._enter(series, opened)
                if self._arrives(message, series, now_ns):
                    self._route(message, wall_ns, now_ns, failed)
            elif isinstance(message, SeriesStart):
                series, new = self._book.open(message, now_ns)
                if new:
                    self._enter(series, opened)
            elif isinstance(message, SeriesEnd):
                self._book.end(message, now_ns)

    def place(self, failed: Failed) -> None:
        """Decompress waiting frames into slots for as long as there are free ones."""
        while self._waiting:
            waiting = self._waiting[0]
            try:
                lane = self._lane(waiting.frame)
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

    def advance(self, now_ns: int, grace_ns: int, idle_ns: int) -> None:
        """Let time pass for the open series. While we do not listen, the detector's silence means nothing."""
        for series in self._book.open_series():
            if self.blocked:
                series.touch(now_ns)
            series.advance(now_ns, grace_ns=grace_ns, idle_ns=idle_ns)

    def shut_down(self) -> list[tuple[SeriesRecord, RouteRunner]]:
        """Close what is open; the wanted frames that had no slot yet, one entry a route."""
        given_up = [(waiting.record, runner) for waiting in self._waiting for runner in waiting.runners]
        self._waiting.clear()
        for series in self._book.open_series():
            series.shut_down()
        return given_up

    def pop_finished(self) -> list[SeriesRecord]:
        """The records whose account is final; they are forgotten here."""
        done = [uid for uid, record in self.records.items() if record.finished]
        for uid in done:
            self._book.finish(uid)
        return [self.records.pop(uid) for uid in done]

    def _enter(self, series: Series, opened: Opened) -> None:
        record = self.records.get(series.uid)
        if record is None:
            record = self.records[series.uid] = SeriesRecord(series, [runner.route.name for runner in self._runners])
        self._warned.clear()
        opened(record)

    def _arrives(self, frame: Frame, series: Series, now_ns: int) -> bool:
        """Enter the arrival of `frame`; whether it is one to infer."""
        arrival = series.take(frame, now_ns)
        self._totals.arrivals[self.name, arrival] += 1
        return arrival is Arrival.NEW

    def _route(self, frame: Frame, wall_ns: int, now_ns: int, failed: Failed) -> None:
        record = self.records[frame.series_uid]
        wanted = []
        for runner in self._runners:
            route, account = runner.route, record.accounts[runner.route.name]
            if not route.wants(frame):
                account.skip()
                self._totals.outcomes[route.name, "unwanted", ""] += 1
                continue
            account.accept()
            refusal = refusal_of(frame, runner)
            if refusal is None:
                wanted.append(runner)
            else:
                failed(record, runner, *refusal)
        if wanted:
            self._waiting.append(_Waiting(frame, record, wanted, wall_ns, now_ns))

    def _lane(self, frame: Frame) -> Lane | None:
        """Where `frame` goes; None while the lanes must drain before they can be carved for it."""
        nbytes = image_nbytes(frame)
        if not self.arena.fits(frame.channel, nbytes):
            if not self.arena.drained:
                return None
            self.arena.carve(self.records[frame.series_uid].series.channels, nbytes)
        return self.arena.lanes[frame.channel]

    def _fail(self, waiting: _Waiting, reason: str, detail: str, failed: Failed) -> None:
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


def _pending(waiting: _Waiting, lane: Lane, slot: int) -> Pending:
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
    )
