"""A worker's ledger: it judges what is new to this worker, and tells whoever gathers of all. No socket, no clock.

What is told waits here until it is sent: an image is told of before its result is.
"""

from collections.abc import Callable

from edge.workers.words import Arrived, Began, Ended, Lacking, Up, pack_start
from streams.ledger.book import SeriesBook
from streams.ledger.series import Series
from streams.ledger.shares import Share
from streams.messages import Absent, Frame, SeriesEnd, SeriesStart

MOST_IDS = 512
"""Images in one word."""


class TellingBook:
    """A `SeriesBook` of one source that tells what happens to it.

    Args:
        source: its name.
        share: of the stream; with one, a series expects nothing and is closed only when whoever gathers says so.
        settled: whether an earlier process published all of the series of this name: then nothing is told of it.
        own: whether a start message came to this worker from the detector; else another worker told of it already.
        hurry: sends what waits here, for somebody waits for it.
    """

    def __init__(
        self,
        source: str,
        share: Share,
        settled: Callable[[str], bool],
        own: Callable[[SeriesStart], bool],
        hurry: Callable[[], None],
    ) -> None:
        self._source = source
        self._hurry = hurry
        self._book = SeriesBook(share)
        self._settled, self._own = settled, own
        self._waiting: list[tuple[str, Up]] = []  # by series
        self._run: Arrived | None = None  # the last one that waits, where it may grow

    def open(self, start: SeriesStart, now_ns: int) -> tuple[Series, bool]:
        """As `SeriesBook.open`."""
        series, new = self._book.open(start, now_ns)
        if self._own(start):
            self._tell(series.uid, Began(pack_start(start)))
        return series, new

    def of_frame(self, frame: Frame, now_ns: int) -> tuple[Series, bool]:
        """As `SeriesBook.of_frame`."""
        found = self._book.of_frame(frame, now_ns)
        run, uid = self._run, found[0].uid
        if run is not None and run.series_uid == uid and run.channel == frame.channel and len(run.image_ids) < MOST_IDS:
            run.image_ids.append(frame.image_id)
        else:
            self._run = run = Arrived(self._source, uid, frame.series_id, frame.channel, [frame.image_id])
            self._waiting.append((uid, run))
        return found

    def absent(self, message: Absent) -> None:
        """As `SeriesBook.absent`."""
        self._book.absent(message)
        uid, channel = message.series_uid, message.channel
        self._tell(uid, Lacking(self._source, uid, message.series_id, channel, message.image_id, message.count))

    def end(self, message: SeriesEnd, now_ns: int) -> Series | None:
        """As `SeriesBook.end`; it is told though this worker may have seen nothing of the series."""
        series = self._book.end(message, now_ns)
        uid = message.series_uid if series is None else series.uid
        self._tell(uid, Ended(self._source, uid))
        self._hurry()
        return series

    def open_series(self) -> list[Series]:
        """As `SeriesBook.open_series`."""
        return self._book.open_series()

    def finish(self, uid: str) -> None:
        """As `SeriesBook.finish`."""
        self._waiting, self._run = self._to_tell(), None  # its record goes now, and with it whether it was settled
        self._book.finish(uid)

    def close(self, uid: str) -> None:
        """Nothing more is awaited of the series."""
        for series in self._book.open_series():
            if series.uid == uid:
                series.supersede()

    def pop_told(self) -> list[Up]:
        """What happened since the last call, in order."""
        told, self._waiting, self._run = self._to_tell(), [], None
        return [word for _, word in told]

    def __bool__(self) -> bool:
        """Whether something waits to be told."""
        return bool(self._waiting)

    def _tell(self, uid: str, word: Up) -> None:
        self._waiting.append((uid, word))
        self._run = None

    def _to_tell(self) -> list[tuple[str, Up]]:
        return [(uid, word) for uid, word in self._waiting if not self._settled(uid)]
