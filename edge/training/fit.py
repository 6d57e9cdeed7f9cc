# pyright: reportMissingImports=false
"""What the ptychography network learns from: batches of simulated frames, and how wrong it is on them."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge.training.frames import TrainingSet
from edge.training.loop import Schedule, Step, optimise, run_body
from edge.training.network import PatchNet, scaled_modulus, weighted_l1

AMPLITUDE_SHARE = 0.5
"""Of the amplitude's error in the loss."""


def fit(
    data: TrainingSet,
    weight: NDArray[np.float32],
    schedule: Schedule,
    seed: int,
    report: Callable[[Step], None] = lambda step: None,
) -> PatchNet:
    """Trains a network on `data` with errors weighted by `weight` [80, 80]; returns its running mean, in eval mode.

    The figure that is reported is the phase error in rad. Sets torch's seed, so that a machine repeats itself but for
    the number of steps that the time allows.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    weights = torch.from_numpy(weight)

    def loss(net: PatchNet) -> tuple[Tensor, float]:
        phase, amplitude = _losses(net, *_batch(data, schedule.batch, rng), weights)
        return phase + AMPLITUDE_SHARE * amplitude, float(phase.detach())

    return optimise(PatchNet(), loss, schedule, report)


def _batch(data: TrainingSet, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    chosen = rng.integers(0, len(data.crops), size)
    counts = torch.from_numpy(data.crops[chosen].astype(np.float32))[:, None]
    return scaled_modulus(counts), torch.from_numpy(data.targets[chosen].astype(np.float32))


def _losses(net: PatchNet, modulus: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Phase and amplitude losses."""
    predicted = run_body(net, modulus)
    return (
        weighted_l1(predicted[:, 1], target[:, 1], weight),
        weighted_l1(predicted[:, 0], target[:, 0], weight),
    )
