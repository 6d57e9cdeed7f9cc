"""When a recorded series needs nothing more: its results are in their files, and had time to reach the subscribers."""

from collections.abc import Iterator

from streams.codecs.results import SeriesEnded
from streams.recording.segments import Place

SETTLE_NS = 2_000_000_000
"""How long after its end a series may still be on its way in ZeroMQ's queues, should this process be killed."""


MOST_CLOSING = 1024
"""Series that are waited for. Where the disk of the results refuses, none is ever done: then the oldest is given up,
and a recovery begins behind it."""


class _Closing:
    def __init__(self, routes: set[str], due_ns: int, place: Place | None) -> None:
        self.routes = routes  # whose logs are not whole yet
        self.due_ns = due_ns
        self.place = place


class Settling:
    """Series of one source between their end and the mark in the capture that they are done."""

    def __init__(self) -> None:
        self._closing: dict[str, _Closing] = {}

    def __iter__(self) -> Iterator[str]:
        """Unique ids of the series that are not settled."""
        return iter(list(self._closing))

    def places(self) -> list[Place]:
        """Where their first messages stand in the capture."""
        return [closing.place for closing in self._closing.values() if closing.place is not None]

    def close(self, uid: str, routes: set[str], now_ns: int, place: Place | None = None) -> None:
        """The account of a series was published; its results are to be kept in files for `routes`."""
        self._closing[uid] = _Closing(set(routes), now_ns + SETTLE_NS, place)
        if len(self._closing) > MOST_CLOSING:
            del self._closing[next(iter(self._closing))]

    def logged(self, ended: SeriesEnded) -> None:
        """The results of one route are in their log."""
        closing = self._closing.get(ended.series_uid)
        if closing is not None:
            closing.routes.discard(ended.route)

    def pop_settled(self, now_ns: int) -> list[tuple[str, Place | None]]:
        """Those that are done now, and where their first messages stand."""
        done = [uid for uid, closing in self._closing.items() if not closing.routes and now_ns >= closing.due_ns]
        return [(uid, self._closing.pop(uid).place) for uid in done]
