"""The ledger of record of one source whose frames several workers take: one series for all of them. Pure.

Theory of operation
-------------------
Each worker tells of every image that came to it, in the order in which it came, and of starts and ends. They are
entered into one `Series`, the same that a single data plane has, so what is said of its arrivals holds here: an image
that nobody told of is missing, one that two told of is a duplicate.

What is different is order. A worker's words are in order; those of two workers are not.
  * The end of a series may be told before images that another worker still has. The grace period begins anew with each
    image that comes, and does not run while a worker is blocked, silent, or going through its capture.
  * It may be told before the start, or before any image, too: then it is kept until the series is heard of.
  * The start of the next series does the same. It closes the one before when every worker has told something of a
    later one, or nothing came of the old one for a grace period. Whoever is awaited to go through a capture is waited
    for here, too.

A series that is closed is told to all workers. Each finishes what it has of it and tells its accounts; then the merged
account is published. Nobody waits for a worker that has ended, but where it recorded: then whoever comes in its place
goes through it again, for as long as `return_ns`. It does all of the series again, so one process counts of each worker
that records.

Images carry no date. Where a detector uses a unique id again before all images of the first series came, nobody can say
on which side of the second start an image belongs that came to another worker: neither series is called complete.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from msgspec.structs import replace

from edge.pipeline.record import SeriesRecord
from edge.workers import words
from edge.workers.gathered import Gathered
from edge.workers.names import armed, first_name, second
from edge.workers.parts import account_so_far, counting, merged_account, merged_positions
from edge.workers.slots import Place
from streams.codecs.results import SMALL_BYTES, Result, SeriesEnded, SeriesStarted
from streams.ledger.lifecycle import Arrival, State
from streams.ledger.series import Series
from streams.messages import Absent, Compression, Frame, SeriesStart
from streams.messages import Part as Bytes

log = logging.getLogger(__name__)

MOST_OPEN = 8
REMEMBERED = 8
"""Series whose account was published, to tell late images by."""

REMEMBERED_NAMES = 256
"""Series whose arming is known, and whose end came before anything else of them."""

Notice: TypeAlias = Result | SeriesStarted | SeriesEnded
Known = TypeVar("Known")


class Out(Protocol):
    """What the ledger brings about."""

    def publish(self, route: str, notices: Sequence[tuple[Notice, Sequence[Bytes]]]) -> None:
        """In this order, each with the bytes of its arrays."""
        ...

    def tell(self, worker: int, word: words.Down) -> None: ...
    def opened(self, record: SeriesRecord) -> None: ...
    def closing(self, source: str) -> None:
        """The end of a series came, and images are awaited."""
        ...

    def reconcile(self, record: SeriesRecord) -> None:
        """Tell the series what the detector says it dropped."""
        ...

    def closed(self, record: SeriesRecord, ended: Sequence[SeriesEnded]) -> None: ...
    def arrived(self, source: str, arrivals: Sequence[Arrival]) -> None: ...
    def latencies(self, route: str, latencies_ns: Sequence[int]) -> None:
        """Of results that were published, since their images were received."""
        ...


@dataclass(frozen=True)
class Patience:
    """How long to wait for what may still come."""

    grace_ns: int
    idle_ns: int
    return_ns: int  # for another process in the place of a worker that ended and had recorded


class MergedSource:
    """The near end of one source, as `edge.pipeline.control.Ledger` has it, whose frames workers take.

    Args:
        name: of the source.
        routes: that take from it.
        places: of the workers, by number.
        patience: how long to wait.
        out: what is brought about.
        assembles: whether the modules of a message make one image, so that what a route received is no count of frames.
    """

    def __init__(
        self,
        name: str,
        routes: Sequence[str],
        places: Mapping[int, Place],
        patience: Patience,
        out: Out,
        assembles: bool = False,
    ) -> None:
        self.name = name
        self.records: dict[str, SeriesRecord] = {}
        self.strays = 0  # results of series whose account was published
        self._assembles = assembles
        self._routes, self._places, self._patience, self._out = routes, places, patience, out
        self._open: dict[str, Gathered] = {}
        self._over: dict[str, Series] = {}  # the account was published
        self._armed: dict[str, object] = {}  # by unique id: when the first series of that id was armed
        self._second: dict[str, str] = {}  # by unique id: the name of the newest series that has it, too
        self._early: dict[str, None] = {}  # series of which only the end came
        self._count = 0

    # what workers tell

    def began(self, place: Place, packed: bytes, start: SeriesStart, now_ns: int) -> None:
        """A start message came to a worker."""
        told = start
        if not first_name(start) and self._armed.get(start.series_uid, armed(start)) != armed(start):
            start = second(start)  # a worker that had not heard of the first series
            packed = words.pack_start(start)
        uid = start.series_uid
        gathered, series = self._open.get(uid), self._series(uid)
        if series is not None and (series.announced or series.state is State.CLOSED):
            # it came twice, or an earlier process of this worker told of it, or it came too late to be of use
            if series.state is State.CLOSED:
                self._close_again(place, gathered, told.series_uid)
            return
        if gathered is not None:
            gathered.series.announce(start)
        else:
            gathered = self._enter(start, True, now_ns)
        self._doubt(gathered)
        self._note_name(start)
        gathered.packed = packed
        self._moved(gathered, place, now_ns)
        self._overtake(gathered, place, now_ns)
        self._out.opened(gathered.record)
        for other in self._places.values():
            if other.up and (other is not place or start is not told):
                self._out.tell(other.worker, words.Start(packed))

    def arrived(self, place: Place, word: words.Arrived, now_ns: int) -> None:
        """Images came to a worker."""
        uid = word.series_uid
        gathered, series = self._open.get(uid), self._series(uid)
        if series is None:
            start = SeriesStart(self.name, uid, word.series_id, expected=None, channels=())
            gathered = self._enter(start, False, now_ns)
            series = gathered.series
            self._out.opened(gathered.record)
        again = place.life > 1 and place.recovering(self.name)
        arrivals: list[Arrival] = []
        for image_id in word.image_ids:
            if again and series.has(word.channel, image_id):
                continue  # an earlier process of this worker told of it
            arrivals.append(series.take(_frame(self.name, word, image_id), now_ns))
        self._out.arrived(self.name, arrivals)
        if gathered is None:
            self._out.tell(place.worker, words.Close(self.name, uid))
            return
        gathered.part(place)
        self._moved(gathered, place, now_ns)
        if series.state is State.ENDING:
            series.touch(now_ns)
        self._settle(gathered, now_ns)

    def absent(self, place: Place, word: words.Lacking, now_ns: int) -> None:
        """The sender told a worker that there are no such images."""
        if (gathered := self._open.get(word.series_uid)) is not None:
            gathered.series.absent(
                Absent(self.name, word.series_uid, word.series_id, word.image_id, word.channel, word.count)
            )
            self._moved(gathered, place, now_ns)
            self._settle(gathered, now_ns)

    def ended(self, place: Place, uid: str, now_ns: int) -> None:
        """The end message came to a worker, before anything else of the series perhaps."""
        series = self._series(uid)
        if series is not None and series.state is State.CLOSED:
            series = self._series(uid := self._second.get(uid, uid))  # the worker knows only the first of that id
        if series is None:
            _remember(self._early, uid, None)
        elif (gathered := self._open.get(uid)) is not None:
            self._end(series, now_ns)
            self._moved(gathered, place, now_ns)
            self._settle(gathered, now_ns)

    def started(self, notice: SeriesStarted) -> None:
        """A worker opened the series on a route: told once, and once more where it was announced after that."""
        gathered = self._open.get(notice.series_uid)
        if gathered is None or notice.route not in self._routes:
            return
        series, told = gathered.series, gathered.told_start.get(notice.route)
        if told or told == series.announced or notice.announced != series.announced:
            return  # of one that is announced the notice with its header is on its way
        gathered.told_start[notice.route] = series.announced
        if notice.position_units:
            gathered.record.position_units = notice.position_units
        notice = replace(notice, expected=series.counts().expected, first_image=series.first_image)
        self._out.publish(notice.route, [(notice, ())])

    def results(self, place: Place, route: str, made: Sequence[words.Made], now_ns: int) -> None:
        """A worker made these of images; each image's first result is published."""
        leaving: list[tuple[Notice, Sequence[Bytes]]] = []
        latencies: dict[Gathered, list[int]] = {}
        for one in made:
            gathered = self._open.get(one.result.series_uid)
            if gathered is None or route not in gathered.latency:
                self.strays += 1
            elif self._is_first(gathered, place, one.result):
                gathered.published[route] += 1
                if one.result.untrained:
                    gathered.record.ranges[route].label(one.result.untrained)
                leaving.append((one.result, [_own(array) for array in one.arrays]))
                if not one.result.recovered:
                    latencies.setdefault(gathered, []).append(max(0, now_ns - one.received_ns))
        if leaving:
            self._out.publish(route, leaving)
        for gathered, each in latencies.items():
            gathered.latency[route].add(*each)
            self._out.latencies(route, each)

    def _is_first(self, gathered: Gathered, place: Place, result: Result) -> bool:
        """Whether the image is one of the series, and has no result on this route yet."""
        known = gathered.series.has(result.channel, result.image_id) or (
            self._assembles and gathered.series.has_any(result.image_id)  # it is of no module's channel
        )
        if known and gathered.first_result(place, result):
            return True
        if not (known and gathered.done_again(place, result)):
            gathered.part(place).strays[result.route] += 1
        return False

    def account(self, place: Place, now: words.RouteNow) -> None:
        """How far a worker is with a series on a route."""
        if (gathered := self._open.get(now.series_uid)) is not None:
            part = gathered.part(place)
            part.accounts[now.route], part.positions[now.route] = now.account, now.positions

    def worker_closed(self, place: Place, uid: str, now_ns: int) -> None:
        """A worker has told all that it has to tell of a series that was closed."""
        if (gathered := self._open.get(uid)) is not None:
            gathered.part(place).final = True
            self._settle(gathered, now_ns)

    # what others do

    def triggered(self, record: SeriesRecord, images: int) -> bool:
        """The controller triggered so many images a channel of this series; whether that can be."""
        return record.series.triggered(images)

    def starts(self) -> list[bytes]:
        """The start messages of the series that are open, for a worker that comes."""
        return [one.packed for one in self._open.values() if one.packed]

    def refresh(self) -> None:
        """Bring the accounts in `records` up to date."""
        for gathered in self._open.values():
            for route in gathered.record.accounts:
                gathered.record.accounts[route] = account_so_far(counting(gathered.parts, route), route)

    def advance(self, now_ns: int) -> None:
        """Let time pass."""
        held = self._held(now_ns)
        for gathered in list(self._open.values()):
            series = gathered.series
            if held:
                series.touch(now_ns)
            if gathered.overtaken is not None and series.state is not State.CLOSED:
                waiting = any(self._may_tell(self._places[worker], now_ns) for worker in gathered.overtaken)
                if not waiting or (not held and now_ns - gathered.moved_ns >= self._patience.grace_ns):
                    series.supersede()
            series.advance(now_ns, grace_ns=self._patience.grace_ns, idle_ns=self._patience.idle_ns)
            self._settle(gathered, now_ns)

    def shut_down(self, now_ns: int) -> None:
        """All workers have ended, or are waited for no longer: publish what is open."""
        for gathered in list(self._open.values()):
            gathered.series.shut_down()
            self._finish(gathered)

    # within

    def _series(self, uid: str) -> Series | None:
        """That of this name, as far as it is remembered."""
        gathered = self._open.get(uid)
        return self._over.get(uid) if gathered is None else gathered.series

    def _enter(self, start: SeriesStart, announced: bool, now_ns: int) -> Gathered:
        series = Series(start, announced=announced, now_ns=now_ns)
        still_open = [one.series for one in self._open.values() if one.series.state is not State.CLOSED]
        if len(still_open) >= MOST_OPEN:
            min(still_open, key=lambda one: one.announced).supersede()
        for old in (*self._over.values(), *(one.series for one in self._open.values())):
            old.follow(series)
        self._count += 1
        gathered = self._open[series.uid] = Gathered(series, self._routes, self._count)
        gathered.moved_ns = now_ns
        self.records[series.uid] = gathered.record
        if series.uid in self._early:
            del self._early[series.uid]
            self._end(series, now_ns)
        return gathered

    def _end(self, series: Series, now_ns: int) -> None:
        series.end(now_ns)
        if series.state is State.ENDING:
            self._out.closing(self.name)

    def _close_again(self, place: Place, gathered: Gathered | None, uid: str) -> None:
        """Its process has the start of a series that is closed; one that is still to be asked will be."""
        if gathered is None or gathered.asked.get(place.worker) == place.life:
            self._out.tell(place.worker, words.Close(self.name, uid))

    def _note_name(self, start: SeriesStart) -> None:
        """Of a start that is news."""
        if on_wire := first_name(start):
            _remember(self._second, on_wire, start.series_uid)
        else:
            _remember(self._armed, start.series_uid, armed(start))

    def _doubt(self, newest: Gathered) -> None:
        """Where a series before this one has its unique id, and may lack images: which are of which is not known."""
        if not (on_wire := first_name(newest.series.start)):
            return
        for uid in {on_wire, self._second.get(on_wire, on_wire)}:
            old = self._series(uid)
            if old is None or old is newest.series or (old.state is State.CLOSED and _whole(old)):
                continue
            old.supersede()
            newest.doubtful = True
            if (gathered := self._open.get(uid)) is not None:
                gathered.doubtful = True
        log.warning(
            "source %s: series %d has the unique id %a of an earlier one, and is called %a%s",
            *(self.name, newest.series.id, on_wire, newest.series.uid),
            "; images of the two may be mistaken for each other, so neither is complete" if newest.doubtful else "",
        )

    def _overtake(self, newest: Gathered, place: Place, now_ns: int) -> None:
        """A start message was told: those before it are over as soon as no worker can have any of them."""
        for gathered in self._open.values():
            if gathered.order < newest.order and gathered.overtaken is None:
                others = (one for one in self._places.values() if one is not place)
                gathered.overtaken = {one.worker for one in others if self._may_tell(one, now_ns)}

    def _may_tell(self, place: Place, now_ns: int) -> bool:
        """Whether images may be with it that it has not told of."""
        return place.up or place.awaited(self._patience.return_ns, now_ns)

    def _moved(self, gathered: Gathered, place: Place, now_ns: int) -> None:
        gathered.moved_ns = now_ns
        for older in self._open.values():
            if older.overtaken is not None and older.order < gathered.order:
                older.overtaken.discard(place.worker)

    def _held(self, now_ns: int) -> bool:
        return any(place.holds(self.name, self._patience.return_ns, now_ns) for place in self._places.values())

    def _settle(self, gathered: Gathered, now_ns: int) -> None:
        """Once a series is closed: have all workers finish it, and publish its account when they have."""
        if gathered.series.state is not State.CLOSED:
            return
        uid, awaited = gathered.series.uid, False
        for place in self._places.values():
            if not place.up or place.recovering(self.name):
                had = any(worker == place.worker for worker, _ in gathered.parts)
                awaited |= place.up or (had and place.awaited(self._patience.return_ns, now_ns))
                continue
            if gathered.asked.get(place.worker) != place.life:
                gathered.asked[place.worker] = place.life
                self._out.tell(place.worker, words.Close(self.name, uid))
            part = gathered.parts.get((place.worker, place.life))
            awaited |= part is None or not part.final
        if not awaited:
            self._finish(gathered)

    def _finish(self, gathered: Gathered) -> None:
        """The account is final."""
        record, series = gathered.record, gathered.series
        self._out.reconcile(record)
        arrived = series.images_received() if self._assembles else series.counts().received
        for route in record.accounts:
            parts = counting(gathered.parts, route)
            account = merged_account(parts, route, gathered.published[route], arrived)
            account.latency = gathered.latency[route]
            record.accounts[route] = account
            record.positions[route] = merged_positions(parts, route)
        ended = [_honest(record.ended(route), gathered.doubtful) for route in record.accounts]
        del self._open[series.uid], self.records[series.uid]
        self._over[series.uid] = series
        while len(self._over) > REMEMBERED:
            del self._over[next(iter(self._over))]
        for notice in ended:
            self._out.publish(notice.route, [(notice, ())])
        self._out.closed(record, ended)


def _frame(source: str, word: words.Arrived, image_id: int) -> Frame:
    return Frame(source, word.series_uid, word.series_id, image_id, word.channel, (0, 0), "|u1", Compression.NONE, b"")


def _own(array: memoryview) -> Bytes:
    """A view keeps all results that came with it."""
    return bytes(array) if len(array) <= SMALL_BYTES else array


def _whole(series: Series) -> bool:
    counts = series.counts()
    return counts.expected is not None and not counts.missing


def _honest(ended: SeriesEnded, doubtful: bool) -> SeriesEnded:
    return replace(ended, verdict="unknown") if doubtful and ended.verdict == "complete" else ended


def _remember(known: dict[str, Known], key: str, value: Known) -> None:
    known[key] = value
    while len(known) > REMEMBERED_NAMES:
        del known[next(iter(known))]
