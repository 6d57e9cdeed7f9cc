# pyright: reportMissingImports=false
"""`edge train peaks`: learns to find Bragg spots, from simulated frames alone."""

from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edge.models.peaks import MOST_PEAKS, SPEC, THRESHOLD
from edge.models.spec import SENTINELS
from edge.training.loop import Schedule, turned
from edge.training.peak_calibration import calibrated
from edge.training.peak_frames import SCENE_PX, SPOT, UNSURE, PeakSet, peak_set
from edge.training.peak_network import (
    CELL_PX,
    MIDDLE_PX,
    NOWHERE,
    Candidates,
    PeakNet,
    candidates,
    framed,
    known,
    patches,
)
from edge.training.run import Recipe, Written, training_options, training_run

BATCH = 4
PEAK_RATE, WEIGHT_DECAY = 3e-3, 1e-2
OFFSET_SHARE = 0.5
"""Of the offsets' error in the loss."""

LOOKED_AT = 256
"""Candidates of one crop that the judge learns from."""

USUAL_SPOTS = 150.0
"""In a batch. The losses are sums over it: were they means, spots of sparse frames would count for more."""

ON_SPOT_PX, NEAR_SPOT_PX = 2.5, 3.5
"""Up to the first a candidate is at the spot, beyond the second it is not."""

SENTINEL = torch.tensor(SENTINELS[2])


