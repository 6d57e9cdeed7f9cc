# pyright: reportMissingImports=false
"""`edge train bragg`: learns to measure Bragg spots, from simulated patches alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edge.models.bragg import PATCH_PX, SPEC
from edge.models.card import Span, Validity, card_bytes
from edge.models.spec import SENTINELS
from edge.physics.patches import MIDDLE, Patches, PatchKind, perfect, random_patches
from edge.training.bragg_network import WIDEST_SHARE, BraggGraph, BraggNet, Read, features
from edge.training.loop import Schedule, run_body, turned
from edge.training.pixels import Pixels, cleaned
from edge.training.run import Recipe, TrainingRun, Written, training_options, training_run

CHUNK = 5000
BATCH, WEIGHT_DECAY = 128, 1e-4
CALIBRATED_ON = 20_000
STRONG = 8.0
"""Signal-to-noise ratio from which the mean of intensities is set right."""

MOST_EXCESS = 10.0
FAR = 6.0
PLACE_UNIT, SHARE_UNIT = 0.02, 0.02
"""Errors of places, in pixels, and of intensities, as a share, about which a training is to bother."""


Judge: TypeAlias = Callable[[Read, Pixels, "Drawn"], tuple[Tensor, float]]


@dataclass(frozen=True)
class Drawn:
    """Patches to learn from, as tensors with a first axis of length n."""

    images: Tensor  # uint16 as int32 [n, 1, 11, 11]
    shares: Tensor  # float16 [n, 3, 11, 11]
    offset: Tensor  # [n, 2] of the centre from the middle, pixels
    facts: Tensor  # [n, 2] expected intensity, noise over that of counting


def drawn(count: int, rng: np.random.Generator, hear: Callable[[float], None] = lambda done: None) -> Drawn:
    """`count` simulated patches."""
    parts: list[Drawn] = []
    for start in range(0, count, CHUNK):
        parts.append(as_tensors(random_patches(min(CHUNK, count - start), PatchKind(), rng)))
        hear(start + CHUNK)
    return Drawn(*(torch.cat(each) for each in zip(*(vars(part).values() for part in parts), strict=True)))


def as_tensors(patches: Patches) -> Drawn:
    """The same as tensors."""
    return Drawn(
        torch.from_numpy(patches.images.astype(np.int32))[:, None],
        torch.from_numpy(patches.shares),
        torch.from_numpy(patches.centre - MIDDLE),
        torch.from_numpy(np.stack([patches.intensity, patches.noise], axis=1)),
    )


def batch(data: Drawn, size: int, rng: np.random.Generator) -> tuple[Pixels, Drawn]:
    """`size` of the patches, flipped and turned at random, all alike."""
    chosen = torch.from_numpy(rng.integers(0, len(data.images), size))
    down, right, transposed = (bool(one) for one in rng.random(3) < 0.5)
    images, shares = turned((data.images[chosen], data.shares[chosen]), (down, right), transposed)
    offset = data.offset[chosen] * torch.tensor([-1.0 if flip else 1.0 for flip in (down, right)])
    part = Drawn(images, shares.float(), offset.flip(1) if transposed else offset, data.facts[chosen])
    counts = images.float()
    return cleaned(counts, (counts < SENTINELS[2]).float()), part


def rough(read: Read, pixels: Pixels, truth: Drawn) -> tuple[Tensor, float]:
    """How wrong the answers are, and the mean distance from the true centre in pixels: to begin with.

    Errors count by their size, which no single one can dominate; the sigmas learn from them and do not weigh them.
    """
    wrong, bright, noise = errors(read, truth)
    place = torch.sqrt(wrong.square() + PLACE_UNIT**2).sum(dim=1).mean()
    share = torch.log((read.intensity + 10) / (truth.facts[:, 0] + 10))
    light = torch.sqrt(share.square() + SHARE_UNIT**2).mean()
    return shared(read, pixels, truth) + 10 * place + 2 * light + 0.1 * stated(read, wrong, bright, noise), far(wrong)


def fine(read: Read, pixels: Pixels, truth: Drawn) -> tuple[Tensor, float]:
    """How unlikely the truth is, and the mean distance from the true centre in pixels.

    An error weighs by how many of its sigmas it is, not by how many squared: else the brightest spots decide alone
    (Seitzer et al., ICLR 2022).
    """
    wrong, bright, noise = errors(read, truth)
    place_sigma, light_sigma = read.offset_sigma.detach() * noise[:, None], read.intensity_sigma.detach() * noise
    place = (cost(wrong / place_sigma) * place_sigma.clamp(max=1.0)).sum(dim=1).mean() / PLACE_UNIT
    # In units of what was seen, not of the truth: so the mean of many intensities is right.
    light = (cost(bright / light_sigma) * (light_sigma / (read.intensity.detach() + 10)).clamp(max=1.0)).mean()
    return shared(read, pixels, truth) + place + light / SHARE_UNIT + 0.3 * stated(read, wrong, bright, noise), far(
        wrong
    )


def stated(read: Read, wrong: Tensor, bright: Tensor, noise: Tensor) -> Tensor:
    """How unlikely the errors are, for the sigmas to learn from: negative logarithms of normal distributions."""
    place_sigma, light_sigma = read.offset_sigma * noise[:, None], read.intensity_sigma * noise
    place = (cost(wrong.detach() / place_sigma) + torch.log(place_sigma)).sum(dim=1).mean()
    return place + (cost(bright.detach() / light_sigma) + torch.log(light_sigma)).mean()


def cost(ratio: Tensor) -> Tensor:
    """Half the square of an error over its sigma; of one nothing like its sigma says less, lest it decide a step."""
    beyond = FAR**2 * (0.5 + torch.log(ratio.abs().clamp(min=FAR) / FAR))
    return torch.where(ratio.abs() > FAR, beyond, 0.5 * ratio.square())


def errors(read: Read, truth: Drawn) -> tuple[Tensor, Tensor, Tensor]:
    """Of the places [n, 2] in pixels and of the intensities [n] in counts, and the noise over that of counting [n]."""
    intensity, noise = truth.facts[:, 0], truth.facts[:, 1]
    return read.offset - truth.offset, read.intensity - intensity, noise


def shared(read: Read, pixels: Pixels, truth: Drawn) -> Tensor:
    """Cross entropy of the shares of the light; they are worth knowing where the counts are."""
    weight = pixels.good * torch.sqrt(pixels.counts)
    weight = weight / weight.mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-3)
    return -(truth.shares * functional.log_softmax(read.logits, dim=1)).sum(dim=1, keepdim=True).mul(weight).mean()


def far(wrong: Tensor) -> float:
    """Mean length of the errors [n, 2]."""
    return float(torch.linalg.vector_norm(wrong.detach(), dim=1).mean())


FITS: tuple[tuple[str, Judge, float, float], ...] = (("rough", rough, 0.4, 3e-3), ("fine", fine, 0.6, 2e-3))
"""Name, loss, share of the steps, peak of the learning rate."""


def trained(run: TrainingRun, data: Drawn) -> BraggNet:
    """Two fits: `rough` as long as its errors are large, then `fine`; at the end the sigmas are set right."""
    net = BraggNet()
    for name, judge, share, peak_rate in FITS:

        def judged(net: BraggNet, rng: np.random.Generator, judge: Judge = judge) -> tuple[Tensor, float]:
            pixels, truth = batch(data, BATCH, rng)
            return judge(net.read(pixels, *net.numbers(run_body(net.body, features(pixels)))), pixels, truth)

        seconds = None if run.recipe.budget_s is None else share * run.recipe.budget_s
        schedule = Schedule(max(1, round(share * run.recipe.steps)), peak_rate, WEIGHT_DECAY, seconds)
        net = run.fit(net, judged, schedule, name, "px off")
    return calibrated(net, run.data_rng)


@torch.no_grad()
def calibrated(net: BraggNet, rng: np.random.Generator) -> BraggNet:
    """The same, set right on patches of a photon counter it has not seen: intensities by their mean error as a share,
    of spots that stand out, and sigmas by the errors."""
    net.sigma_scale.fill_(1.0)
    net.excess.fill_(0.0)
    fresh = random_patches(CALIBRATED_ON, perfect(PatchKind()), np.random.default_rng(rng.integers(2**63)))
    fresh = fresh.take(~fresh.saturated)
    strong = torch.from_numpy(fresh.signal_to_noise >= STRONG)
    read, data = _read(net, fresh)
    over = read.intensity / data.facts[:, 0]
    square = (read.intensity_sigma / (read.intensity + 1)).clamp(max=WIDEST_SHARE).square()
    low, high = torch.tensor(0.0), torch.tensor(MOST_EXCESS)
    for _ in range(30):
        net.excess.copy_((low + high) / 2)
        much = (over / (1 + net.excess * square))[strong].mean() > 1
        low, high = (net.excess.clone(), high) if much else (low, net.excess.clone())
    read, data = _read(net, fresh)
    wrong, bright, _ = errors(read, data)
    places, light = (wrong / read.offset_sigma).square().mean(), (bright / read.intensity_sigma).square().mean()
    net.sigma_scale.copy_(torch.stack([places, light]).sqrt())
    return net


def _read(net: BraggNet, patches: Patches) -> tuple[Read, Drawn]:
    parts: list[Read] = []
    for start in range(0, len(patches), CHUNK):
        counts = torch.from_numpy(patches.images[start : start + CHUNK].astype(np.float32))[:, None]
        parts.append(net(cleaned(counts, (counts < SENTINELS[2]).float())))
    return Read(*(torch.cat(each) for each in zip(*parts, strict=True))), as_tensors(patches)


def canary_patches() -> NDArray[np.uint8]:
    """Three patches uint8 [3, 11, 11] with plain spots, without noise: wider pixels multiply their counts."""
    row, column = np.arange(PATCH_PX)[:, None], np.arange(PATCH_PX)[None, :]
    places = ((5.3, 4.8, 150.0, 1.1), (4.6, 5.4, 90.0, 1.5), (5.0, 5.2, 200.0, 0.9))
    spots = [
        3 + top * np.exp(-((row - down) ** 2 + (column - right) ** 2) / (2 * wide**2))
        for down, right, top, wide in places
    ]
    return np.rint(spots).astype(np.uint8)


def save(run: TrainingRun, net: BraggNet, patches: int) -> bytes:
    """Writes the version folder; returns the content of its card."""
    probes = random_patches(64, PatchKind(), np.random.default_rng(run.recipe.seed)).images
    written = Written(
        data=(
            f"{patches} simulated patches (edge.physics.patches): turned pseudo-Voigt spots, signal to noise 3 to 600, "
            "half widths 0.7 to 2.4 px; two in five overlap; slopes and ridges under them; three in ten thresholded; "
            "gain, saturation, hot and flagged pixels. No measured patch.",
        ),
        split="Simulated patches to be judged by are drawn with other seeds. Measured ones: frames below 480 of the "
        "ruby scan were looked at while choosing the network, those from 490 only afterwards; residuals of the "
        "published fits, and what rivals make of the patches, had been seen of all of them when the limit of the "
        "residual was set.",
        valid=Validity(frame_shape=(PATCH_PX, PATCH_PX), counts_per_frame=Span(20.0, 2e6)),
        recipe={"batch": BATCH, "simulated": patches},
    )
    return card_bytes(run.finished(BraggGraph(net).eval(), net, probes, canary_patches(), written))


@click.command("bragg")
@click.option("--patches", default=120_000, show_default=True, type=click.IntRange(1), help="Simulated, to learn from.")
@training_options(steps=15_000)
def train_bragg(patches: int, recipe: Recipe, out: Path, fresh: bool) -> None:
    """Train the measuring of single spots on simulated patches."""
    with training_run(SPEC, recipe, out, fresh) as run:
        data = drawn(patches, run.data_rng, run.doing("simulated patches", patches))
        card = save(run, trained(run, data), patches)
    click.echo(card, nl=False)
