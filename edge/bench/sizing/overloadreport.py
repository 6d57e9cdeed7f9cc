"""What `edge bench overload` leaves: figures and a table."""

from rich.table import Table

from edge.bench.sizing.accounts import total
from edge.bench.sizing.figures import Figure
from edge.bench.sizing.overload import SLOW, TIMES, Measured


def figures(measured: Measured) -> list[Figure]:
    """What is judged, and what was counted."""
    slow = measured.books[SLOW.name]
    others = [books for route, books in measured.books.items() if route != SLOW.name]
    dropped = slow.dropped.total()
    what = f"part of its images that route {SLOW.name} inferred; {1 / TIMES:g} is what its model takes"
    found = [
        Figure("overload_unaccounted", total(measured.books.values()), what="images of all routes that no account "
               "tells of, or that two do"),
        Figure("overload_others_complete", min(books.complete_share for books in others),
               what="part of their images that the other routes handed out results of"),
        Figure("overload_dropped", dropped, what=f"by route {SLOW.name}, by reason", more=dict(slow.dropped)),
        Figure("overload_slow_share", slow.complete_share, what=what),
        Figure("slots_leaked", measured.held.slots, what="slots that are not free at the end"),
        Figure("wrong", sum(books.wrong for books in others), what="results that are not those of their image"),
        Figure("frames", slow.sent, what="sent"),
        Figure("rate", measured.rate_hz, "Hz", what=f"frames a second, {TIMES} times what the slow route took"),
        Figure("duration", measured.seconds, "s"),
    ]  # fmt: skip
    for route, latency in measured.latency_ms.items():
        found += [Figure(f"latency_ms/{route}_{name}", value, "ms", what="of the last series")
                  for name, value in latency.items()]  # fmt: skip
    return found


def table(measured: Measured) -> Table:
    """For people."""
    made = Table("route", "when full", box=None, padding=(0, 2))
    for heading in ("sent", "results", "part", "dropped", "p50, ms", "p99, ms"):
        made.add_column(heading, justify="right")
    for route, books in measured.books.items():
        latency = measured.latency_ms.get(route, {})
        losses = ", ".join(f"{count} {why}" for why, count in books.losses().items()) or "none"
        percentiles = (f"{latency[name]:.1f}" if name in latency else "" for name in ("p50", "p99"))
        when = "drop_oldest" if route == SLOW.name else "block"
        made.add_row(
            route, when, str(books.sent), str(books.handed_out), f"{books.complete_share:.4f}", losses, *percentiles
        )
    return made
