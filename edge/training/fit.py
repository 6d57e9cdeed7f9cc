# pyright: reportMissingImports=false
"""The training loop: as many steps as a given time allows."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge.training.frames import TrainingSet
from edge.training.network import PatchNet, averaged, scaled_modulus, weighted_l1


@dataclass(frozen=True)
class Step:
    """How far the training is."""

    done: float  # 0..1, of the time allowed
    steps: int
    phase_l1_rad: float  # mean of the last steps, probe-weighted
    amplitude_l1: float


@dataclass(frozen=True)
class Schedule:
    """`seconds` is wall-clock time: on a slower machine the same command trains less, and never longer."""

    seconds: float
    batch: int = 32
    peak_rate: float = 2e-3
    weight_decay: float = 1e-3
    amplitude_share: float = 0.5  # of the loss


def fit(
    data: TrainingSet,
    weight: NDArray[np.float32],
    schedule: Schedule,
    seed: int,
    report: Callable[[Step], None] = lambda step: None,
) -> PatchNet:
    """Trains a network on `data` with errors weighted by `weight` [80, 80]; returns its running mean, in eval mode.

    Sets torch's seed, so that a machine repeats itself but for the number of steps that the time allows.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = PatchNet().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    mean = PatchNet()
    averaged(mean, net, 0.0)
    optimizer = torch.optim.AdamW(net.parameters(), schedule.peak_rate, weight_decay=schedule.weight_decay)
    recent: list[tuple[float, float]] = []
    begin, steps = time.monotonic(), 0
    while (done := (time.monotonic() - begin) / schedule.seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = schedule.peak_rate * rate(done)
        losses = _losses(net, *_batch(data, schedule.batch, rng), torch.from_numpy(weight))
        optimizer.zero_grad()
        (losses[0] + schedule.amplitude_share * losses[1]).backward()
        optimizer.step()
        averaged(mean, net, min(0.998, steps / (steps + 10)))
        steps += 1
        recent.append((float(losses[0].detach()), float(losses[1].detach())))
        if len(recent) == 50:
            phase, amplitude = np.mean(recent, axis=0)
            report(Step(min(done, 1.0), steps, float(phase), float(amplitude)))
            recent.clear()
    return mean.eval()


def rate(done: float) -> float:
    """Share of the peak learning rate: a short rise, then half a cosine down to nothing."""
    rise = 0.03
    return done / rise if done < rise else 0.5 * (1 + float(np.cos(np.pi * (done - rise) / (1 - rise))))


def _batch(data: TrainingSet, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    chosen = rng.integers(0, len(data.crops), size)
    counts = torch.from_numpy(data.crops[chosen].astype(np.float32))[:, None]
    return scaled_modulus(counts), torch.from_numpy(data.targets[chosen].astype(np.float32))


def _losses(net: PatchNet, modulus: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Phase and amplitude losses. bfloat16 halves the time of a step on a CPU that has it."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predicted = net(modulus.contiguous(memory_format=torch.channels_last))
    predicted = predicted.float()
    return (
        weighted_l1(predicted[:, 1], target[:, 1], weight),
        weighted_l1(predicted[:, 0], target[:, 0], weight),
    )
