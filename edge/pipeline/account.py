"""What became of every frame: the account of one series on one route, and the verdict on it.

    received = unwanted + dropped + failed + inferred + in_flight
    inferred = published + unpublished

Both hold at every moment, and each loss has a reason.
"""

from collections import Counter
from typing import Any

from edge.pipeline.latency import LatencyHistogram
from streams.ledger.lifecycle import ArrivalCounts


class RouteAccount:
    """One series on one route."""

    def __init__(self) -> None:
        self.received = 0
        self.unwanted = 0
        self.in_flight = 0
        self.inferred = 0
        self.published = 0
        self.dropped: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.unpublished: Counter[str] = Counter()
        self.latency = LatencyHistogram()

    def skip(self) -> None:
        """A frame arrived that the route does not want."""
        self.received += 1
        self.unwanted += 1

    def accept(self) -> None:
        """A frame arrived that the route wants."""
        self.received += 1
        self.in_flight += 1

    def decline(self) -> None:
        """An accepted frame is not wanted after all, by the result of the route before."""
        self.in_flight -= 1
        self.unwanted += 1

    def drop(self, reason: str) -> None:
        """We chose not to infer an accepted frame."""
        self.in_flight -= 1
        self.dropped[reason] += 1

    def fail(self, reason: str) -> None:
        """An accepted frame could not be inferred."""
        self.in_flight -= 1
        self.failed[reason] += 1

    def publish(self, *latencies_ns: int) -> None:
        """Accepted frames, one for each latency, were inferred and their results handed to the subscribers."""
        frames = len(latencies_ns)
        self.in_flight -= frames
        self.inferred += frames
        self.published += frames
        self.latency.add(*latencies_ns)

    def recall(self) -> None:
        """The result of an accepted frame was inferred by an earlier process, and handed to the subscribers again."""
        self.in_flight -= 1
        self.inferred += 1
        self.published += 1

    def withhold(self, reason: str) -> None:
        """An accepted frame was inferred but its result could not be published."""
        self.in_flight -= 1
        self.inferred += 1
        self.unpublished[reason] += 1

    @property
    def lost(self) -> int:
        """Wanted frames without a published result that are no longer in flight."""
        return self.dropped.total() + self.failed.total() + self.unpublished.total()

    @property
    def balanced(self) -> bool:
        """Whether both equations hold; anything else is a defect of this program."""
        settled = self.unwanted + self.dropped.total() + self.failed.total() + self.inferred
        return (
            self.received == settled + self.in_flight
            and self.inferred == self.published + self.unpublished.total()
            and self.in_flight >= 0
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for the wire."""
        return {
            "received": self.received,
            "unwanted": self.unwanted,
            "dropped": dict(self.dropped),
            "failed": dict(self.failed),
            "inferred": self.inferred,
            "published": self.published,
            "unpublished": dict(self.unpublished),
            "in_flight": self.in_flight,
        }


def verdict(arrivals: ArrivalCounts, account: RouteAccount, detector_dropped: int | None = None) -> str:
    """On a closed series: "complete", "incomplete", or "unknown" where nobody said how many were coming.

    A known loss is a loss even where the expected number is unknown; so is what the detector itself says it dropped.
    Where the number is known and every image came, its drops are none of this series.
    """
    if arrivals.missing or arrivals.refused or arrivals.late or arrivals.unexpected or account.lost:
        return "incomplete"
    if arrivals.expected is None:
        return "incomplete" if detector_dropped else "unknown"
    return "complete"
