"""The series of one source, side by side: which one a message belongs to."""

from collections import deque

from streams.ledger.lifecycle import State
from streams.ledger.series import Series
from streams.ledger.shares import Share
from streams.messages import Absent, Frame, SeriesEnd, SeriesStart

ARMING_DATES = ("arm_date", "data_collection_date")
"""What Stream V2 and SIMPLON v1 call the date of the arm command in their start messages."""


class SeriesBook:
    """The series of one source: the open ones, and a few finished ones to tell late frames by.

    A detector runs one series at a time, so a start closes what was open before. A frame of an unheard-of series
    closes nothing: it may be left over from an aborted one. It opens that series beside the others.

    A start under a unique id that is known, but of another arming date, means that the detector began anew: the old
    series is closed, and the new one is entered under a name of its own. Any other start of a series that was announced
    is a repeated message (Jungfraujoch sends one on each of its sockets) and changes nothing.
    """

    REMEMBERED = 8
    MOST_OPEN = 8

    def __init__(self, share: Share | None = None) -> None:
        self._share = share
        self._series: dict[str, Series] = {}  # by our name
        self._renamed: dict[str, str] = {}  # the name on the wire to ours, where they differ
        self._finished: deque[str] = deque()
        self._restarts = 0
        self._newest: Series | None = None

    def open(self, start: SeriesStart, now_ns: int) -> tuple[Series, bool]:
        """The series of `start`, and whether that is news."""
        known = self._of(start.series_uid)
        if known is not None and not known.announced:
            if known.state is State.CLOSED:
                return known, False
            self._supersede(before=known)  # later ones may have begun while its start was on its way
            known.announce(start)
            return known, True
        if known is not None and _armed(known.start) == _armed(start):
            return known, False
        self._supersede()
        uid = start.series_uid
        if known is not None:
            self._restarts += 1
            uid = self._renamed[start.series_uid] = f"{uid}~{self._restarts}"
        return self._enter(Series(start, announced=True, now_ns=now_ns, share=self._share, uid=uid)), True

    def of_frame(self, frame: Frame, now_ns: int) -> tuple[Series, bool]:
        """The series of `frame`, and whether it is new: opened without a start where that was missed."""
        known = self._of(frame.series_uid)
        if known is not None:
            return known, False
        start = SeriesStart(frame.source, frame.series_uid, frame.series_id, expected=None, channels=())
        return self._enter(Series(start, announced=False, now_ns=now_ns, share=self._share)), True

    def absent(self, message: Absent) -> None:
        """The sender says that there are no such images. It opens no series."""
        series = self._of(message.series_uid)
        if series is not None:
            series.absent(message)

    def end(self, message: SeriesEnd, now_ns: int) -> Series | None:
        """The series that `message` ends; None where nothing of it was ever seen."""
        series = self._of(message.series_uid)
        if series is None:
            if self._newest is not None:
                self._newest.take_stale()
        elif series.state is State.CLOSED and series is not self._newest:
            series.take_stale()
        else:
            series.end(now_ns)
        return series

    def open_series(self) -> list[Series]:
        """The series that are not closed, oldest first."""
        return [series for series in self._series.values() if series.state is not State.CLOSED]

    def finish(self, uid: str) -> None:
        """The account of a closed series is final: it is remembered for a while only."""
        self._finished.append(uid)
        while len(self._finished) > self.REMEMBERED:
            forgotten = self._finished.popleft()
            self._series.pop(forgotten, None)
            self._renamed = {wire: name for wire, name in self._renamed.items() if name != forgotten}

    def _of(self, uid: str) -> Series | None:
        return self._series.get(self._renamed.get(uid, uid))

    def _supersede(self, before: Series | None = None) -> None:
        for old in self.open_series():
            if old is before:
                return
            old.supersede()

    def _enter(self, series: Series) -> Series:
        still_open = self.open_series()
        if len(still_open) >= self.MOST_OPEN:
            min(still_open, key=lambda one: one.announced).supersede()  # the oldest that nobody announced
        for old in self._series.values():
            old.follow(series)
        self._series[series.uid] = series
        self._newest = series
        return series


def _armed(start: SeriesStart) -> object:
    return next((start.header[name] for name in ARMING_DATES if name in start.header), None)
