"""What `edge bench latency` leaves: figures, a table, a picture."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from edge.bench.sizing.figures import Figure, median_of
from edge.bench.sizing.latency import Round

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

PERCENTILES = ("p50", "p99")
SIDES = {"serve": "edge serve, received to published", "triton": "bare Triton request"}


def figures(rounds: Sequence[Round]) -> list[Figure]:
    """Medians of the rounds' differences, and what they are made of."""
    found = []
    for percentile in PERCENTILES:
        what = f"{percentile} of edge serve, received to published, less that of a bare request to the same Triton"
        name = f"latency_{percentile}_extra_ms"
        found.append(median_of(name, [one.extra(percentile) for one in rounds], "ms", what))
    for percentile in (*PERCENTILES, "max"):
        found.append(median_of(f"latency/serve_{percentile}", [one.ours[percentile] for one in rounds], "ms"))
        found.append(median_of(f"latency/triton_{percentile}", [one.triton[percentile] for one in rounds], "ms"))
    return found


def table(found: Mapping[str, Figure]) -> Table:
    """For people."""
    made = Table("ms, median of the rounds", box=None, padding=(0, 2))
    for percentile in (*PERCENTILES, "max"):
        made.add_column(percentile, justify="right")
    for side, text in SIDES.items():
        made.add_row(text, *(f"{found[f'latency/{side}_{each}'].value:.2f}" for each in (*PERCENTILES, "max")))
    return made


def picture(rounds: Sequence[Round], found: Mapping[str, Figure]) -> "Picture":
    """A histogram of the bare requests of all rounds, with the percentiles of both."""
    from matplotlib.figure import Figure as Picture

    made = Picture(figsize=(6.4, 3.6), layout="constrained")
    panel = made.subplots()
    took = np.concatenate([one.triton_ms for one in rounds])
    longest = max(took.max(), found["latency/serve_p99"].value) * 1.1
    panel.hist(took, np.geomspace(max(took.min() * 0.9, 1e-3), longest, 60), color="0.75", label="bare Triton requests")
    for side, colour in (("triton", "0.3"), ("serve", "tab:blue")):
        for percentile, style in zip(PERCENTILES, ("-", "--"), strict=True):
            value = found[f"latency/{side}_{percentile}"].value
            text = f"{SIDES[side]}: {percentile} {value:.2f} ms"
            panel.axvline(value, color=colour, linestyle=style, label=text)
    panel.set_xscale("log")
    panel.set_xlabel("ms")
    panel.set_ylabel("requests")
    panel.legend(fontsize=7)
    return made
