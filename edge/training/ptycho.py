# pyright: reportMissingImports=false
"""`edge train ptycho`: from a measured scan to a model that can be served.

Only the probe and the flux come from the scan, and those from its training block alone (`split`). What the network
learns from are simulated objects.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edge.inference.canary import as_bytes, write_canary
from edge.models.ptycho import CROP_PX, FRAME_PX, SPEC
from edge.physics.probe import flux, save_probe
from edge.scanfiles import Scan, ScanFileError, open_scan
from edge.training.export import export
from edge.training.fit import fit
from edge.training.frames import TrainingSet, patch_weight, simulated_set
from edge.training.loop import Schedule, Step
from edge.training.network import ServedNet, parameters
from edge.training.scan_probe import ScanError, pixel_positions, scan_probe
from edge.training.split import TEST_FRACTION, block_split, fingerprint

CANARY_FRAMES = 2


@dataclass(frozen=True)
class Recipe:
    """What one training does; written beside the weights."""

    minutes: float  # of the fit alone
    seed: int
    simulated: int  # frames
    threads: int = 1


def train(scan: Scan, recipe: Recipe, out: Path, progress: Progress) -> list[Step]:
    """Writes a version folder of the model repository to `out`: graph, probe, canary and card.

    Returns the course of the training.

    Raises ScanError when the scan lacks positions or a probe or has other frames than the model takes.
    """
    if scan.shape != (FRAME_PX, FRAME_PX):
        raise ScanError(f"the model takes frames of {FRAME_PX} x {FRAME_PX}, the scan has {scan.shape}")
    torch.set_num_threads(recipe.threads)
    rng = np.random.default_rng(recipe.seed)
    split = block_split(pixel_positions(scan), FRAME_PX)
    modes = _probe(scan, split.training, rng, progress)
    data = _simulated(modes, recipe.simulated, rng, progress)
    steps: list[Step] = []
    task = progress.add_task("training", total=1.0)

    def hear(step: Step) -> None:
        steps.append(step)
        progress.update(task, completed=step.done, description=f"training, phase error {step.figure:.3f} rad")

    net = fit(data, patch_weight(modes), Schedule(60 * recipe.minutes), recipe.seed, hear)
    progress.update(task, completed=1.0)
    save_probe(out / "probe.npy", modes)
    frames = np.stack([scan.frame(int(index)) for index in split.training[:4]]).astype("<u2")
    difference = export(ServedNet(net), SPEC, out / "model.onnx", as_bytes(frames))
    border = (FRAME_PX - CROP_PX) // 2
    known = np.pad(data.crops[:CANARY_FRAMES], ((0, 0), (border, border), (border, border)))
    write_canary(out, SPEC, np.minimum(known, 253).astype(np.uint8))
    facts = {
        **asdict(recipe),
        "training_frames": len(split.training),
        "test_frames": len(split.test),
        "probe_counts": flux(modes),
        "parameters": parameters(net),
        "onnx_minus_torch": difference,
        "last": asdict(steps[-1]) if steps else None,
    }
    assert scan.positions is not None
    probe_scan = {
        "positions_sha256": fingerprint(scan.positions),
        "patch_px": FRAME_PX,
        "test_fraction": TEST_FRACTION,
    }
    (out / "card.json").write_text(json.dumps({"probe_scan": probe_scan, "training": facts}, indent=2) + "\n")
    return steps


@click.command("ptycho")
@click.option("--scan", "scan_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--minutes", default=20.0, show_default=True, help="Time for the fit; probe and frames come on top.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder, made if needed.")
@click.option("--simulated", default=32000, show_default=True, help="Simulated frames to learn from, 44 kB each.")
@click.option("--threads", default=1, show_default=True, help="Threads of torch; one is best beside other work.")
@click.option("--curve", is_flag=True, help="Also draw the course of the training as OUT.png.")
def train_ptycho(
    scan_file: Path, minutes: float, seed: int, out: Path, simulated: int, threads: int, curve: bool
) -> None:
    """Train the ptychography model on simulated frames with the probe of a measured scan."""
    out.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    try:
        with open_scan(scan_file) as scan, Progress(*columns) as progress:
            steps = train(scan, Recipe(minutes, seed, simulated, threads), out, progress)
    except (ScanError, ScanFileError) as error:
        raise click.ClickException(str(error)) from error
    if curve:
        draw_curve(steps, out.with_suffix(".png"))
    click.echo((out / "card.json").read_text(), nl=False)


def draw_curve(steps: list[Step], path: Path) -> None:
    """Loss over steps as a picture."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(6, 4), layout="constrained")).subplots()
    axes.plot([step.steps for step in steps], [step.figure for step in steps], label="phase, rad")
    axes.plot([step.steps for step in steps], [step.loss for step in steps], label="loss")
    axes.set(xlabel="steps", ylabel="probe-weighted error on simulated frames", yscale="log")
    axes.legend()
    figure.savefig(path)


def _probe(scan: Scan, chosen: NDArray[np.intp], rng: np.random.Generator, progress: Progress) -> NDArray[np.complex64]:
    iterations = 40
    task = progress.add_task("probe", total=iterations)

    def hear(done: int, residual: float) -> None:
        progress.update(task, completed=done, description=f"probe, residual {residual:.4f}")

    return scan_probe(scan, chosen, rng, iterations, hear)


def _simulated(modes: NDArray[np.complex64], count: int, rng: np.random.Generator, progress: Progress) -> TrainingSet:
    task = progress.add_task("simulated frames", total=count)
    return simulated_set(modes, count, rng, lambda done: progress.update(task, completed=done))
