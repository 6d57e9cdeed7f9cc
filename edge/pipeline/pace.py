"""A bound on what is published again at once: subscribers that keep up with a detector must not drown in its past.

The generic cell rate algorithm (ITU-T I.371): one number, the time at which the next one would be on schedule.
"""

NANOSECOND = 1_000_000_000
PER_S = 2_000
BYTES_PER_S = 64 << 20
"""Of small and of large results; a subscriber in Python takes several times as many."""

BURST_NS = 20_000_000
"""How far ahead of the schedule one may be."""


class Pace:
    """For one thread; all times are of the monotonic clock."""

    def __init__(self, per_s: float = PER_S, bytes_per_s: float = BYTES_PER_S) -> None:
        self._each_ns, self._byte_ns = NANOSECOND / per_s, NANOSECOND / bytes_per_s
        self._next_ns = 0.0

    def spend(self, nbytes: int, now_ns: int) -> None:
        """One of `nbytes` bytes was published."""
        self._next_ns = max(self._next_ns, now_ns) + max(self._each_ns, nbytes * self._byte_ns)

    def wait_ms(self, now_ns: int) -> int:
        """How long the next one has to wait; 0: not at all."""
        ahead_ns = self._next_ns - now_ns - BURST_NS
        return 0 if ahead_ns <= 0 else 1 + int(ahead_ns / 1e6)
