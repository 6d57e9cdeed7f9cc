# pyright: reportMissingImports=false
"""`edge train ptycho`: from a measured scan to a model that can be served.

Truths come from simulated objects under the scan's probe. Of the measured frames those of the training block
(`split`) give the probe, where none is handed in, and teach without truths (`fit`).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from edge.inference.errors import CanaryError
from edge.models.card import Card, Span, Validity
from edge.models.ptycho import GEOMETRY, SPEC, SPEC64
from edge.physics.arrays import Complex
from edge.physics.coarser import cropped, cropped_modes
from edge.physics.probe import flux, load_probe, save_probe
from edge.scanfiles import Scan, open_scan
from edge.training.fit import BATCH, LEAST_SHARE, MEASURED, USUAL_SHARE, batches, loss
from edge.training.frames import FLUX_RANGE, TrainingSet, simulated_set
from edge.training.loop import Schedule
from edge.training.network import PatchNet, ServedNet
from edge.training.run import Recipe, TrainingRun, Written, training_options, training_run
from edge.training.scan_block import Block, check_scan, in_counts, training_block
from edge.training.scan_probe import MODES, scan_probe
from edge.training.scan_units import in_pixels, told_pixel_m
from edge.training.split import TEST_FRACTION, fingerprint
from edge.training.watch_command import Watched, watch, watch_options

SPECS = {GEOMETRY[spec.name].frame_px: spec for spec in (SPEC, SPEC64)}
"""By the size of the frames."""

STEPS = 4000
PEAK_RATE = 2e-3
SIMULATED = 16000
PROBE_ITERATIONS = 60
PROBE_FILE, FOUND_PROBE_FILE = "probe.npy", "found_probe.npy"
"""As served; and as found, until the training is over."""

CANARY_FRAMES, CANARY_COUNTS = 2, 253


def train(recipe: Recipe, out: Path, scan: Scan, options: "Options", fresh: bool = False) -> Card:
    """Writes a version folder of the model repository to `out`: graph, probe, weights, canary and card.

    Raises ScanError when the scan lacks a probe, and none is given, or has frames that the model cannot take, and
    click.ClickException for a checkpoint of another training.
    """
    spec = SPECS[options.size]
    geometry = GEOMETRY[spec.name]
    check_scan(scan, options.probe, geometry)
    block = training_block(scan, options.probe is not None)
    given, rescaled = (None, "") if options.probe is None else in_counts(options.probe, block)
    if rescaled:
        click.echo(rescaled, err=True)
    with training_run(spec, recipe, out, fresh) as run:
        modes = given if given is not None else _probe(run, scan, block)
        own = cropped_modes(modes, geometry.frame_px)
        data = simulated_set(
            modes, geometry, options.simulated, run.data_rng, run.doing("simulated frames", options.simulated)
        )
        draw = batches(data, block.cropped(geometry.crop_px))
        schedule = Schedule(recipe.steps, PEAK_RATE, seconds=recipe.budget_s)
        net = run.fit(
            PatchNet(own, geometry), lambda net, rng: loss(net, draw(rng)), schedule, figure="phase error, rad"
        )
        save_probe(out / PROBE_FILE, own)
        card = finish(run, net, data, block, told(scan, block, own, options))
        (out / FOUND_PROBE_FILE).unlink(missing_ok=True)
        return card


@dataclass(frozen=True)
class Options:
    """What a ptychography training is told beyond the recipe."""

    size: int = SPEC.frame_shape[0]  # of the frames
    probe: NDArray[np.complex64] | None = None  # modes [modes, size, size]; None: found from the scan
    simulated: int = SIMULATED  # frames
    name: str = "the scan"
    energy_kev: float | None = None  # of a photon; None: nobody told
    object_pixel_nm: float | None = None


def finish(run: TrainingRun, net: PatchNet, data: TrainingSet, block: Block, written: Written) -> Card:
    """Writes what is served, with a canary of simulated frames."""
    geometry = net.optics.geometry
    border = (geometry.frame_px - geometry.crop_px) // 2
    known = np.pad(data.crops[:CANARY_FRAMES], ((0, 0), (border, border), (border, border)))
    canary = np.minimum(known, CANARY_COUNTS).astype(np.uint8)
    return run.finished(ServedNet(net), net, cropped(block.frames[:4], geometry.frame_px), canary, written)


def told(scan: Scan, block: Block, modes: Complex, options: Options) -> Written:
    """What the card says of the data, for the `modes` as served."""
    size, taken = modes.shape[-1], len(block.frames)
    counts = cropped(block.frames, size).sum(axis=(1, 2), dtype=np.int64)
    source = "was handed in" if options.probe is not None else f"came from the {taken} frames below"
    split = "none: the scan tells no positions in pixels, or is too small, and all its frames were taken"
    extra = {}
    if block.split is not None:
        assert scan.positions is not None
        split = (
            f"one straight cut across the rows of the scan: {taken} training frames, {len(block.split.test)} test "
            "frames that share no pixel of the object with them, the frames between are used for nothing"
        )
        extra["probe_scan"] = {
            "positions_sha256": fingerprint(scan.positions),
            "patch_px": max(scan.shape),
            "test_fraction": TEST_FRACTION,
        }
    low, high = FLUX_RANGE
    return Written(
        data=(
            f"{options.simulated} simulated frames: polygons, discs and smooth textures under the probe, which "
            f"{source}, at {low:g} to {high:g} times its flux and {LEAST_SHARE:g} to {USUAL_SHARE:g} of that",
            f"{taken} frames of {options.name}, without any truth: a part of the photons must predict the rest",
        ),
        split=split,
        valid=Validity(
            frame_shape=(size, size),
            counts_per_frame=Span(float(LEAST_SHARE * counts.min()), float(USUAL_SHARE * high * flux(modes))),
            energy_ev=_told(options.energy_kev, 1e3),
            object_pixel_m=_told(options.object_pixel_nm, 1e-9),
            probe_sha256=probe_sha256(modes),
        ),
        recipe={"simulated": options.simulated, "batch": BATCH, "measured_in_batch": MEASURED, "peak_rate": PEAK_RATE},
        extra=extra
        | {
            "size": f"{size} px"
            + ("" if scan.shape == (size, size) else f", the middle of frames of {scan.shape[0]} px around the beam"),
            "object_pixel": f"wavelength x distance / ({size} x detector pixel)"
            + ("; nobody told them" if options.object_pixel_nm is None else ""),
            "probe_counts": flux(modes),
            "counts_per_frame_measured": [int(counts.min()), int(counts.max())],
        },
    )


def _told(value: float | None, scale: float) -> Span | None:
    """Of a quantity that had one value."""
    return None if value is None else Span(value * scale, value * scale)


def probe_sha256(modes: Complex) -> str:
    """By which a probe is known again: of its complex64 numbers in C order."""
    return hashlib.sha256(np.ascontiguousarray(modes, "<c8").tobytes()).hexdigest()


@click.command("ptycho")
@click.option(
    "--scan",
    "scan_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The scan to learn for; needed unless --watch is given.",
)
@click.option(
    "--probe",
    "probe_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Modes [modes, size, size], complex, as .npy; scaled to the frames' counts. [default: found from the scan]",
)
@click.option(
    "--size", type=click.Choice(["64", "128"]), default="128", show_default=True, help="Of the frames served."
)
@click.option(
    "--simulated",
    type=click.IntRange(64),
    default=SIMULATED,
    show_default=True,
    help="Frames to learn from, 55 kB each.",
)
@click.option(
    "--energy",
    "energy_kev",
    type=click.FloatRange(0, min_open=True),
    metavar="KEV",
    help="Of the photons, for the card: scan files do not tell it. Series of another energy are labelled then.",
)
@click.option(
    "--object-pixel",
    "object_pixel_nm",
    type=click.FloatRange(0, min_open=True),
    metavar="NM",
    help="Wavelength x distance / (--size x detector pixel), for positions in metres and the card. "
    "[default: what the scan's file tells]",
)
@watch_options
@training_options(STEPS, "20min")
def train_ptycho(
    scan_file: Path | None,
    probe_file: Path | None,
    size: str,
    simulated: int,
    energy_kev: float | None,
    object_pixel_nm: float | None,
    watched: Watched | None,
    recipe: Recipe,
    out: Path,
    fresh: bool,
) -> None:
    """Train a ptychography model for a scan; nothing but the scan is needed. Or go on learning as scans come."""
    if watched is not None:
        from edge.training.fine_tuning import fine_tuned  # it builds on this module

        watch(SPECS[int(size)], watched, out, recipe, fine_tuned)
        return
    if scan_file is None:
        raise click.UsageError("--scan FILE is needed, or --watch FOLDER")
    try:
        probe = load_probe(probe_file) if probe_file is not None else None
        with open_scan(scan_file) as scan:
            told_m = told_pixel_m(scan_file, scan, int(size)) if object_pixel_nm is None else object_pixel_nm * 1e-9
            pixel_nm = None if told_m is None else told_m * 1e9
            options = Options(int(size), probe, simulated, scan_file.name, energy_kev, pixel_nm)
            card = train(recipe, out, in_pixels(scan, told_m, int(size)), options, fresh)
    except (OSError, ValueError, RuntimeError, CanaryError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{out}: {card.parameters} parameters, ONNX differs from torch by {card.onnx_minus_torch:.2g}")


def _probe(run: TrainingRun, scan: Scan, block: Block) -> NDArray[np.complex64]:
    """`MODES` modes, kept in `out` too: a training that was stopped need not find them again."""
    kept = run.out / FOUND_PROBE_FILE
    if kept.exists():
        return load_probe(kept)
    assert block.split is not None
    heard = run.doing(f"probe, {MODES} modes", PROBE_ITERATIONS)
    modes = scan_probe(scan, block.split.training, run.data_rng, PROBE_ITERATIONS, lambda done, residual: heard(done))
    save_probe(kept, modes)
    return modes
