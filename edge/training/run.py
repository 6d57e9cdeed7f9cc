# pyright: reportMissingImports=false
"""One training from its command to a version folder: options, progress, checkpoints, and what is left at the end.

The folder holds `model.onnx`, `canary.npz`, `card.json` and `weights.npz` (the numbers of the network by name, from
which a training may go on), and the loss curve as `training.png`.
"""

import functools
import re
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from edge.inference.canary import as_bytes, write_canary
from edge.inference.cards import write_card
from edge.inference.repository import GRAPH_FILE
from edge.models.card import Card, Validity
from edge.models.spec import ModelSpec
from edge.training.course import CheckpointError, Course, Step, TrainingError
from edge.training.curve import draw_curve
from edge.training.export import export
from edge.training.loop import Net, Schedule, optimise
from edge.training.network import parameters

WEIGHTS_FILE, CURVE_FILE = "weights.npz", "training.png"
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
DATA, FIT = 0, 1
"""Streams of random numbers, one for the data and one for the fit: data drawn anew after a stop are the same."""


@dataclass(frozen=True)
class Recipe:
    """What the options of every training say; written into the card."""

    seed: int
    steps: int
    budget_s: float | None  # wall-clock time of all fits together
    threads: int = 1


@dataclass(frozen=True)
class Written:
    """What a training says of itself in its card."""

    data: Sequence[str]
    split: str
    valid: Validity = field(default_factory=Validity)
    recipe: Mapping[str, Any] = field(default_factory=dict)  # beyond the common options
    extra: Mapping[str, Any] = field(default_factory=dict)


class TrainingRun:
    """A training under way, writing to the folder `out`."""

    def __init__(self, spec: ModelSpec, recipe: Recipe, out: Path, progress: Progress) -> None:
        self.spec, self.recipe, self.out = spec, recipe, out
        self._progress = progress
        self._courses: dict[str, Course] = {}
        self._begun = time.monotonic()
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)

    @property
    def data_rng(self) -> np.random.Generator:
        """For drawing data: the same numbers at every start."""
        return np.random.default_rng([self.recipe.seed, DATA])

    def doing(self, what: str, total: float) -> Callable[[float], None]:
        """A line of progress; what is returned hears how much of `total` is done."""
        task = self._progress.add_task(what, total=total)
        return lambda done: self._progress.update(task, completed=done)

    def fit(
        self,
        net: Net,
        loss: Callable[[Net, np.random.Generator], tuple[Tensor, float]],
        schedule: Schedule,
        name: str = "fit",
        figure: str = "loss",
    ) -> Net:
        """`optimise`, with progress and a checkpoint of the fit's `name`; `figure` says what `loss` reports."""
        task = self._progress.add_task(name, total=1.0)

        def hear(step: Step) -> None:
            self._progress.update(task, completed=step.done, description=f"{name}, {figure} {step.figure:.4g}")

        recipe = {"model": self.spec.name, "fit": name, **asdict(self.recipe), **asdict(schedule)}
        course = self._courses[name] = Course(self.out / f"{name}.ckpt", recipe, hear)
        # Where a fit was stopped its own checkpoint says how chance goes on; other fits do not change that.
        rng = np.random.default_rng([self.recipe.seed, FIT, *name.encode()])
        mean = optimise(net, loss, schedule, rng, course)
        self._progress.update(task, completed=1.0)
        return mean

    def finished(
        self, served: nn.Module, net: nn.Module, probes: NDArray[Any], canary: NDArray[np.uint8], written: Written
    ) -> Card:
        """Writes the version folder and returns its card; checkpoints are removed.

        `served` is the whole graph, checked against torch on the images `probes` uint16 [n, height, width]; `net` is
        what was trained; `canary` uint8 [n, height, width]. Raises TrainingError where ONNX Runtime disagrees.
        """
        difference = export(served, self.spec, self.out / GRAPH_FILE, as_bytes(probes.astype("<u2")))
        write_canary(self.out, self.spec, canary)
        save_weights(self.out / WEIGHTS_FILE, net)
        points = [point for course in self._courses.values() for point in course.points]
        told = {**asdict(self.recipe), **written.recipe, "seconds": round(time.monotonic() - self._begun, 1)}
        card = Card(
            model=self.spec.name,
            data=tuple(written.data),
            split=written.split,
            training=told
            | {name: asdict(course.points[-1]) for name, course in self._courses.items() if course.points},
            parameters=parameters(net),
            onnx_minus_torch=difference,
            valid=written.valid,
            course=tuple((float(point.steps), point.loss) for point in points[:: max(1, len(points) // 100)]),
            extra=dict(written.extra),
        )
        write_card(self.out, card)
        draw_curve(self.out / CURVE_FILE, {name: course.points for name, course in self._courses.items()})
        for course in self._courses.values():
            course.forget()
        return card


@contextmanager
def training_run(spec: ModelSpec, recipe: Recipe, out: Path, fresh: bool = False) -> Iterator[TrainingRun]:
    """A training of `spec` into the folder `out`, made if needed; `fresh` forgets checkpoints.

    Raises click.ClickException for checkpoints of another training; an interrupt says how to go on.
    """
    out.mkdir(parents=True, exist_ok=True)
    if fresh:
        for left in out.glob("*.ckpt"):
            left.unlink()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            yield TrainingRun(spec, recipe, out, progress)
    except (CheckpointError, TrainingError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        if list(out.glob("*.ckpt")):
            click.echo(f"stopped; the same command goes on from the checkpoint in {out}", err=True)
        raise


def save_weights(path: Path, net: nn.Module) -> None:
    """All numbers of `net` by name, as numpy arrays."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in net.state_dict().items()}
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]


def load_weights(path: Path, net: nn.Module) -> None:
    """Into `net`, in place. Raises OSError, or ValueError when the file is damaged or of another network."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            state = {name: torch.from_numpy(stored[name]) for name in stored.files}
    except (ValueError, TypeError, AttributeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged or holds no weights ({type(error).__name__}: {error})") from error
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} holds the weights of another network: {' '.join(str(error).split())}") from error


class Duration(click.ParamType):
    """ "20min", "90s", "1.5h", into seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h)\s*", str(value))
        if found is None or float(found[1]) <= 0:
            self.fail(f"{value!r} is no time: write 20min, 90s or 1.5h", param, ctx)
        return float(found[1]) * SECONDS[found[2]]


def training_options(steps: int, budget: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options of every training; the command gets them as `recipe`, `out` and `fresh`."""

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        @click.option(
            "--out",
            type=click.Path(file_okay=False, path_type=Path),
            required=True,
            help="Folder for the version, made if needed; a stopped training goes on there.",
        )
        @click.option("--seed", default=0, show_default=True)
        @click.option("--steps", type=click.IntRange(1), default=steps, show_default=True, help="Steps of the fit.")
        @click.option(
            "--budget",
            type=Duration(),
            default=budget,
            help="Longest time of the fit, e.g. 20min; it then ends there, and repeats in quality, not in bits.",
        )
        @click.option(
            "--threads",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="Threads of torch; one is best beside other work.",
        )
        @click.option("--fresh", is_flag=True, help="Begin anew even where a checkpoint was left.")
        @functools.wraps(command)
        def whole(
            *, out: Path, seed: int, steps: int, budget: float | None, threads: int, fresh: bool, **others: Any
        ) -> None:
            command(recipe=Recipe(seed, steps, budget, threads), out=out, fresh=fresh, **others)

        return whole

    return decorated
