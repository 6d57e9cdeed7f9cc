"""Results wait here for the positions of their images, for a bounded time in bounded memory.

A result whose position is awaited is held; its frame stays in flight in the account, its slot is free. It leaves when
the position comes, when it is known that none will, when it has waited long enough, or when newer ones need the memory.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count

import msgspec

from edge.pipeline.finished import Finished
from edge.pipeline.position_sources import HeaderPositions, PositionSource, StreamPositions
from edge.pipeline.record import SeriesRecord
from streams.positions.headers import Awaited, Missing, Verdict, Why


class Joins(msgspec.Struct, frozen=True):
    """How results of one source get their positions."""

    source: PositionSource
    wait_ns: int = 0  # longest wait of a result
    hold_nbytes: int = 0  # memory of the results that wait
    units: Mapping[str, str] = {}  # of the axes


class _Held(msgspec.Struct, gc=False):
    finished: Finished | None  # None: it has left
    nbytes: int
    due_ns: int


Leaving = tuple[Finished, Verdict]
"""A result that waits no longer, and what became of its position."""


class Waiting:
    """The held results of one source.

    Within a series positions are decided in the order of image ids, so only the lowest id has to be asked about.
    """

    def __init__(self, joins: Joins) -> None:
        self._joins = joins
        self._by_age: deque[_Held] = deque()
        self._by_id: dict[str, list[tuple[int, int, _Held]]] = {}  # heaps, by unique id of the series
        self._number = count()
        self._size = self._nbytes = 0

    def __len__(self) -> int:
        return self._size

    def hold(self, finished: Finished, now_ns: int) -> list[Leaving]:
        """Keep a result; the oldest ones that have to leave for it."""
        finished = finished.alone()  # views would keep whole batches
        held = _Held(finished, finished.nbytes, now_ns + self._joins.wait_ns)
        self._by_age.append(held)
        heap = self._by_id.setdefault(finished.frame.record.series.uid, [])
        heapq.heappush(heap, (finished.frame.image_id, next(self._number), held))
        self._size += 1
        self._nbytes += held.nbytes
        leaving = []
        while self._nbytes > self._joins.hold_nbytes and self._by_age:
            leaving += self._leave(self._by_age.popleft(), Missing(Why.OVERFLOW))
        return leaving

    def decided(self, now_ns: int) -> list[Leaving]:
        """Those that wait no longer."""
        leaving: list[Leaving] = []
        for uid, heap in list(self._by_id.items()):
            while heap:
                finished = heap[0][2].finished
                if finished is not None:
                    verdict = self._joins.source.position(finished.frame)
                    if isinstance(verdict, Awaited):
                        break
                    leaving += self._leave(heap[0][2], verdict)
                heapq.heappop(heap)
            if not heap:
                del self._by_id[uid]
        while self._by_age and (self._by_age[0].finished is None or self._by_age[0].due_ns <= now_ns):
            held = self._by_age.popleft()
            leaving += self._leave(held, Missing(Why.LATE))
        return leaving

    def give_up(self) -> list[Leaving]:
        """All of them, at the very end."""
        leaving = [each for held in self._by_age for each in self._leave(held, Missing(Why.SHUTDOWN))]
        self._by_age.clear()
        self._by_id.clear()
        return leaving

    def _leave(self, held: _Held, verdict: Verdict) -> list[Leaving]:
        finished, held.finished = held.finished, None
        if finished is None:
            return []
        self._size -= 1
        self._nbytes -= held.nbytes
        return [(finished, verdict)]


class Joining:
    """Joins the results of all sources with their positions.

    Args:
        joins: by name of the source; one that is not named takes what its headers hold, and promises nothing.
    """

    def __init__(self, joins: Mapping[str, Joins] | None = None) -> None:
        self._joins = dict(joins or {})
        self._waiting = {name: Waiting(each) for name, each in self._joins.items()}
        self._header = HeaderPositions()
        self._streams = {
            name: each.source for name, each in self._joins.items() if isinstance(each.source, StreamPositions)
        }

    def __len__(self) -> int:
        """Results that wait."""
        return sum(map(len, self._waiting.values()))

    @property
    def streams(self) -> Sequence[StreamPositions]:
        """Those that have a socket."""
        return list(self._streams.values())

    def held(self) -> dict[str, int]:
        """Results that wait, by source."""
        return {name: len(waiting) for name, waiting in self._waiting.items()}

    def opened(self, record: SeriesRecord) -> None:
        """A series was opened, or announced after its first images."""
        joins = self._joins.get(record.series.source)
        if joins is not None:
            record.position_units = joins.units
            for account in record.positions.values():
                account.asked_for = True
            joins.source.opened(record)

    def forget(self, record: SeriesRecord) -> None:
        """The account of a series is final."""
        joins = self._joins.get(record.series.source)
        if joins is not None:
            joins.source.forget(record.series.uid)

    def offer(self, results: Iterable[Finished], now_ns: int) -> list[Leaving]:
        """Results; those that may be published now: these, unless they are held, and older ones that they displace."""
        leaving: list[Leaving] = []
        for finished in results:
            name = finished.frame.record.series.source
            joins = self._joins.get(name)
            verdict = (self._header if joins is None else joins.source).position(finished.frame)
            if isinstance(verdict, Awaited):
                leaving += self._waiting[name].hold(finished, now_ns)
            else:
                leaving.append((finished, verdict))
        return leaving

    def decided(self, now_ns: int) -> Iterator[Leaving]:
        """Results that wait no longer."""
        for waiting in self._waiting.values():
            if waiting:
                yield from waiting.decided(now_ns)

    def give_up(self) -> Iterator[Leaving]:
        """All results that wait."""
        for waiting in self._waiting.values():
            yield from waiting.give_up()

    def asks(self, source: str) -> bool:
        """Whether it matters that the queue of this source's detector is empty."""
        stream = self._streams.get(source)
        return stream is not None and stream.asks

    def quiet(self, source: str) -> None:
        """The queue of this source's detector is empty, and positions were read before."""
        stream = self._streams.get(source)
        if stream is not None:
            stream.quiet()
