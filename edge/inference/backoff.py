"""How long to wait before the next start of a server that keeps dying. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Doubles from `first_s` to `longest_s`; `jitter` spreads many clients of one server apart."""

    first_s: float = 0.1
    longest_s: float = 4.0
    jitter: float = 0.25
    """Largest part by which a delay is shortened or lengthened."""
    stable_s: float = 10.0
    """A server that served for this long starts the schedule anew."""

    def delay_s(self, failures: int, chance: float) -> float:
        """Seconds to wait after `failures` (from 1) failures in a row; `chance` is uniform in [0, 1)."""
        doubled = self.first_s * 2.0 ** min(failures - 1, 62)
        return min(doubled, self.longest_s) * (1.0 + self.jitter * (2.0 * chance - 1.0))

    def failures_after(self, failures: int, served_s: float) -> int:
        """Failures in a row, one more for a server that died after `served_s` seconds."""
        return 1 if served_s >= self.stable_s else failures + 1
