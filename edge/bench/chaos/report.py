"""What `edge bench chaos` leaves: a table of its rows, bars, and rows in the common form."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich.table import Table

from edge.bench.chaos.judging import Judged
from edge.bench.chaos.run import Measured
from edge.bench.chaos.striking import Struck
from edge.bench.chaos.table import ROWS
from edge.bench.rows import Row, Value


class Bar(NamedTuple):
    """What is promised of a number."""

    name: str
    at_most: float
    unit: str
    detail: str


BARS = (
    Bar("unaccounted", 0, "1", "images sent without a result in the files or at the subscriber, and without a reason"),
    Bar("duplicates", 0, "1", "results too many in the files, or handed out"),
    Bar("wrong", 0, "1", "results that are not those of their image"),
    Bar("beyond_table", 0, "1", "images lost, with a reason, where the failure table says that none is lost for it"),
    Bar("manual_steps", 0, "1", "rows after which somebody had to start the system anew"),
    Bar("recovery_p99_s", 10.0, "s", "from the fault, or from its end where it lasts"),
    Bar("memory_growth_ratio", 1.05, "1", "memory after recoveries: median of the last fifth over that of the first"),
)


def numbers(measured: Measured) -> dict[str, Value]:
    """What the bars are held against, by name."""
    found = [one.recovery_s for one in measured.struck if one.recovery_s is not None]
    judged = measured.judged
    return {
        "unaccounted": judged.unaccounted,
        "duplicates": judged.duplicates,
        "wrong": judged.wrong,
        "beyond_table": sum(measured.beyond.values()),
        "manual_steps": measured.manual_steps,
        "recovery_p99_s": round(float(np.percentile(found, 99)), 2) if found else None,
        "memory_growth_ratio": round(measured.growth, 4) if measured.growth is not None else None,
    }


def rows(measured: Measured) -> list[Row]:
    """All that was measured."""
    held = numbers(measured)
    judged = measured.judged
    found = [Row(bar.name, held[bar.name], bar.unit, None, {"bar": bar.at_most, "what": bar.detail}) for bar in BARS]
    counts: dict[str, tuple[Value, str, str | None]] = {
        "faults": (len(measured.struck), "1", None),
        "series": (measured.series, "1", None),
        "results_due": (judged.frames, "1", "images sent, on every route"),
        "results": (judged.results, "1", "in the files once and handed out once"),
        "undelivered": (judged.undelivered, "1", "in the files and not handed out"),
        "subscriber_lost": (measured.told_lost, "1", "results that the subscriber counts as lost"),
        "repeats": (measured.repeats, "1", "results that came again and that the subscriber kept back"),
        "agent_points": (measured.agent_points, "1", "suggested, measured and taken"),
        "agent_failures": (len(measured.agent_failures), "1", "; ".join(measured.agent_failures[:3]) or None),
        "unsettled": (measured.unsettled, "1", "series judged as they were after a minute"),
        "capacity": (round(measured.capacity_hz, 1), "Hz", "images a second on all routes, the detector never waiting"),
        "rate": (round(measured.rate_hz, 1), "Hz", measured.origin),
        "duration": (round(measured.seconds, 1), "s", None),
        "stop": (round(measured.stop_s, 2), "s", "until everything had ended as asked"),
    }
    found += [Row(name, value, unit, None, detail) for name, (value, unit, detail) in counts.items()]
    found += [Row(f"lost/{reason}", count, "1") for reason, count in sorted(judged.lost.items())]
    looks = [sum(look.values()) / 2**20 for look in measured.memory]
    if looks:
        median, spread = round(float(np.median(looks)), 1), (min(looks), max(looks))
        found.append(Row("memory", median, "MiB", spread, _memory(measured)))
    for row in ROWS:
        found += _of_row(row.name, [one for one in measured.struck if one.row == row.name], measured)
    return found


def _memory(measured: Measured) -> dict[str, list[float]]:
    """Medians in MiB of the first and of the last fifth, by what holds them."""
    both = measured.early_and_late
    roles = sorted({role for looks in both for look in looks for role in look})
    return {
        role: [round(float(np.median([look.get(role, 0) / 2**20 for look in looks])), 1) for looks in both]
        for role in roles
    }


def _of_row(name: str, struck: Sequence[Struck], measured: Measured) -> list[Row]:
    if not struck:
        return [Row(f"recovery/{name}", None, "s", None, measured.skipped.get(name, "not drawn"))]
    seconds = [one.recovery_s for one in struck if one.recovery_s is not None]
    detail = {
        "times": len(struck),
        "by_hand": len(struck) - len(seconds),
        "lost": dict(measured.by_row.get(name, Judged()).lost),
        "slowest awaited": max(struck, key=lambda one: one.recovery_s or np.inf).reason,
    }
    median = round(float(np.median(seconds)), 2) if seconds else None
    return [Row(f"recovery/{name}", median, "s", (min(seconds), max(seconds)) if seconds else None, detail)]


def table(measured: Measured) -> Table:
    """For people."""
    made = Table("failure", "times", "recovered after, s", "worst", "lost, by reason", box=None, padding=(0, 2))
    for row in ROWS:
        struck = [one for one in measured.struck if one.row == row.name]
        if not struck:
            made.add_row(row.name, "0", "", "", measured.skipped.get(row.name, ""))
            continue
        seconds = [one.recovery_s for one in struck if one.recovery_s is not None]
        by_hand = len(struck) - len(seconds)
        lost = measured.by_row.get(row.name, Judged()).lost
        told = ", ".join(f"{count} {reason}" for reason, count in lost.items())
        made.add_row(
            row.name,
            str(len(struck)),
            f"{np.median(seconds):.1f}" if seconds else "",
            f"{max(seconds):.1f}" if not by_hand else f"[bold]by hand {by_hand}[/]",
            told or "nothing",
        )
    return made


def summary(measured: Measured) -> list[str]:
    """What belongs below the table."""
    held, judged = numbers(measured), measured.judged
    lines = [
        f"{measured.origin}; {measured.rate_hz:.0f} images a second, 70 % of {measured.capacity_hz:.0f}; "
        f"{len(measured.struck)} faults in {measured.seconds / 60:.1f} min",
        f"{judged.frames} results due in {measured.series} series: {judged.results} in the files once and handed out "
        f"once, {judged.lost.total()} lost with a reason",
    ]
    parts = (f"{role} {early:.0f} to {late:.0f}" for role, (early, late) in _memory(measured).items())
    lines.append(f"memory in MiB, early to late: {', '.join(parts) or 'too short a run'}")
    for bar in BARS:
        value = held[bar.name]
        kept = "kept" if _kept(value, bar) else "MISSED"
        lines.append(
            f"{bar.name:20} {value if value is not None else 'too short a run':>8}   at most {bar.at_most:g}  {kept}"
        )
    return lines


def failures(measured: Measured) -> list[str]:
    """Why the promise is not kept; empty where it is."""
    held = numbers(measured)
    found = [
        f"{bar.name} is {held[bar.name]}, at most {bar.at_most:g}" for bar in BARS if not _kept(held[bar.name], bar)
    ]
    found += measured.judged.examples[:5]
    found += [f"{count} lost under {what}" for what, count in measured.beyond.items()][:5]
    found += [f"{one.row} did not recover: {one.reason}" for one in measured.struck if one.recovery_s is None][:5]
    found += measured.agent_failures[:3]
    return [*found, *([measured.broken] if measured.broken else [])]


def _kept(value: Value, bar: Bar) -> bool:
    """Whether it is; a number that a short run does not have is no failure."""
    return value is None or (isinstance(value, int | float) and value <= bar.at_most)
