"""What `edge bench soak` leaves: figures, a table, a picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from edge.bench.sizing.figures import Figure
from edge.bench.sizing.proc import Memory
from edge.bench.sizing.soak import LONG, Measured, Options

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

MIB = 1 << 20
MOST_LOOKS = 100
"""At memory, that are kept in a file."""


def figures(measured: Measured, options: Options) -> list[Figure]:
    """What is judged, and what was counted."""
    books = measured.books
    (early_frames, early), (late_frames, late) = measured.early(options.frames), measured.memory[-1]
    between = f"after {late_frames} frames over that after {early_frames}"
    growth = "memory_growth_ratio" + growth_suffix(options)
    found = [
        Figure(growth, late.resident / early.resident, what=f"resident size of edge serve, slots included, {between}"),
        Figure(f"{growth}/anonymous", late.anonymous / early.anonymous, what=f"heap and stacks alone, {between}"),
        Figure("unaccounted", books.unaccounted, what="frames or results that no account tells of, or that two do"),
        Figure("wrong", books.wrong, what="results that are not those of their image", more={"checked": books.checked}),
        Figure("slots_leaked", measured.held.slots, what="slots that are not free at the end",
               more=dict(measured.held._asdict())),
        Figure("frames", books.sent, what="sent"),
        Figure("results", books.handed_out, what="that the subscriber was handed"),
        Figure("lost", sum(books.losses().values()), what="frames without a result, by reason", more=books.losses()),
        Figure("subscriber_lost", books.subscriber_lost, what="results that the subscriber says it missed"),
        Figure("series", books.series, what="that ended"),
        Figure("rate", books.sent / measured.seconds, "Hz", what="frames a second"),
        Figure("cpu_us", 1e6 * measured.cpu_s / books.sent, "us", what="CPU time of edge serve a frame"),
        Figure("strikes", len(measured.struck), what="at Triton", more={"struck": measured.struck}),
    ]  # fmt: skip
    looks = {str(frames): round(seen.resident / MIB, 1) for frames, seen in sampled(measured.memory, MOST_LOOKS)}
    found.append(Figure("memory", late.resident / MIB, "MiB", what="resident, by frames", more={"looks": looks}))
    return found + [
        Figure(f"memory/{when}_{kind}", getattr(seen, kind) / MIB, "MiB")
        for when, seen in (("early", early), ("late", late))
        for kind in Memory._fields
    ]


def growth_suffix(options: Options) -> str:
    """Growth is judged in a long run of clean frames alone: a short one sees caches fill, bad input may be large."""
    return "/with_faults" if options.faults else "" if options.frames >= LONG else "/short_run"


def table(measured: Measured, options: Options) -> Table:
    """Memory over frames: the first look that counts, some in between, the last."""
    made = Table(box=None, padding=(0, 2))
    for heading in ("frames", "resident, MiB", "of it heap and stacks", "shared memory", "files"):
        made.add_column(heading, justify="right")
    first = measured.memory.index(measured.early(options.frames))
    for frames, seen in sampled(measured.memory[first:], 6):
        made.add_row(f"{frames}", *(f"{nbytes / MIB:.1f}" for nbytes in seen))
    return made


def sampled(looks: Sequence[tuple[int, Memory]], most: int) -> list[tuple[int, Memory]]:
    """At most so many, evenly, the first and the last among them."""
    if len(looks) <= most:
        return list(looks)
    return [looks[round(at * (len(looks) - 1) / (most - 1))] for at in range(most)]


def summary(measured: Measured) -> list[str]:
    """What belongs beside it."""
    books = measured.books
    lines = [
        f"{books.sent} frames in {books.series} series, {books.sent / measured.seconds:.0f} a second, "
        f"{1e6 * measured.cpu_s / books.sent:.0f} us CPU of edge serve each; {books.handed_out} results, "
        f"{books.checked} of them compared with their image"
    ]
    if losses := books.losses():
        lines.append("without a result: " + ", ".join(f"{count} {why}" for why, count in sorted(losses.items())))
    if measured.struck:
        lines.append("struck: " + ", ".join(measured.struck))
    return lines


def picture(measured: Measured) -> "Picture":
    """Memory over frames."""
    from matplotlib.figure import Figure as Picture

    made = Picture(figsize=(6.4, 3.6), layout="constrained")
    panel = made.subplots()
    frames = [at for at, _ in measured.memory]
    for kind, label in (("resident", "resident"), ("anonymous", "heap and stacks"), ("shared", "shared memory")):
        panel.plot(frames, [getattr(seen, kind) / MIB for _, seen in measured.memory], label=label)
    panel.set_xlabel("frames")
    panel.set_ylabel("MiB of edge serve")
    panel.set_ylim(bottom=0)
    panel.legend()
    return made
