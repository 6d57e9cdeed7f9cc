# pyright: reportMissingImports=false
"""What the ptychography network learns from: batches of frames, and how wrong it is on them.

Simulated frames teach by their truth. Measured ones have none; they teach, as the simulated ones do too, by how badly
the patch explains the frame: of a frame's photons the network sees a share, dealt out by chance, and its patch must
predict the others (binomial thinning, which keeps both parts Poisson and independent). So it cannot please by
explaining noise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge.training.frames import TrainingSet
from edge.training.network import Frame, Patch, PatchNet, weighted_l1
from edge.training.scan_block import Block

BATCH = 32
MEASURED = 4  # of them, where there are measured frames
AMPLITUDE_SHARE, FIRST_SHARE, DEVIANCE_SHARE = 0.5, 0.3, 0.04
"""Of the amplitude's error, of the first patch's errors, and of the deviance, in the loss."""

USUAL_SHARE, LEAST_SHARE = 0.9, 0.03
"""Shares of the photons that are seen: the first for half of the frames, for others anything in between."""

GAP_CHANCE = 0.15


@dataclass(frozen=True)
class Batch:
    """Frames as seen, the rest of their photons, and the truth of the first of them."""

    seen: Frame
    rest: Tensor  # [batch, crop, crop]
    truth: Tensor  # [simulated, 2, patch, patch]


Draw: TypeAlias = Callable[[np.random.Generator], Batch]


def batches(data: TrainingSet, measured: Block | None = None) -> Draw:
    """Draws batches of simulated frames, some `measured` ones (their middles, of the same size) among them."""

    def draw(rng: np.random.Generator) -> Batch:
        count = BATCH if measured is None else BATCH - MEASURED
        chosen = rng.integers(0, len(data.crops), count)
        counts = data.crops[chosen]
        good = np.ones(counts.shape, dtype=bool)
        for one in good[rng.random(count) < GAP_CHANCE]:
            _gap(one, rng)
        if measured is not None:
            others = rng.integers(0, len(measured.frames), MEASURED)
            counts = np.concatenate((counts, measured.frames[others]))
            good = np.concatenate((good, measured.good[others]))
        counts = np.where(good, counts, 0).astype(np.int64)
        seen = rng.binomial(counts, _shares(len(counts), rng)[:, None, None])
        truth = torch.from_numpy(data.targets[chosen].astype(np.float32))
        return Batch(Frame(_tensor(seen), _tensor(good)), _tensor(counts - seen), truth)

    return draw


def loss(net: PatchNet, batch: Batch) -> tuple[Tensor, float]:
    """What to minimise on `batch`, and the phase error in rad."""
    first, last = net(batch.seen)
    phase, amplitude = _errors(last, batch.truth, net)
    first_phase, first_amplitude = _errors(first, batch.truth, net)
    deviance = net.deviance(last, Frame(batch.rest, batch.seen.good)).mean()
    wrong = phase + AMPLITUDE_SHARE * amplitude + FIRST_SHARE * (first_phase + AMPLITUDE_SHARE * first_amplitude)
    return wrong + DEVIANCE_SHARE * deviance, float(phase.detach())


def _errors(patch: Patch, truth: Tensor, net: PatchNet) -> tuple[Tensor, Tensor]:
    """Phase and amplitude errors of the first patches, as many as have a truth."""
    known, weight = len(truth), net.optics.weight
    amplitude = torch.exp(patch.log_amplitude[:known])
    return weighted_l1(patch.phase[:known], truth[:, 1], weight), weighted_l1(amplitude, truth[:, 0], weight)


def _shares(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    anything = np.exp(rng.uniform(np.log(LEAST_SHARE), np.log(USUAL_SHARE), count))
    return np.where(rng.random(count) < 0.5, USUAL_SHARE, anything)


def _gap(good: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Takes a bar between two modules, or some dead pixels, out of `good` [crop, crop]."""
    size = len(good)
    if rng.random() < 0.5:
        good[rng.random(good.shape) < rng.uniform(0, 0.01)] = False
        return
    start, width = int(rng.integers(0, size)), int(rng.integers(1, 7))
    bar = good if rng.random() < 0.5 else good.T
    bar[start : start + width] = False


def _tensor(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
