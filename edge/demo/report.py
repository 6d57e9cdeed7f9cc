"""What a ptychography demo leaves: numbers, a table and a picture."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from edge.demo.ptycho import Finished
from edge.demo.terminal import limits


def numbers(finished: Finished, judged: Mapping[str, float]) -> dict[str, Any]:
    """The machine-readable outcome; `judged` holds the errors against a reference, empty without one."""
    arrivals, account = finished.ended.arrivals, finished.ended.account
    return {
        "frames": {
            "sent": finished.sent,
            "expected": arrivals["expected"],
            "received": arrivals["received"],
            "missing": arrivals["missing"],
            "inferred": account["inferred"],
            "published": account["published"],
            "failed": sum(account["failed"].values()),
            "unwanted": account["unwanted"],
            "dropped": sum(account["dropped"].values()),
        },
        "ledger_complete": finished.ended.verdict == "complete",
        "verdict": finished.ended.verdict,
        "latency_ms": {name: finished.ended.latency_ms.get(name) for name in ("p50", "p99")},
        "lost_by_subscriber": finished.lost_by_subscriber,
        "without_position": finished.patches.without_position,
        **judged,
    }


def table(outcome: Mapping[str, Any]) -> Table:
    """The same for people."""
    frames, latency = outcome["frames"], outcome["latency_ms"]
    rows = Table(show_header=False, box=None, padding=(0, 2))
    rows.add_row("frames sent", str(frames["sent"]))
    rows.add_row("expected / received / missing", f"{frames['expected']} / {frames['received']} / {frames['missing']}")
    rows.add_row("inferred / published", f"{frames['inferred']} / {frames['published']}")
    rows.add_row("failed / unwanted / dropped", f"{frames['failed']} / {frames['unwanted']} / {frames['dropped']}")
    rows.add_row("verdict", f"[bold {'green' if outcome['ledger_complete'] else 'red'}]{outcome['verdict']}[/]")
    for name, text in (("lost_by_subscriber", "results lost on the way"), ("without_position", "without a position")):
        if outcome[name]:
            rows.add_row(text, f"[bold red]{outcome[name]}[/]")
    if latency["p50"] is not None:
        rows.add_row("latency, received to published", f"p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms")
    if "phase_mae_rad" in outcome:
        rows.add_row(
            f"phase error, {outcome['judged_frames']} unseen frames",
            f"{outcome['phase_mae_rad']:.3f} rad (a constant guess: {outcome['phase_mae_constant_rad']:.3f})",
        )
    if "stitched_phase_mae_rad" in outcome:
        stitched = f"{outcome['stitched_phase_mae_rad']:.3f} rad"
        constant = f"(a constant guess: {outcome['stitched_phase_mae_constant_rad']:.3f})"
        rows.add_row("phase error, stitched image", f"{stitched} {constant}")
    return rows


def write_json(path: Path, outcome: Mapping[str, Any]) -> None:
    """Write the numbers; a value that does not exist is null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(outcome, indent=2, allow_nan=False) + "\n")


def write_picture(
    path: Path, image: tuple[np.ndarray, np.ndarray, np.ndarray], reference: np.ndarray | None, title: str
) -> None:
    """The stitched phase and amplitude as a PNG, the reference's phase beside them where there is one.

    Args:
        image: amplitude, phase (rad) and weight, [rows, cols]; NaN where nothing is known.
        reference: complex [rows, cols], the same part of the object.
    """
    amplitude, phase, _ = image
    panels = [("phase, rad", phase), ("amplitude (1: transparent)", amplitude)]
    if reference is not None:
        truth = np.angle(reference * np.exp(-1j * np.angle(reference[np.isfinite(phase)].mean())))
        panels.append(("phase of the reference, rad", np.where(np.isfinite(phase), truth, np.nan)))
    figure = Figure(figsize=(6 * len(panels), 6), layout="constrained")
    for axes, (label, values) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        low, high = limits(values)
        shown = axes.imshow(values, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set(title=label, xlabel="column, px", ylabel="row, px")
        figure.colorbar(shown, ax=axes, shrink=0.7)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
