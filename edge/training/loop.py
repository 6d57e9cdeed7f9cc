# pyright: reportMissingImports=false
"""The steps of a training, for any network and loss: seeded, and resumed where a checkpoint was left."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.models.spec import SENTINELS
from edge.training.course import CheckpointError, Course, Step, TrainingError
from edge.training.network import averaged
from edge.training.pixels import Pixels, cleaned

Net = TypeVar("Net", bound=nn.Module)
REPORT_EVERY = 50
CHUNK = 64


@dataclass(frozen=True)
class Schedule:
    """`steps` of training, or as many of them as `seconds` of wall-clock time allow.

    With steps alone a training repeats bit for bit on one machine. With seconds too the learning rate falls by
    whichever is nearer to its end, so that a slower machine trains less, and never longer.
    """

    steps: int
    peak_rate: float = 2e-3
    weight_decay: float = 1e-3
    seconds: float | None = None

    def done(self, steps: int, elapsed_s: float) -> float:
        """Share 0..1 of the way after `steps` and `elapsed_s`."""
        share = steps / self.steps
        return min(1.0, share if self.seconds is None else max(share, elapsed_s / self.seconds))


def optimise(
    net: Net,
    loss: Callable[[Net, np.random.Generator], tuple[Tensor, float]],
    schedule: Schedule,
    rng: np.random.Generator,
    course: Course | None = None,
) -> Net:
    """Trains `net` in place; returns its running mean, in eval mode.

    `loss` draws a batch with the generator it is given, and returns what to minimise and a number to report. Goes on
    from the checkpoint of `course` where there is one; raises CheckpointError where that is not of this training.
    Raises TrainingError where the loss or its slope is no number; what was learned before that step is kept.
    """
    course = course or Course()
    net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    mean = deepcopy(net).eval()
    optimizer = torch.optim.AdamW(net.parameters(), schedule.peak_rate, weight_decay=schedule.weight_decay)
    steps, spent_s = _restored(course.resumed(rng), net, mean, optimizer)
    recent: list[tuple[float, float]] = []
    begin = time.monotonic() - spent_s
    while (done := schedule.done(steps, time.monotonic() - begin)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = schedule.peak_rate * rate(done)
        wrong, figure = loss(net, rng)
        optimizer.zero_grad()
        wrong.backward()
        slope = float(nn.utils.clip_grad_norm_(net.parameters(), 5.0))
        _check(float(wrong.detach()), slope, steps)
        optimizer.step()
        averaged(mean, net, min(0.998, steps / (steps + 10)))
        steps += 1
        recent.append((float(wrong.detach()), figure))
        if len(recent) == REPORT_EVERY:
            course.reached(Step(done, steps, *(float(value) for value in np.mean(recent, axis=0))))
            recent.clear()
            # Only here: a curve that went on from a checkpoint has no point twice, and none is missing.
            if course.due:
                course.keep(_state(net, mean, optimizer, steps, time.monotonic() - begin), rng)
    course.keep(_state(net, mean, optimizer, steps, time.monotonic() - begin), rng)
    return mean.eval()


def _state(net: nn.Module, mean: nn.Module, optimizer: torch.optim.Optimizer, steps: int, spent_s: float) -> Any:
    return {
        "net": net.state_dict(),
        "mean": mean.state_dict(),
        "optimizer": optimizer.state_dict(),
        "steps": steps,
        "spent_s": spent_s,
    }


def _restored(
    state: dict[str, Any] | None, net: nn.Module, mean: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    """Steps done and seconds spent so far. Raises CheckpointError where the state is of another network."""
    if state is None:
        return 0, 0.0
    try:
        net.load_state_dict(state["net"])
        mean.load_state_dict(state["mean"])
        optimizer.load_state_dict(state["optimizer"])
        return state["steps"], state["spent_s"]
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        why = " ".join(str(error).split())  # torch says it on many lines
        raise CheckpointError(f"the checkpoint is of another network ({why}): begin anew with --fresh") from error


def _check(loss: float, slope: float, steps: int) -> None:
    """Before a step: after it no weight would be a number, and every checkpoint would keep that."""
    if not (math.isfinite(loss) and math.isfinite(slope)):
        raise TrainingError(
            f"after {steps} steps the loss is {loss:.3g} and its slope {slope:.3g}: "
            "look for odd frames in the data, or begin anew with --fresh and another --seed"
        )


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
