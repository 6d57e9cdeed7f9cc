"""Running totals of the data plane: plain numbers that its one thread writes and /metrics reads."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

LATENCY_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
BATCH_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class Tally:
    """A cumulative histogram as Prometheus wants it: counts by upper bound, and the sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, *values: float) -> None:
        bounds, counts = self.bounds, self.counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self.sum += sum(values)

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, values at or below it), ending with "+Inf"."""
        rows: list[tuple[str, float]] = []
        running = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), list(self.counts), strict=True):
            running += count
            rows.append((bound, running))
        return rows


@dataclass
class Totals:
    """Counters by label values. No label names a series: their number is not bounded."""

    messages: Counter[str] = field(default_factory=Counter)  # source
    malformed: Counter[tuple[str, str]] = field(default_factory=Counter)  # source, reason
    arrivals: Counter[tuple[str, str]] = field(default_factory=Counter)  # source, streams.ledger.series.Arrival
    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # route, outcome, reason
    retries: Counter[tuple[str, str]] = field(default_factory=Counter)  # route, error kind
    series: Counter[tuple[str, str]] = field(default_factory=Counter)  # route, verdict
    not_logged: Counter[str] = field(default_factory=Counter)  # route; published results that are in no result file
    untrained: Counter[str] = field(default_factory=Counter)  # route; published results so labelled
    recovered: Counter[str] = field(default_factory=Counter)  # source; messages taken from a capture
    recalled: Counter[str] = field(default_factory=Counter)  # route; logged results that were published again
    not_recorded: Counter[str] = field(default_factory=Counter)  # source; messages that are in no capture
    images_copied: dict[str, int] = field(default_factory=dict)  # source; once more, for a region or binning
    modules_missing: dict[str, int] = field(default_factory=dict)  # source; filled with flags
    suspicions: Counter[str] = field(default_factory=Counter)  # source; series that a second consumer took part of
    detector_dropped: Counter[str] = field(default_factory=Counter)  # source; images of closed series, as it says
    positions_missing: Counter[tuple[str, str]] = field(default_factory=Counter)  # source, reason
    position_messages: Counter[tuple[str, str]] = field(default_factory=Counter)  # source; read, unclaimed or why not
    held: dict[str, int] = field(default_factory=dict)  # source; results that wait for their position
    refused_requests: int = 0
    http_refused: Counter[str] = field(default_factory=Counter)  # reason; written by the HTTP server's threads
    connections_refused: Counter[tuple[str, str]] = field(default_factory=Counter)  # socket, reason
    peers: dict[str, int] = field(default_factory=dict)  # source; connections
    subscribers: int = 0  # that gave their name and are present
    ready: bool = False  # a detector may be armed
    latency: dict[str, Tally] = field(default_factory=dict)  # route
    batches: dict[str, Tally] = field(default_factory=dict)  # route
    waiting: dict[str, int] = field(default_factory=dict)  # route
    requests_in_flight: dict[str, int] = field(default_factory=dict)  # route
    slots: dict[tuple[str, str], int] = field(default_factory=dict)  # source, free or taken
    server_ready: bool = False
    server_epoch: int = 0

    def observe_latency(self, route: str, *seconds: float) -> None:
        """Frames from received to published."""
        if route not in self.latency:
            self.latency[route] = Tally(LATENCY_BOUNDS_S)
        self.latency[route].add(*seconds)

    def observe_batch(self, route: str, frames: int) -> None:
        """One request sent."""
        if route not in self.batches:
            self.batches[route] = Tally(BATCH_BOUNDS)
        self.batches[route].add(frames)
