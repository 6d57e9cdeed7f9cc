"""What a mapping demo leaves: numbers, a table and a picture."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from edge.demo.judgement import Judged, Truth
from edge.demo.terminal import limits

FACTS = ("expected", "received", "missing", "inferred", "published", "failed", "unwanted", "dropped")


def numbers(judged: Sequence[Judged]) -> dict[str, Any]:
    """The machine-readable outcome of all strategies; the first of them is the adaptive one."""
    adaptive = judged[0]
    verdicts = [series.verdict for one in judged for series in one.scan.series]
    return {
        "frames": {name: sum(_facts(one)[name] for one in judged) for name in FACTS},
        "ledger_complete": bool(verdicts) and all(verdict == "complete" for verdict in verdicts),
        "latency_ms": _latency(adaptive),
        "suggest_ms": dict(adaptive.scan.suggest_ms),
        "plan": _plan(adaptive),
        "nrmse": {one.scan.strategy: one.nrmse for one in judged},
        "strategies": {
            one.scan.strategy: {
                "nrmse": one.nrmse,
                "plan": _plan(one),
                "frames": _facts(one),
                "verdicts": [series.verdict for series in one.scan.series],
                "latency_ms": _latency(one),
                "suggest_ms": dict(one.scan.suggest_ms),
                "travel_mm": one.scan.travel_mm,
                "rejected": one.scan.rejected,
            }
            for one in judged
        },
    }


def table(outcome: Mapping[str, Any]) -> Table:
    """The same for people: one column a strategy."""
    strategies: Mapping[str, Any] = outcome["strategies"]
    rows = Table("", *strategies, box=None, padding=(0, 1), header_style="bold")

    def row(label: str, show: Any) -> None:
        rows.add_row(label, *(show(one) for one in strategies.values()))

    row("map error (NRMSE)", lambda one: f"[bold]{100 * one['nrmse']:.2f} %[/]")
    row("points", lambda one: str(one["plan"]["points"]))
    row("beam time", lambda one: f"{one['plan']['beam_time_s']:.1f} s")
    row("travel", lambda one: f"{one['travel_mm']:.1f} mm")
    row("frames expected/published", lambda one: f"{one['frames']['expected']} / {one['frames']['published']}")
    row("missing/failed/dropped", lambda one: " / ".join(str(one["frames"][n]) for n in FACTS[2:6:3] + FACTS[7:]))
    row("points repeated", lambda one: str(one["rejected"]))
    row("result latency p50/p99, ms", lambda one: _pair(one["latency_ms"]))
    row("suggestion p50/p99, ms", lambda one: _pair(one["suggest_ms"]))
    row("account", lambda one: _coloured(" ".join(one["verdicts"]) or "none", set(one["verdicts"]) == {"complete"}))
    row("plan", lambda one: _coloured(one["plan"]["exit_status"], one["plan"]["exit_status"] == "success"))
    return rows


def write_picture(path: Path, truth: Truth, judged: Sequence[Judged], title: str) -> None:
    """Truth, map, uncertainty and path of the first strategy; below, maps and errors of the others, as a PNG."""
    first, *others = judged
    shown = limits(truth.values)
    worst = max(float(np.percentile(np.abs(one.map - truth.values), 99)) for one in judged)
    figure = Figure(figsize=(18, 9), layout="constrained")
    axes = figure.subplots(2, 4)
    _panel(figure, axes[0, 0], truth, truth.values, "truth", shown)
    _panel(figure, axes[0, 1], truth, first.map, f"{first.scan.strategy} map, NRMSE {100 * first.nrmse:.2f} %", shown)
    _panel(figure, axes[0, 2], truth, first.sigma, f"{first.scan.strategy} uncertainty (1 sigma)", None, "magma")
    _panel(figure, axes[0, 3], truth, truth.values, f"{first.scan.strategy} path on the truth", shown)
    _draw_path(axes[0, 3], first)
    for place, one in zip(axes[1], others, strict=False):
        label = f"{one.scan.strategy}: {len(one.scan.path)} points, NRMSE {100 * one.nrmse:.2f} %"
        _panel(figure, place, truth, one.map, label, shown)
        _draw_path(place, one)
    for place, one in zip(axes[1, len(others) :], judged, strict=False):
        _panel(figure, place, truth, one.map - truth.values, f"{one.scan.strategy}: error", (-worst, worst), "RdBu_r")
    figure.suptitle(title)
    figure.savefig(path, dpi=90)


def _panel(
    figure: Figure,
    axes: Axes,
    truth: Truth,
    values: np.ndarray,
    title: str,
    shown: tuple[float, float] | None,
    colours: str = "viridis",
) -> None:
    low, high = shown or (0.0, float(values.max()))
    image = axes.imshow(
        values, cmap=colours, vmin=low, vmax=high, origin="lower", extent=truth.extent, interpolation="nearest"
    )
    axes.set(title=title, xlabel="x, mm", ylabel="y, mm")
    figure.colorbar(image, ax=axes, shrink=0.8)


def _draw_path(axes: Axes, one: Judged) -> None:
    path = one.scan.path
    axes.plot(path[:, 0], path[:, 1], color="white", linewidth=0.6, alpha=0.7)
    axes.scatter(path[:, 0], path[:, 1], c=np.arange(len(path)), cmap="cool", s=12, zorder=3)


def _facts(one: Judged) -> dict[str, int]:
    """Frames of all series of one strategy."""
    totals = Counter[str]()
    for series in one.scan.series:
        for name in FACTS:
            value = series.arrivals[name] if name in series.arrivals else series.account[name]
            totals[name] += sum(value.values()) if isinstance(value, Mapping) else (value or 0)
    return {name: totals[name] for name in FACTS}


def _latency(one: Judged) -> dict[str, float | None]:
    series = one.scan.series
    return {name: max((s.latency_ms[name] for s in series if name in s.latency_ms), default=None) for name in PERCENTS}


PERCENTS = ("p50", "p99")


def _plan(one: Judged) -> dict[str, Any]:
    scan = one.scan
    return {"points": len(scan.path), "exit_status": scan.exit_status, "beam_time_s": round(scan.beam_time_s, 3)}


def _pair(times: Mapping[str, float | None]) -> str:
    p50, p99 = times.get("p50"), times.get("p99")
    return "-" if p50 is None or p99 is None else f"{p50:.1f} / {p99:.1f}"


def _coloured(text: str, good: bool) -> str:
    return f"[bold {'green' if good else 'red'}]{text}[/]"
