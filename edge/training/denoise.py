# pyright: reportMissingImports=false
"""`edge train denoise`: learns what photons would be counted on average, from simulated pictures alone."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from edge.inference.canary import as_bytes, write_canary
from edge.inference.repository import version_folder
from edge.models.denoise import SPEC
from edge.physics.probe import load_probe
from edge.training.denoise_frames import Batch, draw, pictures
from edge.training.denoise_network import DenoisedImage, DenoiseNet, expected, features
from edge.training.export import export
from edge.training.loop import Schedule, Step, optimise, pixels_of, run_body, turned
from edge.training.network import parameters
from edge.training.peaks import canary_frames
from edge.training.pixels import Served


@dataclass(frozen=True)
class Recipe:
    """What one training does; written beside the weights."""

    minutes: float  # of the fit alone
    seed: int
    pictures: int
    batch: int = 16
    peak_rate: float = 3e-3
    threads: int = 1


def train(recipe: Recipe, out: Path, progress: Progress) -> list[Step]:
    """Writes a version folder of the model repository to `out`: graph, canary and card; returns the course.

    The far fields among the pictures are of the shipped ptychography probe.
    """
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    drawing = progress.add_task("pictures", total=recipe.pictures)
    modes = load_probe(version_folder("ptycho") / "probe.npy")
    shown = pictures(modes, recipe.pictures, rng, lambda done: progress.update(drawing, completed=done))
    data = examples(draw(shown, rng))
    steps: list[Step] = []
    task = progress.add_task("training", total=1.0)

    def hear(step: Step) -> None:
        steps.append(step)
        progress.update(task, completed=step.done, description=f"training, deviance {step.figure:.4f}")

    schedule = Schedule(60 * recipe.minutes, recipe.batch, recipe.peak_rate)
    net = optimise(DenoiseNet(), lambda net: loss(net, data, recipe.batch, rng), schedule, hear)
    progress.update(task, completed=1.0)
    save(net, recipe, steps, out)
    return steps


def save(net: DenoiseNet, recipe: Recipe, steps: list[Step], out: Path) -> None:
    """Writes graph, canary and card to the folder `out`."""
    frames = np.random.default_rng(recipe.seed).poisson(3.0, (2, 101, 118)).astype(np.uint16)
    difference = export(Served(DenoisedImage(net)), SPEC, out / "model.onnx", as_bytes(frames))
    write_canary(out, SPEC, canary_frames())
    facts = {
        **asdict(recipe),
        "parameters": parameters(net),
        "onnx_minus_torch": difference,
        "last": asdict(steps[-1]) if steps else None,
    }
    (out / "card.json").write_text(json.dumps({"training": facts}, indent=2) + "\n")


class Examples(NamedTuple):
    """Tensors [n, ..., 96, 96]."""

    seen: Tensor  # float16, four channels
    near: Tensor
    wanted: Tensor  # counts


def examples(batch: Batch) -> Examples:
    """What the network looks at and what it shall say."""
    made = [features(pixels) for pixels in pixels_of(batch.images)]
    wanted = torch.from_numpy(batch.expected)[:, None]
    return Examples(torch.cat([seen.half() for seen, _ in made]), torch.cat([near for _, near in made]), wanted)


def loss(net: DenoiseNet, data: Examples, size: int, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Poisson deviance a pixel of the prediction from the truth, for `size` frames flipped and turned at random.

    Its least expected value is at the mean of what the truth may be, so the flux is kept. A prediction from one frame
    is also the best for a second, independent one of the same expectation (Lehtinen et al., ICML 2018).
    """
    chosen = torch.from_numpy(rng.integers(0, len(data.seen), size))
    down, right, transposed = (bool(one) for one in rng.random(3) < 0.5)
    seen, near, wanted = turned([part[chosen].float() for part in data], (down, right), transposed)
    wrong = deviance(expected(near, run_body(net.body, seen)), wanted).mean()
    return wrong, float(wrong.detach())


def deviance(predicted: Tensor, truth: Tensor) -> Tensor:
    """Poisson deviance of each pixel; zero where both are equal."""
    return 2 * (predicted - truth - truth * torch.log(predicted / truth.clamp(min=1e-9)))


@click.command("denoise")
@click.option("--minutes", default=10.0, show_default=True, help="Time for the fit; the pictures come on top.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder, made if needed.")
@click.option("--pictures", "count", default=6000, show_default=True, help="Pictures to draw frames from, 37 kB each.")
@click.option("--threads", default=1, show_default=True, help="Threads of torch; one is best beside other work.")
def train_denoise(minutes: float, seed: int, out: Path, count: int, threads: int) -> None:
    """Train the denoiser on simulated frames."""
    out.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        train(Recipe(minutes, seed, count, threads=threads), out, progress)
    click.echo((out / "card.json").read_text(), nl=False)
