"""How good the served denoiser is: `edge evaluate denoise [--scan FILE [--reference FILE]] [--rival-python PATH]`.

Simulated frames are judged by their true expectation. Measured frames have none, so they are thinned: a tenth of the
photons, drawn by chance, must predict the other nine tenths, which are independent of it. BM3D sees the same frames, in
an environment of its own. Then what denoising is good for: spots found, and phases seen by `ptycho`. Needs no torch.
"""

from pathlib import Path

import click
import numpy as np

from edge.bench.rows import write
from edge.inference.repository import GRAPH_FILE
from edge.physics.arrays import Float
from edge.reference import Reference, load_reference
from edge.scanfiles import ScanFileError
from edge.training.denoise_picture import draw_picture
from edge.training.evaluate_denoise_cases import EXPOSURE_S, THINNED, Case, bragg_cases, hidden, judged, methods
from edge.training.evaluate_denoise_measured import (
    Thinned,
    against_bm3d,
    bias,
    calibration,
    thinned_scans,
    tuning_scan,
    with_bm3d,
)
from edge.training.evaluate_denoise_use import (
    FAINT,
    SCALES,
    Lit,
    filter_family,
    peakfinder8_family,
    peaks_family,
    phase_gain,
    recall_gains,
)
from edge.training.figures import Figures, Run, graph_run, kept, median_ms, show
from edge.training.given import graph_in
from edge.training.judged import Bar, Judged, conclude
from edge.training.rivals import peakfinder8
from edge.training.rivals.calling import RivalError, interpreter_with, rival_option, warn
from edge.training.scan_probe import ScanError

GAIN_POINTS = 5.0
_UNITS = {
    "mean square error": "counts^2",
    "flux bias %": "%",
    "mean absolute error": "counts",
    "mean truth": "counts",
}
_MEASURED = "denoise_vs_bm3d_mse", "denoise_vs_bm3d_deviance", "denoise_bias_pct", "denoise_gain_phase"
_NO_SCAN = "not run: name a measured scan with --scan"


def _speed(run: Run, seen: Thinned) -> list[Judged]:
    ms = median_ms(run, seen.images[0])
    size = " x ".join(str(length) for length in seen.images.shape[1:])
    found = [Judged("denoise_ms", ms, "ms", what=f"a frame of {size}, ONNX Runtime, one thread")]
    if seen.rival is not None:
        rival = 1e3 * float(np.median(seen.rival.seconds))
        told = f"BM3D's time over the model's; BM3D {rival:.0f} ms, when it was run"
        found.append(Judged("denoise_speed_vs_bm3d", rival / ms, "1", what=told))
    return found


def _recall(run: Run, pythons: tuple[Path, ...]) -> list[Judged]:
    """The row that is asked for is that of peakfinder8, the finder that users have."""
    families = {"matched_filter": filter_family(), "peaks": peaks_family()}
    python, found = interpreter_with(pythons, peakfinder8.MODULE, warn), []
    if python is None:
        found.append(Judged("denoise_gain_recall", None, what=peakfinder8.MISSING))
    else:
        families["peakfinder8"] = peakfinder8_family(python)
    faint = f"spots of signal to noise {FAINT[0]:g} to {FAINT[1]:g}"
    for name, one in recall_gains(run, families).items():
        told = (
            f"{name}: {100 * one.denoised:.1f} % of {faint} in denoised frames, "
            f"{100 * one.raw:.1f} % in raw ones, with as many false ones"
        )
        asked = name == "peakfinder8"
        row = "denoise_gain_recall" if asked else f"denoise_gain_recall_{name}"
        bars, more = (
            [Bar("at least", GAIN_POINTS)] if asked else [],
            {"by background": one.by_background},
        )
        found.append(Judged(row, one.points, "%", one.interval, told, bars, more))
    return found


