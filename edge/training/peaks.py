# pyright: reportMissingImports=false
"""`edge train peaks`: learns to find Bragg spots, from simulated frames alone."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional

from edge.inference.canary import as_bytes, write_canary
from edge.models.peaks import SPEC, THRESHOLD
from edge.physics.spots import Kind, random_spots
from edge.training.export import export
from edge.training.loop import Schedule, Step, optimise, pixels_of, run_body, turned
from edge.training.network import parameters
from edge.training.peak_frames import SPOT, UNSURE, PeakSet, peak_set
from edge.training.peak_network import PeakList, PeakNet, features
from edge.training.pixels import Served

OFFSET_SHARE = 0.5
"""Of the offsets' error in the loss."""


@dataclass(frozen=True)
class Recipe:
    """What one training does; written beside the weights."""

    minutes: float  # of the fit alone
    seed: int
    simulated: int  # crops
    batch: int = 16
    peak_rate: float = 4e-3
    threads: int = 1


def train(recipe: Recipe, out: Path, progress: Progress) -> list[Step]:
    """Writes a version folder of the model repository to `out`: graph, canary and card; returns the course."""
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    drawing = progress.add_task("simulated crops", total=recipe.simulated)
    data = peak_set(recipe.simulated, Kind(), rng, lambda done: progress.update(drawing, completed=done))
    seen = torch.cat([features(pixels).half() for pixels in pixels_of(data.images)])
    steps: list[Step] = []
    task = progress.add_task("training", total=1.0)

    def hear(step: Step) -> None:
        steps.append(step)
        progress.update(task, completed=step.done, description=f"training, offsets {step.figure:.3f} px off")

    schedule = Schedule(60 * recipe.minutes, recipe.batch, recipe.peak_rate)
    net = optimise(PeakNet(), lambda net: loss(net, *draw(data, seen, recipe.batch, rng)), schedule, hear)
    progress.update(task, completed=1.0)
    save(net, recipe, steps, out)
    return steps


def save(net: PeakNet, recipe: Recipe, steps: list[Step], out: Path) -> None:
    """Writes graph, canary and card to the folder `out`."""
    rng = np.random.default_rng(recipe.seed)
    frames = np.stack([random_spots((101, 118), Kind(), rng).image for _ in range(4)])
    difference = export(Served(PeakList(net)), SPEC, out / "model.onnx", as_bytes(frames))
    write_canary(out, SPEC, canary_frames())
    facts = {
        **asdict(recipe),
        "threshold": THRESHOLD,
        "parameters": parameters(net),
        "onnx_minus_torch": difference,
        "last": asdict(steps[-1]) if steps else None,
    }
    (out / "card.json").write_text(json.dumps({"training": facts}, indent=2) + "\n")


def canary_frames() -> np.ndarray:
    """Two frames uint8 [2, 64, 80] with plain strong spots: another processor must not lose one by rounding.

    The second has no noise: in wider pixels its counts are multiplied, and nothing would stand out of noise times 1e5.
    """
    row, col = np.arange(64)[:, None], np.arange(80)[None, :]
    places = ((16.3, 20.2, 120.0), (41.7, 55.1, 170.0), (50.2, 14.6, 140.0), (20.8, 62.4, 160.0))
    image = 3 + sum(top * np.exp(-((row - r) ** 2 + (col - c) ** 2) / (2 * 1.6**2)) for r, c, top in places)
    counted = np.random.default_rng(0).poisson(image)
    return np.stack([counted, np.rint(image)]).clip(0, 253).astype(np.uint8)


def draw(data: PeakSet, seen: Tensor, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A batch: what the network sees, labels [size, 1, 96, 96] and offsets [size, 2, 96, 96], flipped and turned at
    random, all alike. `seen` [n, 2, 96, 96] are the features of `data`."""
    chosen = rng.integers(0, len(data.images), size)
    batch = (
        seen[torch.from_numpy(chosen)].float(),
        torch.from_numpy(data.labels[chosen])[:, None],
        torch.from_numpy(data.offsets[chosen]).float(),
    )
    down, right, transposed = (bool(one) for one in rng.random(3) < 0.5)
    features, labels, offsets = turned(batch, (down, right), transposed)
    if transposed:
        down, right, offsets = right, down, offsets.flip(1)
    return features, labels, offsets * torch.tensor([-1.0 if flip else 1.0 for flip in (down, right)])[:, None, None]


def loss(net: PeakNet, features: Tensor, labels: Tensor, offsets: Tensor) -> tuple[Tensor, float]:
    """Cross entropy a spot, so that probabilities are true ones, and the offsets' error in pixels."""
    said = run_body(net.body, features)
    sure, spot = (labels != UNSURE).float(), (labels == SPOT).float()
    wrong = functional.binary_cross_entropy_with_logits(said[:, :1], spot, weight=sure, reduction="sum")
    spots = spot.sum().clamp(min=1)
    off = functional.smooth_l1_loss(said[:, 1:] * spot, offsets * spot, beta=0.1, reduction="sum") / spots
    away = float((((said[:, 1:] - offsets) ** 2).sum(1, keepdim=True).sqrt() * spot).sum().detach() / spots)
    return wrong / spots + OFFSET_SHARE * off, away


@click.command("peaks")
@click.option("--minutes", default=10.0, show_default=True, help="Time for the fit; the crops come on top.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder, made if needed.")
@click.option("--simulated", default=6000, show_default=True, help="Simulated crops to learn from, 65 kB each.")
@click.option("--threads", default=1, show_default=True, help="Threads of torch; one is best beside other work.")
def train_peaks(minutes: float, seed: int, out: Path, simulated: int, threads: int) -> None:
    """Train the spot finder on simulated frames."""
    out.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        train(Recipe(minutes, seed, simulated, threads=threads), out, progress)
    click.echo((out / "card.json").read_text(), nl=False)
