"""Where the positions of one source come from: its headers, a file of each series, or a second stream."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from edge.pipeline.batching import Pending
from edge.pipeline.record import SeriesRecord
from edge.pipeline.totals import Totals
from edge.positions.files import PositionFileError, file_of
from streams.codecs.panda import decode
from streams.messages import CodecError
from streams.positions.armings import ArmingBook
from streams.positions.headers import AWAITED, Known, Missing, Verdict, Why
from streams.positions.table import PositionTable
from streams.sockets import Receiving

log = logging.getLogger(__name__)

READ_NS = 200_000_000
"""Time for which positions are read before frames: longer than a full queue of them takes."""


_ABSENT = Missing(Why.ABSENT)  # made once: this is asked for every frame


class PositionSource(Protocol):
    """Answers for the images of one source."""

    def opened(self, record: SeriesRecord) -> None:
        """A series was opened, or announced after its first images."""
        ...

    def position(self, frame: Pending) -> Verdict:
        """What is known of the position of one image."""
        ...

    def forget(self, uid: str) -> None:
        """The account of this series is final."""
        ...


class HeaderPositions:
    """Positions that came with the frames (read by the intake)."""

    def opened(self, record: SeriesRecord) -> None:
        """Nothing to prepare."""

    def position(self, frame: Pending) -> Verdict:
        """That of the frame's header."""
        return _ABSENT if frame.position is None else Known(frame.position)

    def forget(self, uid: str) -> None:
        """Nothing to forget."""


class FilePositions:
    """Positions of each series in a file, read in a thread of its own when the series opens.

    Args:
        pattern: the file; `{series_id}`, `{series_uid}` and `{source}` are filled in.
        read: reads one file (`edge.positions.files.load`).
    """

    def __init__(self, pattern: str, read: Callable[[Path], PositionTable]) -> None:
        self._pattern = pattern
        self._read = read
        self._reader = ThreadPoolExecutor(1, "position-files")
        self._tables: dict[str, Future[PositionTable]] = {}
        self._unreadable: set[str] = set()

    def opened(self, record: SeriesRecord) -> None:
        """Start to read the file of the series."""
        uid = record.series.uid
        if uid not in self._tables:
            self._tables[uid] = self._reader.submit(self._table, record.series)

    def position(self, frame: Pending) -> Verdict:
        """The row of the image; awaited while the file is being read."""
        uid = frame.record.series.uid
        table = self._tables.get(uid)
        if table is None or not table.done():
            return AWAITED
        error = table.exception()
        if error is None:
            return table.result().position(frame.image_id)
        if not isinstance(error, PositionFileError):
            raise error
        if uid not in self._unreadable:
            self._unreadable.add(uid)
            log.warning("series %a: results have no positions, %s", uid, error)
        return Missing(Why.NO_FILE)

    def forget(self, uid: str) -> None:
        """Drop its table."""
        self._tables.pop(uid, None)
        self._unreadable.discard(uid)

    def close(self) -> None:
        """End the thread; a file that is being read is not waited for."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _table(self, series: Any) -> PositionTable:
        return self._read(file_of(self._pattern, series.id, series.uid, series.source))


class StreamPositions:
    """Positions of a second stream.

    Args:
        source: name of the detector's source.
        socket: where the messages of the position box arrive.
        book: which of its armings belongs to which series.
        totals: counters.
    """

    def __init__(self, source: str, socket: Receiving, book: ArmingBook, totals: Totals) -> None:
        self.socket = socket
        self._source = source
        self._book = book
        self._totals = totals
        self._recovered: set[str] = set()
        self._warned: set[str] = set()

    @property
    def asks(self) -> bool:
        """Whether it matters that the detector's queue is empty."""
        return self._book.asks

    def receive(self) -> None:
        """Take in what has come. Never raises for what a peer sent."""
        until_ns = time.monotonic_ns() + READ_NS
        while time.monotonic_ns() < until_ns and (parts := self.socket.receive()) is not None:
            try:
                outcome = "read" if self._book.enter(decode(parts)) else "unclaimed"
            except CodecError as error:
                outcome = error.reason
                self._warn(outcome, f"message dropped, {error}")
            if outcome == "unclaimed":
                self._warn(outcome, "samples of an arming whose start was missed; they are nobody's")
            self._totals.position_messages[self._source, outcome] += 1

    def quiet(self) -> None:
        """The detector's queue is empty."""
        self._book.quiet()

    def opened(self, record: SeriesRecord) -> None:
        """A series that is recovered from a capture never takes what the box sends now."""
        self._warned.clear()
        if record.recovered:
            self._recovered.add(record.series.uid)
        else:
            self._book.opened(record.series)

    def position(self, frame: Pending) -> Verdict:
        """From the arming of the series."""
        uid = frame.record.series.uid
        return Missing(Why.RECOVERED) if uid in self._recovered else self._book.position(uid, frame.image_id)

    def forget(self, uid: str) -> None:
        """Drop its samples."""
        self._recovered.discard(uid)
        self._book.forget(uid)

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning("positions of source %s: %s; further ones are counted only", self._source, text)
