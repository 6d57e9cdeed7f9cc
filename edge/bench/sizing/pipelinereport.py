"""What `edge bench pipeline` leaves: figures and a table."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from edge.bench.sizing.figures import Figure, median_of, ratio_of
from edge.bench.sizing.spent import Spent


def identity_figures(bare: Sequence[Spent], ours: Sequence[Spent], protocol: str) -> list[Figure]:
    """CPU time of `edge serve` over that of the bare loop, and what it is made of."""
    cpu = {"bare": [one.cpu_us for one in bare], "serve": [one.cpu_us for one in ours]}
    what = f"CPU time of edge serve over that of a bare receive loop, 128 x 128 uint16, {protocol}, identity"
    return [
        ratio_of("pipeline_cpu_us_ratio", cpu["serve"], cpu["bare"], what, frames_a_round=ours[0].frames),
        median_of("pipeline/bare_cpu_us", cpu["bare"], "us", "CPU time a frame of the bare loop, all threads"),
        median_of("pipeline/serve_cpu_us", cpu["serve"], "us", "CPU time a frame of edge serve, all threads"),
        median_of("pipeline/bare_per_s", [one.per_s for one in bare], "Hz", "frames a second of the bare loop"),
        median_of("pipeline/serve_per_s", [one.per_s for one in ours], "Hz", "frames a second, results published"),
    ]


def ptycho_figures(reference: Sequence[Spent], ours: Sequence[Spent], batch: int, threads: int) -> list[Figure]:
    """Frames a second of `edge serve` over those of ONNX Runtime in one process."""
    rates = {"onnxruntime": [one.per_s for one in reference], "serve": [one.per_s for one in ours]}
    what = f"frames/s of edge serve over those of ONNX Runtime alone, batches of {batch}, {threads} thread(s)"
    return [
        ratio_of("pipeline_ptycho_ratio", rates["serve"], rates["onnxruntime"], what, frames_a_round=ours[0].frames),
        median_of("ptycho/onnxruntime_per_s", rates["onnxruntime"], "Hz", "frames a second in this process"),
        median_of("ptycho/serve_per_s", rates["serve"], "Hz", "frames a second, results published"),
        median_of("ptycho/serve_cpu_us", [one.cpu_us for one in ours], "us", "CPU time a frame of edge serve"),
    ]


def table(found: Mapping[str, Figure]) -> Table:
    """For people; of what was measured."""
    made = Table("model", "held against", box=None, padding=(0, 1))
    for heading in ("us CPU a frame", "edge serve", "frames/s", "edge serve"):
        made.add_column(heading, justify="right")
    lines = {
        "identity": ("bare receive", "pipeline/bare_cpu_us", "pipeline/serve_cpu_us", "pipeline/bare_per_s",
                     "pipeline/serve_per_s"),
        "ptycho": ("ONNX Runtime alone", "", "ptycho/serve_cpu_us", "ptycho/onnxruntime_per_s", "ptycho/serve_per_s"),
    }  # fmt: skip
    for model, (against, *names) in lines.items():
        if names[-1] in found:
            made.add_row(model, against, *(f"{found[name].value:.1f}" if name else "" for name in names))
    return made
