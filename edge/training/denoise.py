# pyright: reportMissingImports=false
"""`edge train denoise`: learns what photons would be counted on average, and how well one can know that.

From simulated frames, whose truth is known, and from measured frames of the training block of a scan, where one is
named: their photons are dealt out to two frames, and the one must predict the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge.inference.repository import version_folder
from edge.models.card import CARD_FILE, Validity, parse_card
from edge.models.denoise import SPEC
from edge.models.spec import SENTINELS
from edge.physics.diffraction import MAX_UINT16_COUNT
from edge.physics.probe import load_probe
from edge.physics.spots import Kind, random_spots
from edge.scanfiles import Scan, ScanFileError, open_scan
from edge.training.denoise_calibration import calibrate
from edge.training.denoise_frames import FLAG, FLUX_RANGE, THINNED_RANGE, Batch, drawn, joined, pictures, thinned
from edge.training.denoise_network import DenoisedImage, DenoiseNet, estimate, features
from edge.training.loop import Schedule, pixels_of, run_body
from edge.training.pixels import Served
from edge.training.run import (
    WEIGHTS_FILE,
    Recipe,
    TrainingRun,
    Written,
    load_weights,
    training_options,
    training_run,
)
from edge.training.scan_probe import ScanError, pixel_positions
from edge.training.split import block_split

BATCH, MEASURED_OF_BATCH = 16, 10
PEAK_RATE = 3e-3
FRAME_SHARE, LEAST_DEVIANCE = 0.3, 0.05
"""Of a frame's loss the logarithm counts: else the few with hot pixels, or with many counts, would say all."""

VARIANCE_SHARE = 0.02
"""Of the variance's loss: it shares the network, and must not take from the estimate."""

DARK, DARKEST = 0.1, 0.01
"""Counts a pixel: far below the first the deviance weighs more, up to eleven times at none. There it is small, and
would hardly be learned from."""


@dataclass(frozen=True)
class Measured:
    """Frames of a scan that may be learned from."""

    name: str
    frames: NDArray[np.uint16]  # [n, height, width], FLAG where a pixel is flagged
    split: str


@dataclass(frozen=True)
class Data:
    """What is learned from, and whose weights are gone on from."""

    measured: Measured | None
    pictures: int  # simulated
    start: Path | None = None  # a version folder


def train(recipe: Recipe, out: Path, data: Data, fresh: bool = False) -> None:
    """Writes a version folder to `out`.

    The far fields among the pictures are of the shipped ptychography probe. Raises click.ClickException for a
    checkpoint of another training, OSError or ValueError for a start that is of no such network.
    """
    with training_run(SPEC, recipe, out, fresh) as run:
        modes = load_probe(version_folder("ptycho") / "probe.npy")
        shown = pictures(modes, data.pictures, run.data_rng, run.doing("pictures", data.pictures))
        draw = batches(shown, data.measured)
        net = DenoiseNet()
        if data.start is not None:
            load_weights(data.start / WEIGHTS_FILE, net)
        schedule = Schedule(recipe.steps, PEAK_RATE, seconds=recipe.budget_s)
        net = run.fit(net, lambda net, rng: loss(net, draw(rng)), schedule, figure="deviance")
        calibrate(net, draw if data.measured is None else of_measured(data.measured), run.data_rng)
        _finish(run, net, data)


def batches(shown: NDArray[np.float32], measured: Measured | None) -> Callable[[np.random.Generator], Batch]:
    """Batches of frames of `shown` [n, 96, 96], and of the `measured` ones where there are any."""

    def draw(rng: np.random.Generator) -> Batch:
        if measured is None:
            return drawn(shown, BATCH, rng)
        few = drawn(shown, BATCH - MEASURED_OF_BATCH, rng)
        return joined(thinned(measured.frames, MEASURED_OF_BATCH, rng), few)

    return draw


