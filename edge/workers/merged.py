"""The ledger of record of one source whose frames several workers take: one series for all of them. Pure.

Theory of operation
-------------------
Each worker tells of every image that came to it, in the order in which it came, and of starts and ends. They are
entered into one `Series`, the same that a single data plane has, so what is said of its arrivals holds here: an image
that nobody told of is missing, one that two told of is a duplicate.

What is different is order. A worker's words are in order; those of two workers are not.
  * The end of a series may be told before images that another worker still has. The grace period begins anew with each
    image that comes, and does not run while a worker is blocked, silent, or going through its capture.
  * The start of the next series does the same. It closes the one before when every worker has told something of a
    later one, or nothing came of the old one for a grace period.

A series that is closed is told to all workers. Each finishes what it has of it and tells its accounts; then the merged
account is published. Nobody waits for a worker that has ended, but where it recorded: then whoever comes in its place
goes through it again, for as long as `patience_ns`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from msgspec.structs import replace

from edge.pipeline.latency import LatencyHistogram
from edge.pipeline.record import SeriesRecord
from edge.workers import words
from edge.workers.parts import Part, PublishedIds, account_so_far, merged_account, merged_positions
from edge.workers.slots import Place
from streams.codecs.results import SMALL_BYTES, Result, SeriesEnded, SeriesStarted
from streams.ledger.book import ARMING_DATES
from streams.ledger.lifecycle import Arrival, State
from streams.ledger.series import Series
from streams.messages import Absent, Compression, Frame, SeriesStart
from streams.messages import Part as Bytes

MOST_OPEN = 8
REMEMBERED = 8
"""Series whose account was published, to tell late images by."""

Notice: TypeAlias = Result | SeriesStarted | SeriesEnded
_Peer = tuple[int, int]  # worker, life


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


class Gathered:
    """One series."""

    def __init__(self, series: Series, routes: Sequence[str], order: int) -> None:
        self.series, self.order = series, order
        self.record = SeriesRecord(series, routes)
        self.packed = b""  # its start
        self.parts: dict[_Peer, Part] = {}
        self.published: Counter[str] = Counter()
        self.latency = {route: LatencyHistogram() for route in routes}
        self.told_start: dict[str, bool] = {}  # by route that was told of it: whether as announced
        self.overtaken: set[int] | None = None  # workers that have told of no later series; None: there is none
        self.asked: dict[int, int] = {}  # by worker: the life that was told that it is closed
        self.moved_ns = 0  # when something of it came last
        self._ids: dict[tuple[str, str], PublishedIds] = {}

    def part(self, place: Place) -> Part:
        """That of the process that is in a place."""
        found = self.parts.get((place.worker, place.life))
        if found is None:
            found = self.parts[place.worker, place.life] = Part(place.records)
        return found

    def first_result(self, result: Result) -> bool:
        """Whether the image had none on this route."""
        key = (result.route, result.channel)
        ids = self._ids.get(key)
        if ids is None:
            ids = self._ids[key] = PublishedIds()
        return ids.add(result.image_id)

    def counting(self) -> list[Part]:
        """The parts whose work counts: not that of a process that recorded, and whose successor did it all again."""
        final = {worker: life for (worker, life), part in self.parts.items() if part.final}
        return [
            part
            for (worker, life), part in self.parts.items()
            if part.final or not part.records or final.get(worker, 0) < life
        ]


class MergedSource:
    """The near end of one source, as `edge.pipeline.control.Ledger` has it, whose frames workers take.

    Args:
        name: of the source.
        routes: that take from it.
        places: of the workers, by number.
        patience: how long to wait.
        out: what is brought about.
        assembles: whether several frames make one image, so that what a route received is no count of frames.
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
        self._renamed: dict[str, str] = {}  # the name on the wire to ours, where they differ
        self._count = 0

    # what workers tell

    def began(self, place: Place, packed: bytes, start: SeriesStart, now_ns: int) -> None:
        """A start message came to a worker."""
        uid = self._renamed.get(start.series_uid, start.series_uid)
        gathered, over = self._open.get(uid), self._over.get(uid)
        if gathered is not None and not gathered.series.announced and gathered.series.state is not State.CLOSED:
            gathered.series.announce(start)
        elif gathered is None and over is None:
            gathered = self._enter(start, True, now_ns)
        elif _armed((gathered.series if gathered is not None else self._over[uid]).start) == _armed(start):
            return  # it came twice, or an earlier process of this worker told of it
        else:
            if gathered is not None:
                gathered.series.supersede()
            self._renamed[start.series_uid] = f"{start.series_uid}~{1 + self._count}"
            gathered = self._enter(start, True, now_ns, self._renamed[start.series_uid])
        gathered.packed = packed
        self._moved(gathered, place, now_ns)
        self._overtake(gathered, place)
        self._out.opened(gathered.record)
        for other in self._places.values():
            if other.up and other is not place:
                self._out.tell(other.worker, words.Start(packed))

    def arrived(self, place: Place, word: words.Arrived, now_ns: int) -> None:
        """Images came to a worker."""
        uid = word.series_uid
        gathered = self._open.get(uid)
        series = gathered.series if gathered is not None else self._over.get(uid)
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
        """The end message came to a worker."""
        if (gathered := self._open.get(uid)) is None:
            return
        gathered.series.end(now_ns)
        self._moved(gathered, place, now_ns)
        if gathered.series.state is State.ENDING:
            self._out.closing(self.name)
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
        known = gathered.series.has(result.channel, result.image_id)
        if known and gathered.first_result(result):
            return True
        if not (known and result.recovered):  # else a process before this one made it, and is not counted
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
            parts = gathered.counting()
            for route in gathered.record.accounts:
                gathered.record.accounts[route] = account_so_far(parts, route)

    def advance(self, now_ns: int) -> None:
        """Let time pass."""
        held = self._held(now_ns)
        for gathered in list(self._open.values()):
            series = gathered.series
            if held:
                series.touch(now_ns)
            if gathered.overtaken is not None and series.state is not State.CLOSED:
                waiting = {worker for worker in gathered.overtaken if self._places[worker].up}
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

    def _enter(self, start: SeriesStart, announced: bool, now_ns: int, uid: str = "") -> Gathered:
        series = Series(start, announced=announced, now_ns=now_ns, uid=uid)
        still_open = [one.series for one in self._open.values() if one.series.state is not State.CLOSED]
        if len(still_open) >= MOST_OPEN:
            min(still_open, key=lambda one: one.announced).supersede()
        for old in (*self._over.values(), *(one.series for one in self._open.values())):
            old.follow(series)
        self._count += 1
        gathered = self._open[series.uid] = Gathered(series, self._routes, self._count)
        gathered.moved_ns = now_ns
        self.records[series.uid] = gathered.record
        return gathered

    def _overtake(self, newest: Gathered, place: Place) -> None:
        """A start message was told: those before it are over as soon as no worker can have any of them."""
        for gathered in self._open.values():
            if gathered.order < newest.order and gathered.overtaken is None:
                gathered.overtaken = {one.worker for one in self._places.values() if one.up and one is not place}

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
        record, series, parts = gathered.record, gathered.series, gathered.counting()
        self._out.reconcile(record)
        whole = all(part.final for part in gathered.parts.values())
        arrived = 0 if whole or self._assembles else series.counts().received
        for route in record.accounts:
            account = merged_account(parts, route, gathered.published[route], arrived)
            account.latency = gathered.latency[route]
            record.accounts[route] = account
            record.positions[route] = merged_positions(parts, route)
        ended = [record.ended(route) for route in record.accounts]
        del self._open[series.uid], self.records[series.uid]
        self._over[series.uid] = series
        while len(self._over) > REMEMBERED:
            gone = next(iter(self._over))
            del self._over[gone]
            self._renamed = {wire: name for wire, name in self._renamed.items() if name != gone}
        for notice in ended:
            self._out.publish(notice.route, [(notice, ())])
        self._out.closed(record, ended)


def _frame(source: str, word: words.Arrived, image_id: int) -> Frame:
    return Frame(source, word.series_uid, word.series_id, image_id, word.channel, (0, 0), "|u1", Compression.NONE, b"")


def _own(array: memoryview) -> Bytes:
    """A view keeps all results that came with it."""
    return bytes(array) if len(array) <= SMALL_BYTES else array


def _armed(start: SeriesStart) -> object:
    return next((start.header[name] for name in ARMING_DATES if name in start.header), None)
