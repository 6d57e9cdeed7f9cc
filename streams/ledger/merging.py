"""The ledgers of N workers that share one stream, merged by image id: only together do they know what is missing.

A worker with a share claims nothing: what it did not get may be with the others. Merged, the ids of all workers show
what nobody got (missing), what two of them got (duplicates), a worker that is silent, and a stranger that takes a
part of the stream.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from streams.codecs.results import SeriesEnded
from streams.ledger.intervals import spread
from streams.ledger.shares import Share, read_share
from streams.ledger.strides import Suspicion, regular_holes

MAX_INTERVALS = 1 << 20
"""Intervals of one channel of one worker that are read."""

Interval = tuple[int, int]


class Merged(msgspec.Struct, frozen=True):
    """One series over all workers; `expected = received + missing + absent` where all are known."""

    series_id: int
    workers: int
    silent: tuple[int, ...]  # workers that told of no image of this series
    untold: tuple[int, ...]  # workers whose ids are not known: then nothing is called missing
    expected: int | None
    received: int  # distinct images
    absent: int | None  # images of which the sender told a worker that they do not exist
    missing: int | None  # images that no worker told of; a worker whose notice is not there told of none
    duplicate: int  # images that came again, to the same worker or to another
    between: int  # of these, those that came to another worker
    missing_ids: Mapping[str, list[Interval]]  # by channel, [start, stop)
    suspicion: Suspicion | None
    verdict: str  # "complete", "incomplete", "unknown"


def merge(parts: Sequence[SeriesEnded], *, numbered: bool = True) -> Merged:
    """The account of a series from what its workers published when they closed it, one notice each.

    A worker that did not get the start of a SIMPLON v1 series has a name of its own for it, so names are not compared.
    Where the stream has no series (not `numbered`) each worker's number is the time at which it opened its own: then
    it is for the caller to know that they belong together.

    Raises:
        ValueError: no notices, or notices of different series or shares, or of one worker twice, or of none.
    """
    by_worker = _by_worker(parts)
    if len({part.route for part in parts}) > 1 or (numbered and len({part.series_id for part in parts}) > 1):
        raise ValueError("notices of different series or routes cannot be merged")
    workers = max(share.of for share in by_worker)
    heard = {share.part: part for share, part in by_worker.items() if _count(part, "received")}
    untold = tuple(sorted(part for part, ended in heard.items() if not _told(ended)))
    channels = sorted({channel for part in parts for channel in part.intervals})
    images = next((part.arrivals["images"] for part in parts if part.arrivals.get("images") is not None), None)
    first = min((part.first_image for part in (heard or dict(enumerate(parts))).values()), default=0)
    received = between = missing = absent = 0
    holes: dict[str, list[Interval]] = {}
    for channel in channels:
        told = [spread(ended.intervals.get(channel, ()), MAX_INTERVALS) for ended in heard.values()]
        got = list(_union(told))
        distinct = _size(got)
        received += distinct
        between += sum(map(_size, told)) - distinct
        stop = first + images if images is not None else max((end for _, end in got), default=first)
        without = [spread(ended.absent.get(channel, ()), MAX_INTERVALS) for ended in parts]
        holes[channel] = list(_gaps(_union([got, *without]), first, stop))
        missing += _size(holes[channel])
        absent += _size(_gaps(got, first, stop)) - _size(holes[channel])
    expected = None if images is None else images * (len(channels) or 1)
    if not channels and images:  # it was announced without channels, and nothing came
        missing = images
    silent = tuple(number for number in range(1, workers + 1) if number not in heard)
    return Merged(
        series_id=parts[0].series_id,
        workers=workers,
        silent=silent,
        untold=untold,
        expected=expected,
        received=received,
        absent=None if untold else absent,
        missing=None if untold else missing,
        duplicate=between + sum(_count(part, "duplicate") for part in parts),
        between=between,
        missing_ids={} if untold else {channel: found for channel, found in holes.items() if found},
        suspicion=None if untold else _suspicion(holes, silent, workers),
        verdict=_verdict(parts, expected, None if untold else missing),
    )


def _by_worker(parts: Sequence[SeriesEnded]) -> dict[Share, SeriesEnded]:
    if not parts:
        raise ValueError("no notices to merge")
    found: dict[Share, SeriesEnded] = {}
    for part in parts:
        share = read_share(part.share)
        if share is None:
            raise ValueError(f"{part.source} has no share of a stream; set `share` of the source")
        if share in found:
            raise ValueError(f"two notices of worker {share}")
        found[share] = part
    if len({share.of for share in found}) > 1:
        raise ValueError(f"workers of different streams: {', '.join(map(str, found))}")
    return found


def _count(part: SeriesEnded, name: str) -> int:
    return part.arrivals.get(name) or 0


def _told(part: SeriesEnded) -> bool:
    """Whether its ids are all there: a notice leaves them out where they are too many."""
    told = (("received", part.intervals), ("absent", part.absent))
    return all(
        _count(part, name) == sum(length * count for blocks in ids.values() for _, length, _, count in blocks)
        for name, ids in told
    )


def _union(told: Iterable[Iterable[Interval]]) -> Iterator[Interval]:
    begin, end = 0, -1
    for start, stop in sorted(interval for intervals in told for interval in intervals):
        if start > end:
            if end > begin:
                yield begin, end
            begin, end = start, stop
        else:
            end = max(end, stop)
    if end > begin:
        yield begin, end


def _gaps(got: Iterable[Interval], first: int, stop: int) -> Iterator[Interval]:
    at = first
    for start, end in got:
        if min(start, stop) > at:
            yield at, min(start, stop)
        at = max(at, end)
    if stop > at:
        yield at, stop


def _size(intervals: Iterable[Interval]) -> int:
    return sum(stop - start for start, stop in intervals)


def _suspicion(holes: Mapping[str, list[Interval]], silent: tuple[int, ...], workers: int) -> Suspicion | None:
    found = next((one for one in map(regular_holes, holes.values()) if one is not None), None)
    if found is None or not silent:
        return found
    names = ", ".join(f"{number}/{workers}" for number in silent)
    return msgspec.structs.replace(found, text=f"{found.text.partition(':')[0]}: worker {names} told of none")


def _verdict(parts: Sequence[SeriesEnded], expected: int | None, missing: int | None) -> str:
    if missing or any(part.verdict == "incomplete" for part in parts):
        return "incomplete"
    return "unknown" if expected is None or missing is None else "complete"
