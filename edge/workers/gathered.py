"""One series whose frames several workers take: what each of them did with it, and which results left. Pure."""

from collections import Counter
from collections.abc import Sequence

from edge.pipeline.latency import LatencyHistogram
from edge.pipeline.record import SeriesRecord
from edge.workers.parts import Part, Peer, PublishedIds
from edge.workers.slots import Place
from streams.codecs.results import Result
from streams.ledger.series import Series


class Gathered:
    """One series."""

    def __init__(self, series: Series, routes: Sequence[str], order: int) -> None:
        self.series, self.order = series, order
        self.record = SeriesRecord(series, routes)
        self.packed = b""  # its start
        self.parts: dict[Peer, Part] = {}
        self.published: Counter[str] = Counter()
        self.latency = {route: LatencyHistogram() for route in routes}
        self.told_start: dict[str, bool] = {}  # by route that was told of it: whether as announced
        self.overtaken: set[int] | None = None  # workers that have told of no later series; None: there is none
        self.asked: dict[int, int] = {}  # by worker: the life that was told that it is closed
        self.moved_ns = 0  # when something of it came last
        self.doubtful = False  # another series has the same unique id, so some images may be of that one
        self._ids: dict[tuple[str, str], PublishedIds] = {}
        self._ids_of: dict[tuple[str, str, int], PublishedIds] = {}  # by worker, too, of those that record

    def part(self, place: Place) -> Part:
        """That of the process that is in a place."""
        found = self.parts.get((place.worker, place.life))
        if found is None:
            found = self.parts[place.worker, place.life] = Part(place.records)
        return found

    def first_result(self, place: Place, result: Result) -> bool:
        """Whether the image had none on this route."""
        key = (result.route, result.channel)
        ids = self._ids.get(key)
        if ids is None:
            ids = self._ids[key] = PublishedIds()
        first = ids.add(result.image_id)
        if first and place.records:
            self._published_by(place, result).add(result.image_id)
        return first

    def done_again(self, place: Place, result: Result) -> bool:
        """Whether the result that was published is of an earlier process of this place, whose work does not count."""
        return place.records and result.recovered and result.image_id in self._published_by(place, result)

    def _published_by(self, place: Place, result: Result) -> PublishedIds:
        return self._ids_of.setdefault((result.route, result.channel, place.worker), PublishedIds())
