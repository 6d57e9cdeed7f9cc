"""What arrived: the state machine of one series and its facts of arrival.

Theory of operation
-------------------
A series is opened by its start message, or by its first frame where the start was missed. Every image is
taken by its absolute id, never by arrival order. The end message does not close the series at once while
images are still awaited: several connections may let it overtake frames, so it waits for a grace period.
A series also closes when the detector starts another one, and when nothing came for the idle time.

    state    event        next state
    OPEN     end          ENDING, or CLOSED where nothing is awaited
    OPEN     last image   OPEN (the detector still says when it is done)
    OPEN     superseded   CLOSED
    OPEN     idle         CLOSED
    ENDING   last image   CLOSED
    ENDING   triggered    CLOSED where nothing is awaited of the number that the controller states
    ENDING   grace over   CLOSED
    ENDING   superseded   CLOSED
    CLOSED   anything     CLOSED (frames are late, and counted so)

There is no clock here: every call is told the time (monotonic nanoseconds).
"""

from collections import deque
from enum import StrEnum

import msgspec

from streams.intervals import IntervalSet
from streams.messages import Frame, SeriesEnd, SeriesStart

MAX_IMAGE_ID = 2**48
"""No detector counts so far; an id beyond it is a corrupt header."""

MAX_RUNS = 65536
"""Runs of ids remembered a series. Beyond, the oldest hole is missing for good, and what comes for it is late."""

MAX_CHANNELS = 64
"""Channels of a series that was not announced; detectors have a few thresholds."""


class State(StrEnum):
    OPEN = "open"
    ENDING = "ending"
    CLOSED = "closed"


class Arrival(StrEnum):
    """What one frame's arrival means for the ledger."""

    NEW = "new"
    DUPLICATE = "duplicate"
    LATE = "late"  # its series is closed, or its place was given up
    UNEXPECTED = "unexpected"  # its id lies beyond the announced number of images
    REFUSED = "refused"  # an impossible id, or more channels than memory is given to


class CloseReason(StrEnum):
    END = "end"
    GRACE_OVER = "grace_over"  # the end came, but awaited images did not
    SUPERSEDED = "superseded"  # the detector started another series without ending this one
    IDLE = "idle"
    SHUTDOWN = "shutdown"


class ArrivalCounts(msgspec.Struct, frozen=True):
    """The facts of arrival over all channels; `expected = received + missing + awaited` where it is known."""

    expected: int | None
    images: int | None  # expected of each channel
    received: int
    missing: int
    awaited: int
    duplicate: int
    late: int
    unexpected: int
    refused: int


