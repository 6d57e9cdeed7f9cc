"""Figures, the bars that they are held against, and what of them is in rows: no clock, no process."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edge.bench.rows import Row


@dataclass(frozen=True)
class Bar:
    """What is promised of a figure."""

    limit: float
    side: Literal["at least", "at most"]

    def kept(self, value: float) -> bool:
        """Whether it is; not by what is no number."""
        return value >= self.limit if self.side == "at least" else value <= self.limit

    def __str__(self) -> str:
        return f"{self.side} {self.limit:g}"


BARS: Mapping[str, Bar] = {
    "ingest_128_v1": Bar(0.5, "at least"),
    "ingest_128_v2": Bar(0.5, "at least"),
    "ingest_2048_v1": Bar(0.8, "at least"),
    "ingest_2048_v2": Bar(0.8, "at least"),
    "ingest_bslz4": Bar(0.65, "at least"),
    "pipeline_cpu_us_ratio": Bar(4.0, "at most"),
    "pipeline_ptycho_ratio": Bar(0.85, "at least"),
    "latency_p50_extra_ms": Bar(1.0, "at most"),
    "latency_p99_extra_ms": Bar(5.0, "at most"),
    "copies_per_frame": Bar(1.0, "at most"),
    "memory_growth_ratio": Bar(1.05, "at most"),
    "slots_leaked": Bar(0.0, "at most"),
    "unaccounted": Bar(0.0, "at most"),
    "wrong": Bar(0.0, "at most"),
    "overload_unaccounted": Bar(0.0, "at most"),
    "overload_others_complete": Bar(1.0, "at least"),
}
"""By the names of rows."""


@dataclass(frozen=True)
class Figure:
    """One number, and what a row says of it.

    `spread` is (least, greatest) of the rounds that the value is the median of, None where there was one of them.
    """

    name: str
    value: float
    unit: str = "1"
    spread: tuple[float, float] | None = None
    what: str = ""
    more: Mapping[str, Any] | None = None  # plain types

    @property
    def bar(self) -> Bar | None:
        """What is promised of it."""
        return BARS.get(self.name)

    @property
    def missed(self) -> bool:
        """Whether it breaks its promise."""
        return self.bar is not None and not self.bar.kept(self.value)

    def row(self) -> Row:
        """In the common form."""
        told: dict[str, Any] = {"what": self.what} if self.what else {}
        if self.bar is not None:
            told["bar"] = str(self.bar)
        return Row(self.name, self.value, self.unit, self.spread, told | dict(self.more or {}) or None)


def median_of(name: str, values: Sequence[float], unit: str = "1", what: str = "", **more: Any) -> Figure:
    """The median of rounds, with their spread.

    Raises:
        ValueError: there is none.
    """
    if not values:
        raise ValueError(f"{name}: no round was measured")
    spread = (min(values), max(values))
    told = {"rounds": [round(value, 6) for value in values], **more}
    return Figure(name, statistics.median(values), unit, spread, what, told)


def ratio_of(name: str, above: Sequence[float], below: Sequence[float], what: str = "", **more: Any) -> Figure:
    """The median of the rounds' ratios `above` / `below`: each round has both, measured one after the other.

    Raises:
        ValueError: one has more rounds than the other, or there is none.
    """
    return median_of(name, [one / other for one, other in zip(above, below, strict=True)], "1", what, **more)


def missed(figures: Sequence[Figure]) -> list[str]:
    """What is wrong, a sentence each; empty where every bar is kept."""
    return [f"{one.name} is {one.value:.4g}, {one.bar} is promised" for one in figures if one.missed]
