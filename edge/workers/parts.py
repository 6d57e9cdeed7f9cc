"""What several workers did with one series, put together: their accounts, and which results were published. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from edge.pipeline.account import RouteAccount
from edge.pipeline.joined import PositionAccount

LOST = "worker_lost"
"""The reason of a frame that came to a worker and of which it told nothing more: it ended before as a rule."""

Peer: TypeAlias = tuple[int, int]
"""A process: the worker, and which of its lives."""

IDS = 4096
"""In one piece of a `PublishedIds`."""


class PublishedIds:
    """Ids of images. Unlike the ledger's it takes any pattern of them: a route may infer one in a hundred.

    Memory is one bit an id, in pieces of `IDS`: who asks about ids that the ledger has is bounded by it.
    """

    def __init__(self) -> None:
        self._pieces: dict[int, bytearray] = {}

    def add(self, image_id: int) -> bool:
        """Put one in; False where it was in already."""
        number, bit = divmod(image_id, IDS)
        piece = self._pieces.get(number)
        if piece is None:
            piece = self._pieces[number] = bytearray(IDS // 8)
        mask = 1 << (bit & 7)
        if piece[bit >> 3] & mask:
            return False
        piece[bit >> 3] |= mask
        return True

    def __contains__(self, image_id: int) -> bool:
        number, bit = divmod(image_id, IDS)
        piece = self._pieces.get(number)
        return piece is not None and bool(piece[bit >> 3] & (1 << (bit & 7)))


class Part:
    """What one process of a worker did with one series.

    Attributes:
        records: what it took in is on disk.
        final: it has nothing of the series in hand any more, and told its accounts.
        accounts, positions: by route, as it told them last.
        strays: by route: its results that are not published, for the image is of no account or came to another, too.
    """

    def __init__(self, records: bool = False) -> None:
        self.records = records
        self.final = False
        self.accounts: dict[str, Mapping[str, Any]] = {}
        self.positions: dict[str, Mapping[str, Any]] = {}
        self.strays: Counter[str] = Counter()

    def received(self, route: str) -> int:
        """Images of which it told, but for strays."""
        told = self.accounts.get(route)
        return 0 if told is None else told["received"] - self.strays[route]


def counting(parts: Mapping[Peer, Part], route: str) -> list[Part]:
    """The parts whose work on a route counts.

    A process whose predecessor recorded does all of the series again, unless all was done: of those one counts. That is
    one that told all where there is one, and of them the one that did most, and of them the last.
    """
    kept: dict[int, tuple[tuple[bool, int, int], Part]] = {}
    found: list[Part] = []
    for (worker, life), part in parts.items():
        if not part.records:
            found.append(part)
            continue
        rank = (part.final, part.received(route), life)
        if worker not in kept or rank > kept[worker][0]:
            kept[worker] = rank, part
    return found + [part for _, part in kept.values()]


def merged_account(parts: Iterable[Part], route: str, published: int, arrived: int) -> RouteAccount:
    """The account of a series on a route over all workers. It is balanced, whatever became of them.

    Args:
        parts: of all processes whose work counts.
        published: results of theirs that were published: that is known, and not what they told of it.
        arrived: images that came to them. What none has told of is `LOST`: its process ended before it had told all, or
            did not take it in, as it came after the start of another series.
    """
    found = RouteAccount()
    found.published = published
    for part in parts:
        if (told := part.accounts.get(route)) is None:
            continue
        found.received += told["received"] - part.strays[route]
        found.unwanted += told["unwanted"]
        found.dropped.update(told["dropped"])
        found.failed.update(told["failed"])
        found.unpublished.update(told["unpublished"])
    found.received = max(found.received, arrived)
    found.inferred = found.published + found.unpublished.total()
    rest = found.received - found.unwanted - found.dropped.total() - found.failed.total() - found.inferred
    if rest > 0:
        found.failed[LOST] += rest
    found.received -= min(rest, 0)
    return found


def account_so_far(parts: Iterable[Part], route: str) -> RouteAccount:
    """The same while work goes on: as the workers told it last, so a little old."""
    found = RouteAccount()
    for part in parts:
        if (told := part.accounts.get(route)) is None:
            continue
        for name in ("received", "unwanted", "in_flight", "inferred", "published"):
            setattr(found, name, getattr(found, name) + told[name])
        for name in ("dropped", "failed", "unpublished"):
            getattr(found, name).update(told[name])
    return found


def merged_positions(parts: Iterable[Part], route: str) -> PositionAccount:
    """How many results had positions, over all workers."""
    found = PositionAccount()
    for part in parts:
        if told := part.positions.get(route):
            found.asked_for = True
            found.joined += told["joined"]
            found.missing.update(told["missing"])
    return found