def _phase(seen: Thinned, tuning: Thinned, reference: Reference | None) -> list[Judged]:
    """Asked for is a gain over raw frames at their best; beside it that over frames scaled to the whole dose.

    Raises ScanError where the reference is of another scan.
    """
    name = "denoise_gain_phase"
    if reference is None:
        return [Judged(name, None, what="not run: name the scan's reconstruction with --reference")]
    if max(seen.chosen.max(), tuning.chosen.max()) >= len(reference.positions):
        raise ScanError(f"the reference has {len(reference.positions)} positions, fewer than the scan has frames")
    lit, tuned = (
        Lit(one.images.astype(np.float64), one.expected, reference.positions[one.chosen]) for one in (seen, tuning)
    )
    found = []
    for row, scales, what, bars in (
        (name, SCALES, "scaled as is best on training frames", [Bar("above", 0.0, "low")]),
        (f"{name}_scaled", (1 / THINNED,), "both scaled to the whole dose", []),
    ):
        one = phase_gain(lit, tuned, reference, scales)
        told = (
            f"share by which the error falls: {one.denoised:.4f} rad denoised, {one.raw:.4f} raw; {what}: "
            f"times {one.scales[1]:g} and {one.scales[0]:g}"
        )
        found.append(Judged(row, one.share, "1", one.interval, told, bars))
    return found


def _tables(run: Run, seen: Thinned | None) -> list[Figures]:
    ways, cases = methods(run), bragg_cases()
    title = f"Bragg scene, {len(cases)} frames of {1e3 * EXPOSURE_S:g} ms, against the truth"
    found = [
        Figures("bragg", title, judged(cases, ways), _UNITS),
        Figures("flagged", "The same, flagged pixels", hidden(cases, ways), _UNITS),
    ]
    if seen is not None:
        measured = [Case(*each) for each in zip(seen.images, seen.wanted, seen.good, strict=True)]
        if seen.rival is not None:
            answers = dict(zip((image.tobytes() for image in seen.images), seen.rival.counts, strict=True))
            ways["BM3D"] = lambda image: answers[image.tobytes()]
        title = f"{seen.name}, {len(measured)} frames, {THINNED:.0%} of the photons predict the rest (scaled alike)"
        found.append(Figures("measured", title, judged(measured, ways), _UNITS))
    return found


@click.command("denoise")
@click.option("--scan", "scan_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Measured.")
@click.option("--reference", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its reconstruction.")
@click.option("--frames", type=click.IntRange(2), help="So many of the test frames, evenly.  [default: all]")
@click.option("--model", type=click.Path(exists=True, file_okay=False, path_type=Path), help="[default: as shipped]")
@rival_option
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), help="Keeps BM3D's answers, seconds each.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write the rows here.")
@click.option("--card", is_flag=True, help="Write the figures into the model's card.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Picture of one frame, PNG.")
def evaluate_denoise(
    scan_file: Path | None,
    reference: Path | None,
    frames: int | None,
    model: Path | None,
    rival_python: tuple[Path, ...],
    work: Path | None,
    json_file: Path | None,
    card: bool,
    plot: Path | None,
) -> None:
    """Judge the denoiser on simulated frames, and on a measured scan where one is named."""
    folder = graph_in("denoise", model)
    run = graph_run(folder / GRAPH_FILE)
    try:
        truth = None if reference is None else load_reference(reference)
        scans = [] if scan_file is None else thinned_scans(run, scan_file, frames)
        seen = with_bm3d(scans[0], rival_python, work) if scans else None
        figures = _recall(run, rival_python)
        if scan_file is None or seen is None:
            figures += [Judged(name, None, what=_NO_SCAN) for name in _MEASURED]
        else:
            figures += [*against_bm3d(seen), *bias(scans), calibration(seen), *_speed(run, seen)]
            figures += _phase(seen, tuning_scan(run, scan_file), truth)
    except (ScanError, ScanFileError, RivalError) as error:
        raise click.ClickException(str(error)) from error
    tables = _tables(run, seen)
    for one in tables:
        show(one)
    if plot is not None and seen is not None:
        draw_picture(plot, *_panels(seen))
    if json_file is not None:
        write(json_file, [*(one.row() for one in figures), *(row for one in tables for row in kept(one))])
    conclude(figures, None, folder if card else None)


def _panels(seen: Thinned) -> tuple[list[str], list[Float]]:
    middle = len(seen.images) // 2
    rival = [] if seen.rival is None else [("BM3D", seen.rival.counts)]
    shown = [
        (f"{THINNED:.0%} of the photons", seen.images),
        *rival,
        ("denoise", seen.expected),
        ("the rest", seen.wanted),
    ]
    return [name for name, _ in shown], [arrays[middle] for _, arrays in shown]
