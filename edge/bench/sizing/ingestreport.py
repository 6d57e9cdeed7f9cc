"""What `edge bench ingest` leaves: figures, a table, a picture."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table

from edge.bench.sizing.copies import Copied
from edge.bench.sizing.figures import Figure, median_of, ratio_of
from edge.bench.sizing.ingest import Compared
from edge.bench.sizing.spent import Spent

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture


def figures(measured: Mapping[str, Compared]) -> list[Figure]:
    """The ratio of each case, and what it is made of."""
    found: list[Figure] = []
    for name, one in measured.items():
        sides: dict[str, list[Spent]] = {"bare": one.bare, "ours": one.ours}
        cpu = {side: [spent.cpu_us for spent in rounds] for side, rounds in sides.items()}
        what = f"CPU time of {one.reference} over ours, {shape_text(one)}"
        more = {"decoders_cpu_us": dict(one.decoders_us)} if one.decoders_us else {}
        found.append(ratio_of(name, cpu["bare"], cpu["ours"], what, frames_a_round=one.bare[0].frames, **more))
        for side, rounds in sides.items():
            found.append(median_of(f"{name}/{side}_cpu_us", cpu[side], "us", "CPU time a frame, all threads"))
            found.append(median_of(f"{name}/{side}_per_s", [spent.per_s for spent in rounds], "Hz", "frames a second"))
    return found


def copy_figures(counted: Mapping[str, Copied]) -> list[Figure]:
    """The worst of the cases, and each of them."""
    found = [
        Figure(
            f"copies_per_frame/{name}",
            one.per_frame,
            what="calls of memcpy and its kin with half an image and more, a frame, in edge serve",
            more={"frames": one.frames, "images_copied_a_frame_in_calls_of_4_KiB_and_more": one.images_per_frame},
        )
        for name, one in counted.items()
    ]
    what = "image-sized copies a frame in edge serve, counted from outside, the worst of the cases"
    return [Figure("copies_per_frame", max(one.value for one in found), what=what), *found]


def table(measured: Mapping[str, Compared], found: Mapping[str, Figure]) -> Table:
    """For people."""
    made = Table("frames", "held against", box=None, padding=(0, 1))
    for heading in ("bare, us CPU", "ours", "bare, frames/s", "ours", "MB/s"):
        made.add_column(heading, justify="right")
    for name, one in measured.items():
        figure = {side: found[f"{name}/{side}"].value for side in ("bare_cpu_us", "ours_cpu_us")}
        rate = {side: found[f"{name}/{side}"].value for side in ("bare_per_s", "ours_per_s")}
        made.add_row(
            shape_text(one),
            one.reference,
            *(f"{value:.1f}" for value in figure.values()),
            *(f"{value:.0f}" for value in rate.values()),
            f"{rate['ours_per_s'] * one.case.nbytes / 1e6:.0f}",
        )
    return made


def picture(measured: Mapping[str, Compared], found: Mapping[str, Figure]) -> "Picture":
    """Bars of the CPU time a frame, bare beside ours, one panel for each case: they differ by orders of magnitude."""
    from matplotlib.figure import Figure as Picture

    made = Picture(figsize=(2.6 * len(measured), 3.2), layout="constrained")
    panels = made.subplots(1, len(measured), squeeze=False)[0]
    for panel, (name, one) in zip(panels, measured.items(), strict=True):
        sides = [found[f"{name}/bare_cpu_us"], found[f"{name}/ours_cpu_us"]]
        values = [side.value for side in sides]
        spreads = [side.spread or (side.value, side.value) for side in sides]
        errors = [
            [value - low for value, (low, _) in zip(values, spreads, strict=True)],
            [high - value for value, (_, high) in zip(values, spreads, strict=True)],
        ]
        panel.bar(["bare", "ours"], values, yerr=errors, color=["0.6", "tab:blue"], capsize=4)
        panel.set_title(f"{shape_text(one)}\nratio {found[name].value:.2f}", fontsize=8)
        panel.set_ylim(bottom=0)
    panels[0].set_ylabel("CPU time a frame, us")
    return made


def shape_text(one: Compared) -> str:
    """The frames of a case in words."""
    height, width = one.case.shape
    kind = "" if one.case.compression == "none" else f" {one.case.compression}"
    return f"{height} x {width} {one.case.dtype}{kind}, {one.case.protocol}"
