"""What is known of every source on every route, from notices and scraped counters. Pure: it is told the time."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.pipeline.latency import LatencyHistogram
from streams.codecs.results import Notice, Result, SeriesEnded, SeriesStarted

RATE_OVER_S = 2.0
SHOWN_VALUES = 4
"""An array with so many elements or fewer is shown whole, a larger one by its mean."""

SHOWN_HOLES = 4

REASONS = {
    "end": "",
    "grace_over": "it ended, and awaited images did not come",
    "superseded": "another series began before an end of this one came",
    "idle": "closed after silence, no end came",
    "shutdown": "edge serve was stopped",
}
"""Why a series was closed (`streams.ledger.lifecycle.CloseReason`), in words."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass
class Open:
    """A series that is not closed yet."""

    series_id: int
    expected: int | None
    published: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    untrained: tuple[str, ...] = ()  # of the newest result, and before one came of the start


@dataclass(frozen=True)
class Row:
    """One line of the table; None: not known."""

    source: str
    route: str
    series_id: int
    open: bool
    received: int | None
    expected: int | None
    published: int
    missing: int | None  # known when the series is closed
    lost: int  # received and wanted, but without a result
    rate_hz: float
    latency_ms: tuple[float, float] | None  # p50, p99
    values: str  # of the newest result
    verdicts: Mapping[str, int]  # of closed series
    untrained: tuple[str, ...] = ()  # why the images are outside of what the model was trained for


class Lane:
    """One source on one route."""

    def __init__(self) -> None:
        self.open: dict[str, Open] = {}  # by unique id, the newest last
        self.last: SeriesEnded | None = None
        self.verdicts: Counter[str] = Counter()
        self.newest: Arrays = {}
        self.published = 0
        self._samples: deque[tuple[float, int]] = deque([(0.0, 0)])  # when, results so far

    def take(self, notice: Notice, arrays: Arrays) -> None:
        """Enter a notice."""
        if isinstance(notice, SeriesStarted):
            one = self.open.setdefault(notice.series_uid, Open(notice.series_id, notice.expected))
            one.expected, one.untrained = notice.expected, notice.untrained
        elif isinstance(notice, Result):
            one = self.open.setdefault(notice.series_uid, Open(notice.series_id, None))
            one.published += 1
            one.untrained = notice.untrained
            one.latency.add(max(0, notice.published_ns - notice.received_ns))
            self.published += 1
            self.newest = arrays
        elif isinstance(notice, SeriesEnded):
            self.open.pop(notice.series_uid, None)
            self.last = notice
            self.verdicts[notice.verdict] += 1

    def rate_hz(self, now: float) -> float:
        """Results a second over the last `RATE_OVER_S` or so; call it regularly."""
        self._samples.append((now, self.published))
        while len(self._samples) > 2 and now - self._samples[1][0] > RATE_OVER_S:
            self._samples.popleft()
        then, before = self._samples[0]
        return (self.published - before) / (now - then) if now > then else 0.0


class Board:
    """All lanes, and the counters of arrivals."""

    def __init__(self) -> None:
        self.lanes: dict[tuple[str, str], Lane] = {}  # by source and route
        self._arrived: dict[str, int] = {}  # frames of each source since the start, as scraped
        self._settled: Counter[str] = Counter()  # of which in closed series
        self._counted: deque[tuple[str, str]] = deque(maxlen=256)  # source and series that are in `_settled`
        self._unread: dict[tuple[str, str], int] = {}  # messages by source and reason, as scraped

    @property
    def troubles(self) -> list[str]:
        """What no series tells of, for it never became one: messages that could not be read."""
        counts = Counter[str]()
        reasons: dict[str, list[str]] = {}
        for (source, reason), count in sorted(self._unread.items()):
            counts[source] += count
            reasons.setdefault(source, []).append(f"{count} {reason}")
        return [
            f"{source}: {counts[source]} messages could not be read ({', '.join(said)}); is its protocol right?"
            for source, said in reasons.items()
        ]

    @property
    def incomplete(self) -> int:
        """Closed series with a loss."""
        return sum(lane.verdicts["incomplete"] for lane in self.lanes.values())

    def take(self, notice: Notice, arrays: Arrays) -> None:
        """Enter what a subscriber handed out."""
        if not isinstance(notice, SeriesStarted | Result | SeriesEnded):
            return
        self.lanes.setdefault((notice.source, notice.route), Lane()).take(notice, arrays)
        if isinstance(notice, SeriesEnded) and (notice.source, notice.series_uid) not in self._counted:
            self._counted.append((notice.source, notice.series_uid))  # once, however many routes tell
            self._settled[notice.source] += notice.arrivals["received"] or 0

    def arrived(self, counters: Mapping[str, int]) -> None:
        """New frames of each source since its start, from /metrics."""
        self._arrived.update(counters)

    def unread(self, counters: Mapping[tuple[str, str], int]) -> None:
        """Messages that could not be read since the start, by source and reason, from /metrics."""
        self._unread.update(counters)

    def rows(self, now: float) -> list[Row]:
        """The table, in the order of source and route."""
        return [self._row(source, route, lane, now) for (source, route), lane in sorted(self.lanes.items())]

    def _row(self, source: str, route: str, lane: Lane, now: float) -> Row:
        common: dict[str, Any] = {
            "source": source,
            "route": route,
            "rate_hz": lane.rate_hz(now),
            "values": shown(lane.newest),
            "verdicts": dict(lane.verdicts),
        }
        if lane.open:
            one = next(reversed(lane.open.values()))
            latency = (one.latency.percentile_ns(50) / 1e6, one.latency.percentile_ns(99) / 1e6)
            return Row(
                series_id=one.series_id,
                open=True,
                received=self._received_so_far(source),
                expected=one.expected,
                published=one.published,
                missing=None,
                lost=0,
                latency_ms=latency if one.published else None,
                untrained=one.untrained,
                **common,
            )
        assert lane.last is not None  # a lane exists since a notice of it came
        return _closed_row(lane.last, common)

    def _received_so_far(self, source: str) -> int | None:
        """Frames of the open series: what arrived and is in no closed one."""
        arrived = self._arrived.get(source)
        return None if arrived is None else max(0, arrived - self._settled[source])