class Series:
    """The ledger of arrivals of one series of one source."""

    def __init__(self, start: SeriesStart, *, announced: bool, now_ns: int) -> None:
        self.source = start.source
        self.uid = start.series_uid
        self.id = start.series_id
        self.announced = announced
        self.start = start
        self.state = State.OPEN
        self.close_reason: CloseReason | None = None
        self._images = _believable(start.expected)  # per channel
        self._told = False  # by the controller
        self._seen = {channel: IntervalSet() for channel in start.channels}
        self._given_up: dict[str, int] = {}  # by channel: ids below this one are not waited for
        self._folded = 0  # how many ids were given up
        self._counts = dict.fromkeys(Arrival, 0)
        self._touched_ns = now_ns
        self._ending_since_ns = 0

    @property
    def channels(self) -> tuple[str, ...]:
        """Announced and seen."""
        return tuple(self._seen)

    def announce(self, start: SeriesStart) -> None:
        """The start message came after the first frames: another connection let them overtake it."""
        self.start, self.announced = start, True
        for channel in start.channels:
            self._seen.setdefault(channel, IntervalSet())
        if self._told:  # the controller knows better
            return
        images = _believable(start.expected)
        contradicted = images is not None and any(seen.end > images for seen in self._seen.values())
        self._images = None if contradicted else images

    def take(self, frame: Frame, now_ns: int) -> Arrival:
        """Enter one frame by its absolute id."""
        arrival = self._judge(frame)
        self._counts[arrival] += 1
        if arrival is Arrival.NEW:
            self._touched_ns = now_ns
            if self.state is State.ENDING and self._awaited() == 0:
                self._close(CloseReason.END)
        return arrival

    def _judge(self, frame: Frame) -> Arrival:
        if self.state is State.CLOSED:
            return Arrival.LATE
        if not 0 <= frame.image_id < MAX_IMAGE_ID:
            return Arrival.REFUSED
        seen = self._seen.get(frame.channel)
        if seen is None:
            if self.announced and self.start.channels:
                return Arrival.UNEXPECTED
            if len(self._seen) >= MAX_CHANNELS:
                return Arrival.REFUSED
            seen = self._seen.setdefault(frame.channel, IntervalSet())
        if self._images is not None and frame.image_id >= self._images:
            return Arrival.UNEXPECTED
        if not seen.add(frame.image_id):
            return Arrival.LATE if frame.image_id < self._given_up.get(frame.channel, 0) else Arrival.DUPLICATE
        if seen.runs > MAX_RUNS // len(self._seen):
            self._folded += seen.fold()
            self._given_up[frame.channel] = seen.intervals()[0][1]
        return Arrival.NEW

    def end(self, now_ns: int) -> None:
        """The detector said that the series is over."""
        if self.state is not State.OPEN:
            return
        if self._awaited() == 0:
            self._close(CloseReason.END)
        else:
            self.state, self._ending_since_ns = State.ENDING, now_ns

    def triggered(self, images: int) -> bool:
        """The controller triggered so many images a channel, and no more will come: that is what is expected.

        The arm command announces an upper bound only. Returns False, and changes nothing, where the series is closed or
        more images than that are there.
        """
        contradicted = any(seen.end > images for seen in self._seen.values())
        if self.state is State.CLOSED or contradicted or not 0 <= images <= MAX_IMAGE_ID:
            return False
        self._images, self._told = images, True
        if self.state is State.ENDING and self._awaited() == 0:
            self._close(CloseReason.END)
        return True

    def touch(self, now_ns: int) -> None:
        """Restart the idle time and the grace period: it is we who do not listen at present."""
        self._touched_ns = self._ending_since_ns = now_ns

    def supersede(self) -> None:
        """The detector started another series."""
        self._close(CloseReason.SUPERSEDED)

    def shut_down(self) -> None:
        """We stop listening."""
        self._close(CloseReason.SHUTDOWN)

    def advance(self, now_ns: int, *, grace_ns: int, idle_ns: int) -> None:
        """Let time pass: closes the series when its grace period or idle time is over."""
        if self.state is State.ENDING and now_ns - self._ending_since_ns >= grace_ns:
            self._close(CloseReason.GRACE_OVER)
        elif self.state is State.OPEN and now_ns - self._touched_ns >= idle_ns:
            self._close(CloseReason.IDLE)

    def _close(self, reason: CloseReason) -> None:
        if self.state is not State.CLOSED:
            self.state, self.close_reason = State.CLOSED, reason

    def _expected(self) -> int | None:
        if self._images is None or not self._seen:
            return self._images
        return self._images * len(self._seen)

    def _outstanding(self) -> int:
        """Images that did not come: of the announced ones, or the holes where no number was announced."""
        expected = self._expected()
        upto = expected if expected is not None else sum(seen.end for seen in self._seen.values())
        return upto - self._counts[Arrival.NEW]

    def _awaited(self) -> int:
        """Images that may still come."""
        return self._outstanding() - self._folded

    def counts(self) -> ArrivalCounts:
        """The facts so far. What is awaited becomes missing when the series closes."""
        outstanding = self._outstanding()
        closed = self.state is State.CLOSED
        return ArrivalCounts(
            expected=self._expected(),
            images=self._images,
            received=self._counts[Arrival.NEW],
            missing=outstanding if closed else self._folded,
            awaited=0 if closed else outstanding - self._folded,
            duplicate=self._counts[Arrival.DUPLICATE],
            late=self._counts[Arrival.LATE],
            unexpected=self._counts[Arrival.UNEXPECTED],
            refused=self._counts[Arrival.REFUSED],
        )

    def missing_ids(self, limit: int = 100) -> dict[str, list[tuple[int, int]]]:
        """The first `limit` holes of each channel, as [start, stop) image ids."""
        return {
            channel: seen.holes(self._images if self._images is not None else seen.end, limit)
            for channel, seen in self._seen.items()
        }


def _believable(expected: int | None) -> int | None:
    return expected if expected is not None and expected <= MAX_IMAGE_ID else None


class SeriesBook:
    """The series of one source: the open ones, and a few finished ones to tell late frames by.

    A detector runs one series at a time, so a start closes what was open before. A frame of an unheard-of series
    closes nothing: it may be left over from an aborted one. It opens that series beside the others.
    """

    REMEMBERED = 8
    MOST_OPEN = 8

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}
        self._finished: deque[str] = deque()

    def open(self, start: SeriesStart, now_ns: int) -> tuple[Series, bool]:
        """The series of `start`, and whether that is news. A repeated start changes nothing."""
        known = self._series.get(start.series_uid)
        if known is not None:
            news = not known.announced and known.state is State.OPEN
            if news:
                known.announce(start)
            return known, news
        for old in self.open_series():
            old.supersede()
        return self._enter(Series(start, announced=True, now_ns=now_ns)), True

    def of_frame(self, frame: Frame, now_ns: int) -> tuple[Series, bool]:
        """The series of `frame`, and whether it is new: opened without a start where that was missed."""
        known = self._series.get(frame.series_uid)
        if known is not None:
            return known, False
        start = SeriesStart(frame.source, frame.series_uid, frame.series_id, expected=None, channels=())
        return self._enter(Series(start, announced=False, now_ns=now_ns)), True

    def end(self, message: SeriesEnd, now_ns: int) -> Series | None:
        """The series that `message` ends; None where nothing of it was ever seen."""
        series = self._series.get(message.series_uid)
        if series is not None:
            series.end(now_ns)
        return series

    def open_series(self) -> list[Series]:
        """The series that are not closed, oldest first."""
        return [series for series in self._series.values() if series.state is not State.CLOSED]

    def finish(self, uid: str) -> None:
        """The account of a closed series is final: it is remembered for a while only."""
        self._finished.append(uid)
        while len(self._finished) > self.REMEMBERED:
            self._series.pop(self._finished.popleft(), None)

    def _enter(self, series: Series) -> Series:
        still_open = self.open_series()
        if len(still_open) >= self.MOST_OPEN:
            min(still_open, key=lambda one: one.announced).supersede()  # the oldest that nobody announced
        self._series[series.uid] = series
        return series
