# pyright: reportMissingImports=false
"""As many steps of training as a given time allows, for any network and loss."""

import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.models.spec import SENTINELS
from edge.training.network import averaged
from edge.training.pixels import Pixels, cleaned

Net = TypeVar("Net", bound=nn.Module)
REPORT_EVERY = 50
CHUNK = 64


@dataclass(frozen=True)
class Schedule:
    """`seconds` is wall-clock time: on a slower machine the same command trains less, and never longer."""

    seconds: float
    batch: int = 32
    peak_rate: float = 2e-3
    weight_decay: float = 1e-3


@dataclass(frozen=True)
class Step:
    """How far the training is."""

    done: float  # 0..1, of the time allowed
    steps: int
    loss: float  # mean of the last steps
    figure: float  # the same of what `loss` reported


def optimise(
    net: Net,
    loss: Callable[[Net], tuple[Tensor, float]],
    schedule: Schedule,
    report: Callable[[Step], None] = lambda step: None,
) -> Net:
    """Trains `net` in place; returns its running mean, in eval mode.

    `loss` draws a batch and returns what to minimise and a number to report.
    """
    net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    mean = deepcopy(net).eval()
    optimizer = torch.optim.AdamW(net.parameters(), schedule.peak_rate, weight_decay=schedule.weight_decay)
    recent: list[tuple[float, float]] = []
    begin, steps = time.monotonic(), 0
    while (done := (time.monotonic() - begin) / schedule.seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = schedule.peak_rate * rate(done)
        wrong, figure = loss(net)
        optimizer.zero_grad()
        wrong.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        averaged(mean, net, min(0.998, steps / (steps + 10)))
        steps += 1
        recent.append((float(wrong.detach()), figure))
        if len(recent) == REPORT_EVERY:
            report(Step(min(done, 1.0), steps, *(float(value) for value in np.mean(recent, axis=0))))
            recent.clear()
    return mean.eval()


def rate(done: float) -> float:
    """Share of the peak learning rate: a short rise, then half a cosine down to nothing."""
    rise = 0.03
    return done / rise if done < rise else 0.5 * (1 + float(np.cos(np.pi * (done - rise) / (1 - rise))))


def run_body(body: nn.Module, seen: Tensor) -> Tensor:
    """`body` on `seen` [batch, channels, height, width]. bfloat16 halves the time of a step on a CPU that has it."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        said = body(seen.contiguous(memory_format=torch.channels_last))
    return said.float()


def turned(tensors: Sequence[Tensor], flips: tuple[bool, bool], transposed: bool) -> list[Tensor]:
    """All `tensors` [batch, channels, height, width] flipped along rows or columns, then transposed."""
    axes = [axis for axis, flip in zip((2, 3), flips, strict=True) if flip]
    flipped = [one.flip(axes) for one in tensors]
    return [one.transpose(2, 3) for one in flipped] if transposed else flipped


def pixels_of(images: NDArray[np.uint16]) -> Iterator[Pixels]:
    """The images [n, height, width], cleaned, in chunks."""
    for start in range(0, len(images), CHUNK):
        counts = torch.from_numpy(images[start : start + CHUNK].astype(np.float32))[:, None]
        yield cleaned(counts, (counts < SENTINELS[2]).float())