def _closed_row(ended: SeriesEnded, common: dict[str, Any]) -> Row:
    latency = ended.latency_ms
    return Row(
        series_id=ended.series_id,
        open=False,
        received=ended.arrivals["received"],
        expected=ended.arrivals["expected"],
        published=ended.account["published"],
        missing=ended.arrivals["missing"],
        lost=lost(ended),
        latency_ms=(latency["p50"], latency["p99"]) if latency else None,
        untrained=ended.untrained,
        **common,
    )


def lost(ended: SeriesEnded) -> int:
    """Frames that arrived, were wanted, and have no published result."""
    return sum(sum(ended.account[outcome].values()) for outcome in ("dropped", "failed", "unpublished"))


def shown(arrays: Arrays) -> str:
    """The values of a result: small arrays whole; where there are none, the means of the others."""
    small = {name: np.ravel(array) for name, array in arrays.items() if 0 < np.size(array) <= SHOWN_VALUES}
    if small:
        return ", ".join(f"{name} {' '.join(f'{value:.6g}' for value in values)}" for name, values in small.items())
    means = {name: float(np.mean(array, dtype=np.float64)) for name, array in arrays.items() if np.size(array)}
    return ", ".join(f"mean {name} {mean:.4g}" for name, mean in means.items())


def plain(ended: SeriesEnded) -> dict[str, Any]:
    """A closed series in plain types, for JSON: what the notice says, less what only the wire needs."""
    return {name: value for name, value in msgspec.to_builtins(ended).items() if name not in ("origin", "seq", "v")}


def closing_line(ended: SeriesEnded) -> str:
    """A closed series in one line of text."""
    arrivals, account = ended.arrivals, ended.account
    expected = "?" if arrivals["expected"] is None else arrivals["expected"]
    said = [f"{arrivals['received']} of {expected} images", f"{account['published']} results"]
    for outcome in ("dropped", "failed", "unpublished"):
        said += [f"{count} {outcome} ({reason})" for reason, count in account[outcome].items()]
    said += [f"{account['unwanted']} not for this route"] if account.get("unwanted") else []
    said += [_missing(ended)] if arrivals["missing"] else []
    said += [f"p50 {ended.latency_ms['p50']:.1f} ms, p99 {ended.latency_ms['p99']:.1f} ms"] if ended.latency_ms else []
    why = REASONS.get(ended.reason, ended.reason)
    untrained = f"untrained: {', '.join(ended.untrained)}" if ended.untrained else ""
    remarks = [text for text in (why, ended.suspicion.text if ended.suspicion else "", untrained) if text]
    head = f"series {ended.series_id} of {ended.source} on {ended.route}: {ended.verdict}"
    return "; ".join([f"{head}, {', '.join(said)}", *remarks])


def _missing(ended: SeriesEnded) -> str:
    """How many images are missing, the first of them, and what the detector says to that."""
    several = len(ended.missing) > 1
    holes = [
        (f"{channel} " if several else "") + (f"{start}" if stop == start + 1 else f"{start} to {stop - 1}")
        for channel, runs in ended.missing.items()
        for start, stop in runs
    ]
    more = ", ..." if len(holes) > SHOWN_HOLES else ""
    said = f"{ended.arrivals['missing']} missing" + (f" ({', '.join(holes[:SHOWN_HOLES])}{more})" if holes else "")
    if ended.reconciled:
        where = ended.reconciled
        said += f" of which {where.explained} dropped by the detector, {where.lost} lost on the way or never taken"
    return said