def train(recipe: Recipe, out: Path, count: int, fresh: bool = False) -> None:
    """Writes a version folder to `out`, from `count` simulated scenes.

    Raises click.ClickException for a checkpoint of another training.
    """
    with training_run(SPEC, recipe, out, fresh) as run:
        data = peak_set(count, run.data_rng, run.doing("simulated scenes", count))
        schedule = Schedule(recipe.steps, PEAK_RATE, WEIGHT_DECAY, recipe.budget_s)
        net = run.fit(PeakNet(), lambda net, rng: loss(net, *draw(data, rng)), schedule, figure="offset, px")
        apart = peak_set(max(count // 10, 8), np.random.default_rng([recipe.seed, 2]))
        served, told = calibrated(net, apart)
        probes = peak_set(4, np.random.default_rng([recipe.seed, 3])).images[:, :101, :118]
        run.finished(
            served,
            net,
            probes,
            canary_frames(),
            Written(
                [f"{count} simulated scenes of {SCENE_PX} x {SCENE_PX}: Bragg spots, powder rings, both, and neither"],
                f"simulation alone; calibrated on {len(apart.images)} scenes of other seeds",
                recipe={"batch": BATCH, "scenes": count},
                extra={"threshold": THRESHOLD, "listed_at_most": MOST_PEAKS} | told,
            ),
        )


def canary_frames() -> NDArray[np.uint8]:
    """Two frames uint8 [2, 64, 80] with plain strong spots: another processor must not lose one by rounding.

    The second has no noise: in wider pixels its counts are multiplied, and nothing would stand out of noise times 1e5.
    """
    row, col = np.arange(64)[:, None], np.arange(80)[None, :]
    places = ((16.3, 20.2, 120.0), (41.7, 55.1, 170.0), (50.2, 14.6, 140.0), (20.8, 62.4, 160.0))
    image = 3 + sum(top * np.exp(-((row - r) ** 2 + (col - c) ** 2) / (2 * 1.6**2)) for r, c, top in places)
    counted = np.random.default_rng(0).poisson(image)
    return np.stack([counted, np.rint(image)]).clip(0, 253).astype(np.uint8)


def draw(data: PeakSet, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A batch: counts [BATCH, SCENE_PX, SCENE_PX], places [BATCH, most, 2] and states [BATCH, most], flipped and turned
    at random, all alike."""
    chosen = rng.integers(0, len(data.images), BATCH)
    down, right, transposed = (bool(one) for one in rng.random(3) < 0.5)
    images = torch.from_numpy(data.images[chosen].astype(np.float32))[:, None]
    places = torch.from_numpy(data.places[chosen])
    for axis, flip in enumerate((down, right)):
        if flip:
            places[..., axis] = SCENE_PX - 1 - places[..., axis]
    if transposed:
        places = places.flip(2)
    (images,) = turned([images], (down, right), transposed)
    return images[:, 0].contiguous(), places, torch.from_numpy(data.states[chosen])


def loss(net: PeakNet, images: Tensor, places: Tensor, states: Tensor) -> tuple[Tensor, float]:
    """Cross entropies a spot of both networks, so that probabilities are true ones, and their offsets' errors; and the
    distance in pixels by which the judge is off."""
    frame = framed(images, SENTINEL)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answers = net.finder(frame.standing.contiguous(memory_format=torch.channels_last), frame.steps)
    said, features, whole = (one.float() for one in answers)
    found = jittered(candidates(said.detach(), frame, LOOKED_AT))
    around = patches(frame, found, SENTINEL)
    judged = net.judge(known(frame, found, around, features, whole))
    second, away = judge_loss(judged, found, places, states)
    return finder_loss(said, places, states) + second, away


def jittered(found: Candidates) -> Candidates:
    """Each place moved by up to a pixel: the judge must not know its scenes by heart."""
    row, column = (
        (place + torch.randint(-1, 2, place.shape)).clamp(0, SCENE_PX - 1) for place in (found.row, found.column)
    )
    return found._replace(row=row, column=column)


def finder_loss(said: Tensor, places: Tensor, states: Tensor) -> Tensor:
    """Of what the finder `said` [batch, 3, rows, columns]: a spot's cell is the one with its centre."""
    rows, columns = said.shape[2:]
    cell = torch.floor((places - MIDDLE_PX) / CELL_PX + 0.5).long()
    index = cell[..., 0].clamp(0, rows - 1) * columns + cell[..., 1].clamp(0, columns - 1)
    batch = torch.arange(len(said))[:, None].expand_as(index)
    wanted, weight = (torch.full((len(said), rows * columns), value) for value in (0.0, 1.0))
    unsure, sure = states == UNSURE, states == SPOT
    weight[batch[unsure], index[unsure]] = 0.0
    weight[batch[sure], index[sure]] = 1.0
    wanted[batch[sure], index[sure]] = 1.0
    logit, offsets = said[:, 0].flatten(1), said[:, 1:].flatten(2).transpose(1, 2)
    wrong = functional.binary_cross_entropy_with_logits(logit, wanted, weight=weight, reduction="sum")
    middle = CELL_PX * cell + MIDDLE_PX
    off = functional.smooth_l1_loss(
        offsets[batch[sure], index[sure]], (places - middle)[sure], beta=0.2, reduction="sum"
    )
    return (wrong + OFFSET_SHARE * off) / USUAL_SPOTS


def judge_loss(judged: Tensor, found: Candidates, places: Tensor, states: Tensor) -> tuple[Tensor, float]:
    """Of what the judge says [batch, candidates, 3]; and the mean distance by which it is off, px."""
    middle = torch.stack([found.row, found.column], dim=2).float()
    apart = (middle[:, :, None] - places[:, None]).square().sum(dim=3).sqrt()
    nearest, which = (apart + 1e3 * (states == 0)[:, None]).min(dim=2)
    state = torch.gather(states, 1, which)
    spot = ((nearest < ON_SPOT_PX) & (state == SPOT)).float()
    weight = ((nearest > NEAR_SPOT_PX).float() + spot) * (found.logit > NOWHERE / 2).float()
    wrong = functional.binary_cross_entropy_with_logits(judged[..., 0], spot, weight=weight, reduction="sum")
    offset = torch.gather(places, 1, which[:, :, None].expand(-1, -1, 2)) - middle
    off = functional.smooth_l1_loss(judged[..., 1:], offset, beta=0.1, reduction="none").sum(dim=2)
    away = (judged[..., 1:] - offset).square().sum(dim=2).sqrt()
    some = spot.sum().clamp(min=1)
    return (wrong + OFFSET_SHARE * (off * spot).sum()) / USUAL_SPOTS, float((away * spot).sum().detach() / some)


@click.command("peaks")
@click.option("--simulated", default=3000, show_default=True, help="Simulated scenes to learn from, 0.5 MB each.")
@training_options(steps=7000)
def train_peaks(recipe: Recipe, out: Path, fresh: bool, simulated: int) -> None:
    """Train the spot finder on simulated frames."""
    train(recipe, out, simulated, fresh)
    click.echo((out / "card.json").read_text(), nl=False)
