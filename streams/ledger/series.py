"""What arrived: the ledger of one series.

Theory of operation
-------------------
A series is opened by its start message, or by its first frame where the start was missed. Every image is taken by
its absolute id, never by arrival order. `streams.ledger.lifecycle` has the table of what opens, ends and closes it;
`streams.ledger.book` has the series of one source side by side.

At every moment `expected = received + missing + awaited + absent`. Expected is unknown without a start, or where
nobody said how many images there are; then only holes between ids that came are awaited, and missing at the close.
Absent is what the sender says does not exist (`streams.ledger.absences`): it is no hole.

Ids are counted from `SeriesStart.first_image`. Where the number of images is unknown, an image from a little before it
was overtaken by the one that opened the series: it is taken, and ids are counted from it. Any other id outside the
announced range is unexpected.

A worker that gets a share of a stream (`Share`) cannot know what is missing: it expects nothing, and tells the ids
that it has, and those that are absent. `streams.ledger.merging` judges them together.

There is no clock here: every call is told the time (monotonic nanoseconds).
"""

from streams.ledger.absences import Absences
from streams.ledger.intervals import Block, IntervalSet, blocks
from streams.ledger.lifecycle import TRANSITIONS, Arrival, ArrivalCounts, CloseReason, Event, State
from streams.ledger.reconciling import Reconciled, reconcile
from streams.ledger.shares import Share
from streams.ledger.strides import Suspicion, regular_holes
from streams.messages import Absent, Frame, SeriesStart

MAX_IMAGE_ID = 2**48
"""No detector counts so far; an id beyond it is a corrupt header."""

MAX_RUNS = 65536
"""Runs of ids remembered a series. Beyond, the oldest hole is missing for good, and what comes for it is late."""

MAX_CHANNELS = 64
"""Channels of a series that was not announced; detectors have a few thresholds."""

EARLY_IDS = 4096
"""How far before the image that opened a series without a number another one may lie: some trains of pulses."""

_ENDING, _CLOSED = State.ENDING, State.CLOSED
_NEW, _STALE = Arrival.NEW, Arrival.STALE
"""Looking up a member of an enumeration is a call in Python 3.11; these are needed for every frame."""

MAX_BLOCKS = 16384
"""Blocks of ids that a notice tells; a share dealt out in turn is one a channel."""


