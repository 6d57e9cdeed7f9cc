"""What `edge bench pause` leaves: a table, a verdict, and rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from edge.bench.activity import ACTIVITIES
from edge.bench.heartbeat import PERIOD_S
from edge.bench.pause import Measured
from edge.bench.pauser import Pause
from edge.bench.rows import Row, machine


def numbers(measured: Measured, limit_ms: float, loads: Sequence[float]) -> dict[str, Any]:
    """All that was measured, by name; `loads` are the machine's load averages before and after."""
    pauses = measured.pauses
    series = [one for run in measured.runs for one in run.series]
    worst = max(pauses, key=lambda one: one.from_due_s, default=None)
    return {
        "pauses": len(pauses),
        "limit_ms": limit_ms,
        "over_limit": sum(1e3 * one.from_due_s > limit_ms for one in pauses),
        "honoured_ms": {
            "all": latency_ms([one.from_due_s for one in pauses]),
            "from_call": latency_ms([one.from_call_s for one in pauses]),
            **{
                activity: latency_ms([one.from_due_s for one in pauses if one.doing == activity])
                for activity in ACTIVITIES
            },
            "agent trains": latency_ms([one.from_due_s for one in pauses if one.learning]),
            "agent does not train": latency_ms([one.from_due_s for one in pauses if not one.learning]),
        },
        "worst": described(worst) if worst else None,
        "stall_ms": 1e3 * (measured.stall_s - PERIOD_S),
        "stall_at_s": measured.stall_at_s,
        "runs": len(measured.runs),
        "points": sum(run.points for run in measured.runs),
        "observations": sum(run.observations for run in measured.runs),
        "rejected": sum(run.rejected for run in measured.runs),
        "images": sum(one.images for one in series),
        "ledger_complete": bool(series) and all(one.verdict == "complete" for one in series),
        "problems": [problem for run in measured.runs for problem in run.problems],
        "seconds": measured.seconds,
        "machine": machine() | {"loads": list(loads)},
        "each": [described(one) for one in pauses],
    }


def rows(outcome: Mapping[str, Any]) -> list[Row]:
    """The same as rows; of latencies the value is the median, the spread reaches from it to the longest."""
    found = [
        Row(
            f"pause/{name}",
            one["p50"],
            "ms",
            (one["p50"], one["max"]) if one["count"] else None,
            {"spread": "median to longest", **one},
        )
        for name, one in outcome["honoured_ms"].items()
    ]
    counts = ("pauses", "over_limit", "runs", "points", "observations", "rejected", "images")
    found += [Row(name, outcome[name], "1") for name in counts]
    found += [
        Row("limit", outcome["limit_ms"], "ms", detail="the bar for each pause"),
        Row("worst", outcome["worst"] and outcome["worst"]["ms"], "ms", detail=outcome["worst"]),
        Row("stall", outcome["stall_ms"], "ms", detail={"of": "the RunEngine's loop", "at_s": outcome["stall_at_s"]}),
        Row("ledger_complete", outcome["ledger_complete"]),
        Row("problems", len(outcome["problems"]), "1", detail=outcome["problems"]),
        Row("duration", outcome["seconds"], "s"),
        Row("load_before", outcome["machine"]["loads"][0], detail="load average of a minute"),
        Row("each", len(outcome["each"]), "1", detail=outcome["each"]),
    ]
    return found


def table(outcome: Mapping[str, Any]) -> Table:
    """The same for people."""
    rows = Table("pause honoured after", "pauses", "p50", "p95", "p99", "max, ms", box=None, padding=(0, 2))
    labels = {"all": "[bold]all, from when it was due[/]", "from_call": "all, from request_pause"}
    for name, found in outcome["honoured_ms"].items():
        if found["count"]:
            figures = (f"{found[key]:.1f}" for key in ("p50", "p95", "p99", "max"))
            rows.add_row(labels.get(name, f"  {name}"), str(found["count"]), *figures)
    return rows


def summary(outcome: Mapping[str, Any]) -> list[str]:
    """What belongs beside the table."""
    on, loads = outcome["machine"], outcome["machine"]["loads"]
    complete = "complete" if outcome["ledger_complete"] else "INCOMPLETE"
    return [
        f"longest stall of the RunEngine's event loop: {outcome['stall_ms']:.1f} ms",
        f"{outcome['points']} points, {outcome['observations']} observations, {outcome['rejected']} repeated, "
        f"{outcome['images']} images in {outcome['runs']} runs of {outcome['seconds']:.0f} s; ledger {complete}",
        f"{on['cpu']}, {on['cores']} cores, {on['system']}, Python {on['python']}; "
        f"load average {loads[0]:.1f} before, {loads[-1]:.1f} after",
    ]


def failures(outcome: Mapping[str, Any]) -> list[str]:
    """Why the promise is not kept; empty where it is."""
    found = list(outcome["problems"])
    if outcome["over_limit"]:
        worst = outcome["worst"]
        found.append(
            f"{outcome['over_limit']} of {outcome['pauses']} pauses took longer than {outcome['limit_ms']:g} ms; the "
            f"worst took {worst['ms']:.1f} ms, {worst['at_s']:.1f} s after the start, while {worst['doing']}"
            + (" and the agent trained" if worst["learning"] else "")
        )
    return found


def described(one: Pause) -> dict[str, Any]:
    return {
        "at_s": one.at_s,
        "doing": one.doing,
        "learning": one.learning,
        "ms": 1e3 * one.from_due_s,
        "from_call_ms": 1e3 * one.from_call_s,
    }


def latency_ms(seconds: Sequence[float]) -> dict[str, Any]:
    """Percentiles in ms; null where there is nothing."""
    if not seconds:
        return {"count": 0, "p50": None, "p95": None, "p99": None, "max": None}
    p50, p95, p99, most = (float(value) for value in np.percentile(1e3 * np.array(seconds), (50, 95, 99, 100)))
    return {"count": len(seconds), "p50": p50, "p95": p95, "p99": p99, "max": most}
