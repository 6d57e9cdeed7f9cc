"""Ends of series as the subscriber's process tells them."""

from typing import Any

from edge.bench.sizing.listening import Heard


def heard(sent: int = 10, results: int | None = None, missing: int = 0, lost: int = 0, **account: Any) -> Heard:
    """A series of `sent` images; without `account` all that arrived were published."""
    losses = {kind: account.get(kind, {}) for kind in ("dropped", "failed", "unpublished")}
    settled = sum(sum(reasons.values()) for reasons in losses.values())
    published = account.get("published", sent - missing - settled - account.get("unwanted", 0))
    return Heard(
        route="identity",
        series_id=1,
        series_uid="sizing-1",
        verdict="complete",
        reason="end",
        arrivals={"missing": missing},
        account={"unwanted": account.get("unwanted", 0), "published": published, **losses},
        latency_ms={"p50": 1.0, "p99": 2.0, "max": 3.0},
        results=published if results is None else results,
        timed=8,
        cpu_s=0.1,
        wall_s=0.2,
        checked=3,
        wrong=0,
        lost=lost,
        repeats=0,
    )