def of_measured(measured: Measured) -> Callable[[np.random.Generator], Batch]:
    """Batches of whole `measured` frames: of those a pixel's brightness in its own frame is known."""
    return lambda rng: thinned(measured.frames, BATCH // 2, rng, whole=True)


def loss(net: DenoiseNet, batch: Batch) -> tuple[Tensor, float]:
    """What to minimise on `batch`, and the Poisson deviance a pixel.

    The deviance is least, on average, at the mean of what the truth may be, given the frame: so the flux is kept, at
    any level. The variance is fitted to the squared errors, less the noise of what they were compared with; that
    gamma likelihood is least at their mean, and holds though single differences may be negative.
    """
    given = [torch.cat(parts) for parts in zip(*(features(one) for one in pixels_of(batch.images)), strict=True)]
    known = [torch.from_numpy(array)[:, None] for array in (batch.wanted, batch.noise, batch.judged)]
    seen, near, wide, wanted, noise, judged = *given, *known
    counts, variance = estimate(near, run_body(net.body, seen))
    wrong = deviance(counts, wanted) * judged
    square = (counts.detach() - wanted).square() - noise
    unsure = ((torch.log(variance / wide) + square / variance) * judged).mean()
    # A weight that depends on what was seen alone leaves the least where it is.
    weighed = (wrong * (1 + DARK / (wide + DARKEST))).mean(dim=(1, 2, 3))
    even = FRAME_SHARE * torch.log(weighed + LEAST_DEVIANCE).mean()
    return even + VARIANCE_SHARE * unsure, float(wrong.detach().mean())


def deviance(predicted: Tensor, truth: Tensor) -> Tensor:
    """Poisson deviance of each pixel; zero where both are equal."""
    return 2 * (predicted - truth - truth * torch.log(predicted / truth.clamp(min=1e-9)))


def measured_frames(scan: Scan, name: str) -> Measured:
    """The frames of the training block of `scan`. Raises ScanError when it has no positions, or no two blocks."""
    try:
        chosen = block_split(pixel_positions(scan), max(scan.shape)).training
    except ValueError as error:
        raise ScanError(str(error)) from error
    frames = np.stack([two_bytes(scan.frame(int(index))) for index in chosen])
    split = f"{len(frames)} frames of the training block of {name}; those of its test block were never seen"
    return Measured(name, frames, split)


def two_bytes(frame: NDArray[np.unsignedinteger]) -> NDArray[np.uint16]:
    """Counts of any item size as uint16, flagged pixels as FLAG."""
    flagged = frame >= SENTINELS[frame.dtype.itemsize]
    return np.where(flagged, FLAG, np.minimum(frame, MAX_UINT16_COUNT)).astype(np.uint16)


def _finish(run: TrainingRun, net: DenoiseNet, data: Data) -> None:
    measured, count = data.measured, data.pictures
    probes = np.random.default_rng(0).poisson(3.0, (2, 101, 118)).astype(np.uint16)
    low, high = FLUX_RANGE
    told = [
        f"{count} simulated pictures of 96 x 96 (far fields of random objects under the shipped ptychography probe, "
        f"Bragg spots, scatter) at {low:g} to {high:g} times their flux, some with gaps, dead and hot pixels"
    ]
    if measured is not None:
        low, high = THINNED_RANGE
        told.append(f"{len(measured.frames)} frames of {measured.name}, {low:g} to {high:g} of their photons")
    run.finished(
        Served(DenoisedImage(net)),
        net,
        probes,
        canary_frames(),
        Written(
            told,
            "simulation alone" if measured is None else measured.split,
            Validity(),  # any size, any flux: what it makes of a count depends on its neighbours alone
            {"batch": BATCH, "pictures": count, "measured": None if measured is None else measured.name},
            {} if data.start is None else {"start": _history(data.start)},
        ),
    )


def _history(start: Path) -> dict[str, Any]:
    """The recipe of the version `start`, and of those that it went on from itself."""
    card = parse_card((start / CARD_FILE).read_bytes())
    return {**card.training, **card.extra}


def canary_frames() -> NDArray[np.uint8]:
    """Two frames uint8 [2, 64, 80] with spots over scatter; the second has no noise."""
    frame = random_spots((64, 80), Kind(background=(2.0, 5.0), blemishes=0.0), np.random.default_rng(0)).expected
    level = frame / frame.max() * 160 + 2
    return np.stack([np.random.default_rng(1).poisson(level), np.rint(level)]).clip(0, 253).astype(np.uint8)


@click.command("denoise")
@training_options(steps=7000)
@click.option(
    "--scan",
    "scan_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measured frames with positions; those of the training block are learned from, too.",
)
@click.option(
    "--start",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Version folder whose weights to go on from, e.g. model_repo/denoise/1.",
)
@click.option("--pictures", "count", default=3000, show_default=True, help="Simulated pictures, 37 kB each.")
def train_denoise(
    recipe: Recipe, out: Path, fresh: bool, scan_file: Path | None, start: Path | None, count: int
) -> None:
    """Train the denoiser on simulated and measured frames."""
    measured = None
    try:
        if scan_file is not None:
            with open_scan(scan_file) as scan:
                measured = measured_frames(scan, scan_file.name)
        train(recipe, out, Data(measured, count, start), fresh)
    except (ScanError, ScanFileError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
