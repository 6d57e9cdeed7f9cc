"""What the sender says does not exist: ids without an image, as of a pulse at which the camera took none.

A sender that says so of an image that comes is not believed in that channel: what it said there is forgotten, and
what did not come is missing again. So it is where several senders have a part of each exposure: each knows its own.
"""

from collections.abc import Iterable
from itertools import islice

from streams.ledger.intervals import Block, IntervalSet, blocks


class Absences:
    """Ids without an image, by channel. Their number of runs is bounded by the caller's `most`."""

    def __init__(self) -> None:
        self._ids: dict[str, IntervalSet] = {}
        self._given_up: dict[str, int] = {}  # by channel: how many lie in holes that were given up
        self._disbelieved: set[str] = set()

    def enter(self, channel: str, start: int, stop: int, seen: IntervalSet, most: int) -> None:
        """The sender has no image with the ids [start, stop), which is not empty; `seen` are those that came."""
        if channel in self._disbelieved:
            return
        if seen.holes(stop, None, start) != [(start, stop)]:
            self._disbelieve(channel)
            return
        ids = self._ids.setdefault(channel, IntervalSet())
        if ids.runs < most or start in ids or start - 1 in ids:  # beyond, what is absent is called missing
            ids.fill(start, stop)

    def came(self, channel: str, image_id: int) -> None:
        """An image came."""
        if self._ids and channel in self._ids and image_id in self._ids[channel]:
            self._disbelieve(channel)

    def _disbelieve(self, channel: str) -> None:
        self._disbelieved.add(channel)
        self._ids.pop(channel, None)

    def give_up(self, channel: str, start: int, stop: int) -> int:
        """The hole [start, stop) is not remembered any more; how many ids of it are absent."""
        count = self._ids[channel].drop(start, stop) if channel in self._ids else 0
        self._given_up[channel] = self._given_up.get(channel, 0) + count
        return count

    def runs(self, channel: str) -> int:
        """Memory is proportional to it."""
        return self._ids[channel].runs if channel in self._ids else 0

    def within(self, channel: str, start: int, stop: int) -> int:
        """How many of the ids [start, stop) are absent, less those of holes that were given up."""
        return self._ids[channel].within(start, stop) if channel in self._ids else 0

    def given_up(self, channel: str) -> int:
        """How many lie in holes that were given up."""
        return self._given_up.get(channel, 0)

    def total(self) -> int:
        """How many were told, wherever they lie."""
        return sum(map(len, self._ids.values())) + sum(self._given_up.values())

    def left(self, channel: str, holes: Iterable[tuple[int, int]], limit: int | None) -> list[tuple[int, int]]:
        """The first `limit` runs of ids of `holes` ([start, stop), in order) that are not absent."""
        ids = self._ids.get(channel)
        if ids is None:
            return list(islice(holes, limit))
        return list(islice((left for start, stop in holes for left in ids.holes(stop, None, start)), limit))

    def blocks(self) -> dict[str, list[Block]]:
        """The ids by channel; {} where some were given up."""
        told = {channel: blocks(ids.intervals()) for channel, ids in self._ids.items() if len(ids)}
        return {} if any(self._given_up.values()) else told
