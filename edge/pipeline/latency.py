"""Latency percentiles in constant memory: a histogram with logarithmic buckets."""

import math

BUCKETS_PER_DECADE = 120
"""Buckets 1.9 % wide: a percentile is right to within that."""

SMALLEST_NS = 1_000
DECADES = 9  # 1 us to 1000 s
LAST = BUCKETS_PER_DECADE * DECADES


class LatencyHistogram:
    """Counts of latencies by bucket; values beyond the ends are kept in the end buckets."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._total = 0
        self.max_ns = 0

    def add(self, *latencies_ns: int) -> None:
        """Count latencies."""
        counts, log10 = self._counts, math.log10
        for latency_ns in latencies_ns:
            bucket = 0
            if latency_ns > SMALLEST_NS:
                bucket = int(log10(latency_ns / SMALLEST_NS) * BUCKETS_PER_DECADE)
                bucket = bucket if bucket < LAST else LAST
            counts[bucket] = counts.get(bucket, 0) + 1
        self._total += len(latencies_ns)
        self.max_ns = max((self.max_ns, *latencies_ns))

    def percentile_ns(self, percent: float) -> float:
        """The latency that `percent` of all do not exceed (middle of its bucket); NaN without any."""
        if not self._total:
            return math.nan
        wanted = math.ceil(self._total * percent / 100)
        seen = bucket = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= wanted:
                break
        return min(SMALLEST_NS * 10 ** ((bucket + 0.5) / BUCKETS_PER_DECADE), float(self.max_ns))

    def summary_ms(self) -> dict[str, float]:
        """p50, p99 and max in milliseconds; empty without any."""
        if not self._total:
            return {}
        return {
            "p50": self.percentile_ns(50) / 1e6,
            "p99": self.percentile_ns(99) / 1e6,
            "max": self.max_ns / 1e6,
        }