class Series:
    """The ledger of arrivals of one series of one source. `opened_ns` is when it was opened."""

    def __init__(
        self, start: SeriesStart, *, announced: bool, now_ns: int, share: Share | None = None, uid: str = ""
    ) -> None:
        self.source = start.source
        self.uid = uid or start.series_uid
        self.id = start.series_id
        self.announced = announced
        self.start = start
        self.share = share
        self.state = State.OPEN
        self.close_reason: CloseReason | None = None
        self.dropped: int | None = None  # by the detector, where it said so
        self.opened_ns = now_ns
        self._first = start.first_image
        self._images = _believable(start.expected)  # per channel
        self._told = False  # by the controller
        self._seen = {channel: IntervalSet() for channel in start.channels}
        self._absent = Absences()
        self._given_up: dict[str, int] = {}  # by channel: ids below this one are not waited for
        self._folded: dict[str, int] = {}  # by channel: how many ids were given up
        self._counts = dict.fromkeys(Arrival, 0)
        self._newest: Series | None = None  # of the source, where that is another one
        self._touched_ns = now_ns
        self._ending_since_ns = 0

    @property
    def first_image(self) -> int:
        """Ids are counted from it."""
        return self._first

    @property
    def channels(self) -> tuple[str, ...]:
        """Announced and seen."""
        return tuple(self._seen)

    def has(self, channel: str, image_id: int) -> bool:
        """Whether this image came, or its place was given up."""
        seen = self._seen.get(channel)
        return seen is not None and image_id in seen

    def has_any(self, image_id: int) -> bool:
        """As `has`, on whatever channel."""
        return any(image_id in seen for seen in self._seen.values())

    def images_received(self) -> int:
        """Images of which something came, on whatever channels; at least so many where some were given up."""
        union = IntervalSet()
        for seen in self._seen.values():
            for start, stop in seen.intervals():
                union.fill(start, stop)
        return max(0, len(union) - sum(self._folded.values()))

    def announce(self, start: SeriesStart) -> None:
        """The start message came after the first frames: another connection let them overtake it."""
        self.start, self.announced = start, True
        for channel in start.channels:
            self._seen.setdefault(channel, IntervalSet())
        self._first = min([start.first_image, *(seen.first for seen in self._seen.values() if len(seen))])
        if not self._told:  # the controller knows better
            images = _believable(start.expected)
            self._images = None if images is not None and self._contradicts(images) else images
        if not self._more_may_come():
            self._step(Event.ALL_IN)

    def _contradicts(self, images: int) -> bool:
        return any(seen.end > self._first + images for seen in self._seen.values())

    def take(self, frame: Frame, now_ns: int) -> Arrival:
        """Enter one frame by its absolute id."""
        arrival = self._judge(frame)
        if arrival is _STALE:
            self.take_stale()
            return arrival
        self._counts[arrival] += 1
        self._touched_ns = now_ns
        # only a series that has ended is closed by its last image, so only there it is asked after
        if self.state is _ENDING and arrival is _NEW and not self._more_may_come():
            self._step(Event.ALL_IN)
        return arrival

    def _judge(self, frame: Frame) -> Arrival:
        if self.state is _CLOSED:
            return self._judge_closed(frame) if self._newest is None else _STALE
        image_id = frame.image_id
        if not 0 <= image_id < MAX_IMAGE_ID:
            return Arrival.REFUSED
        seen = self._seen.get(frame.channel)
        if seen is None and self.announced and self.start.channels:
            return Arrival.UNEXPECTED
        if seen is None and len(self._seen) >= MAX_CHANNELS:
            return Arrival.REFUSED
        if self._images is not None and image_id >= self._first + self._images:
            return Arrival.UNEXPECTED
        if image_id < self._first:
            if self._images is not None or image_id < self._first - EARLY_IDS:
                return Arrival.UNEXPECTED
            self._first = image_id
        if seen is None:
            seen = self._seen.setdefault(frame.channel, IntervalSet())
        if not seen.add(image_id):
            return self._judge_again(frame)
        self._absent.came(frame.channel, image_id)
        if seen.runs > 1 and seen.runs > self._most_runs():
            self._give_up(frame.channel, seen)
        return _NEW

    def absent(self, message: Absent) -> None:
        """The sender has no images with these ids. That does not keep a series from being idle: none came."""
        channel, seen = message.channel, self._seen.get(message.channel)
        if self.state is State.CLOSED or seen is None:
            return
        begin, end = self._first, MAX_IMAGE_ID
        if self._images is None:
            begin -= EARLY_IDS
        else:
            end = self._first + self._images
        start = max(message.image_id, begin, self._given_up.get(channel, 0))
        stop = min(message.image_id + message.count, end)
        if start >= stop or self._absent.within(channel, start, stop) == stop - start:  # said twice
            return
        while self._absent.runs(channel) >= self._most_runs() and seen.runs > 1:
            self._give_up(channel, seen)
        self._absent.enter(channel, start, stop, seen, self._most_runs())
        if not self._more_may_come():
            self._step(Event.ALL_IN)

    def _most_runs(self) -> int:
        return MAX_RUNS // len(self._seen)

    def _give_up(self, channel: str, seen: IntervalSet) -> None:
        """The oldest hole of a channel is lost for good, but for what is absent in it."""
        (_, start), (stop, end) = seen.intervals(2)
        lost = seen.fold() - self._absent.give_up(channel, start, stop)
        self._folded[channel] = self._folded.get(channel, 0) + lost
        self._given_up[channel] = end

    def _judge_closed(self, frame: Frame) -> Arrival:
        """An image that is here is not lost because it comes once more when nobody listens."""
        seen = self._seen.get(frame.channel)
        return Arrival.LATE if seen is None or frame.image_id not in seen else self._judge_again(frame)

    def _judge_again(self, frame: Frame) -> Arrival:
        """Of an image whose place is taken: by itself, or because it was given up."""
        return Arrival.LATE if frame.image_id < self._given_up.get(frame.channel, 0) else Arrival.DUPLICATE

    def take_stale(self) -> None:
        """A message of this series came when another one had been opened: it is counted there, where it is seen."""
        counting = self._newest or self
        counting._counts[Arrival.STALE] += 1

    def follow(self, newest: "Series") -> None:
        """Another series of the source was opened."""
        self._newest = newest

    def end(self, now_ns: int) -> None:
        """The detector said that the series is over."""
        if self.state is State.OPEN:
            self._ending_since_ns = now_ns
        self._step(Event.END if self._more_may_come() else Event.END_ALL_IN)

    def triggered(self, images: int) -> bool:
        """The controller triggered so many images a channel, and no more will come: that is what is expected.

        The arm command announces an upper bound only. Returns False, and changes nothing, where the series is closed or
        more images than that are there.
        """
        if self.state is State.CLOSED or self._contradicts(images) or not 0 <= images <= MAX_IMAGE_ID:
            return False
        self._images, self._told = images, True
        if not self._more_may_come():
            self._step(Event.ALL_IN)
        return True

    def detector_dropped(self, count: int | None) -> None:
        """The detector counted so many images that nobody fetched in time (SIMPLON `stream/status/dropped`)."""
        self.dropped = count

    def touch(self, now_ns: int) -> None:
        """Restart the idle time and the grace period: it is we who do not listen at present."""
        self._touched_ns = self._ending_since_ns = now_ns

    def supersede(self) -> None:
        """The detector started another series."""
        self._step(self._unless_all_in(Event.SUPERSEDED))

    def shut_down(self) -> None:
        """We stop listening."""
        self._step(Event.SHUTDOWN)

    def advance(self, now_ns: int, *, grace_ns: int, idle_ns: int) -> None:
        """Let time pass: closes the series when its grace period or idle time is over."""
        if self.state is State.ENDING and now_ns - self._ending_since_ns >= grace_ns:
            self._step(self._unless_all_in(Event.GRACE_OVER))
        elif now_ns - self._touched_ns >= idle_ns:
            self._step(Event.IDLE)

    def _unless_all_in(self, event: Event) -> Event:
        """What ends a grace period; where nobody said how many there are it ends without a known loss, too."""
        return Event.ALL_IN if self.state is State.ENDING and not self._awaited() else event

    def _step(self, event: Event) -> None:
        self.state, reason = TRANSITIONS[self.state, event]
        self.close_reason = reason or self.close_reason

    def _expected(self) -> int | None:
        if self._images is None or self.share is not None:
            return None
        return self._images * (len(self._seen) or 1)

    def _stop(self, seen: IntervalSet) -> int:
        """One past the last id that is waited for."""
        return self._first + self._images if self._images is not None else max(seen.end, self._first)

    def _outstanding(self) -> int:
        """Images that did not come and exist: announced ones, or the holes where no number was announced."""
        if self.share is not None:
            return 0
        expected = self._expected()
        upto = expected if expected is not None else sum(self._stop(one) - self._first for one in self._seen.values())
        return upto - self._counts[Arrival.NEW] - self._absences()

    def _absences(self) -> int:
        if self.share is not None:  # the others know how far the images reach
            return self._absent.total()
        return sum(self._absent_in(channel) + self._absent.given_up(channel) for channel in self._seen)

    def _absent_in(self, channel: str) -> int:
        """Of the holes that are remembered, the ids without an image."""
        return self._absent.within(channel, self._first, self._stop(self._seen[channel]))

    def _awaited(self) -> int:
        """Images that may still come."""
        return self._outstanding() - self._lost_for_good()

    def _more_may_come(self) -> bool:
        """Whether images are awaited, or may be: nobody said how many there are."""
        return self._expected() is None or self._awaited() > 0

    def _lost_for_good(self) -> int:
        return sum(self._folded.values()) if self.share is None else 0

    def counts(self) -> ArrivalCounts:
        """The facts so far. What is awaited becomes missing when the series closes."""
        outstanding, folded = self._outstanding(), self._lost_for_good()
        closed = self.state is State.CLOSED
        return ArrivalCounts(
            expected=self._expected(),
            images=self._images,
            received=self._counts[Arrival.NEW],
            missing=outstanding if closed else folded,
            awaited=0 if closed else outstanding - folded,
            duplicate=self._counts[Arrival.DUPLICATE],
            late=self._counts[Arrival.LATE],
            unexpected=self._counts[Arrival.UNEXPECTED],
            refused=self._counts[Arrival.REFUSED],
            stale=self._counts[Arrival.STALE],
            absent=self._absences(),
        )

    def missing_ids(self, limit: int | None = 100) -> dict[str, list[tuple[int, int]]]:
        """The first `limit` holes of each channel, as [start, stop) image ids; empty for a share."""
        if self.share is not None:
            return {}
        return {channel: self._holes(channel, seen, limit) for channel, seen in self._seen.items()}

    def _holes(self, channel: str, seen: IntervalSet, limit: int | None) -> list[tuple[int, int]]:
        most = None if self._absent.runs(channel) else limit
        return self._absent.left(channel, seen.holes(self._stop(seen), most, self._first), limit)

    def intervals(self) -> dict[str, list[Block]]:
        """The ids that came, by channel; {} where they form more than `MAX_BLOCKS` blocks or some were forgotten."""
        told = {channel: blocks(seen.intervals()) for channel, seen in self._seen.items()}
        return {} if self._folded or sum(map(len, told.values())) > MAX_BLOCKS else told

    def absent_ids(self) -> dict[str, list[Block]]:
        """The ids that the sender says do not exist, by channel; {} where they are too many, as with `intervals`."""
        told = self._absent.blocks()
        return {} if sum(map(len, told.values())) > MAX_BLOCKS else told

    def suspicion(self) -> Suspicion | None:
        """What the holes have in common, in the first channel where they do."""
        found = (regular_holes(holes) for holes in self.missing_ids(None).values())
        return next((one for one in found if one is not None), None)

    def reconciled(self) -> Reconciled | None:
        """What is missing, held against what the detector dropped; None where it did not say."""
        if self.dropped is None or self.share is not None:
            return None
        lost = [
            self._stop(seen) - self._first - len(seen) + self._folded.get(channel, 0) - self._absent_in(channel)
            for channel, seen in self._seen.items()
        ]
        return reconcile(min(lost, default=self._images or 0), self.dropped)  # an exposure carries all its channels


def _believable(expected: int | None) -> int | None:
    return expected if expected is not None and 0 <= expected <= MAX_IMAGE_ID else None
