# pyright: reportMissingImports=false
"""What a fit has been through: its curve, and a checkpoint from which it goes on after being stopped."""

import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError  # raised by torch for what is no checkpoint
from typing import Any

import numpy as np
import torch

KEEP_EVERY_S = 30.0


class CheckpointError(ValueError):
    """A checkpoint that does not belong to this training, or is damaged; the message says what to do."""


class TrainingError(ValueError):
    """A training that came to nothing; the message says why."""


@dataclass(frozen=True)
class Step:
    """How far a fit is."""

    done: float  # 0..1 of the steps, or of the time allowed
    steps: int
    loss: float  # mean of the last steps
    figure: float  # the same of what `loss` reported


class Course:
    """The course of one fit. `recipe` (plain types) tells whether a checkpoint in `path` is of the same training."""

    def __init__(
        self,
        path: Path | None = None,
        recipe: dict[str, Any] | None = None,
        hear: Callable[[Step], None] = lambda step: None,
    ) -> None:
        self.points: list[Step] = []
        self._path, self._hear = path, hear
        self._recipe = json.dumps(recipe or {}, sort_keys=True)
        self._kept_at = time.monotonic()

    def reached(self, step: Step) -> None:
        """The fit has come to `step`."""
        self.points.append(step)
        self._hear(step)

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self._path is not None and time.monotonic() - self._kept_at >= KEEP_EVERY_S

    def keep(self, state: dict[str, Any], rng: np.random.Generator) -> None:
        """Writes a checkpoint, whole or not at all: `state` and all that chance depends on."""
        if self._path is None:
            return
        whole = {
            "recipe": self._recipe,
            "state": state,
            "numpy": json.dumps(rng.bit_generator.state),
            "torch": torch.get_rng_state(),
            "points": [asdict(point) for point in self.points],
        }
        aside = self._path.with_suffix(".new")
        with aside.open("wb") as file:
            torch.save(whole, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._path)
        self._kept_at = time.monotonic()

    def resumed(self, rng: np.random.Generator) -> dict[str, Any] | None:
        """The state of the checkpoint, with `rng` and torch's own as they were; None where there is none.

        Raises CheckpointError when it belongs to another recipe or cannot be read.
        """
        if self._path is None or not self._path.exists():
            return None
        try:
            whole = _loaded(self._path)
            recipe, state, points = whole["recipe"], whole["state"], [Step(**point) for point in whole["points"]]
            chance = json.loads(whole["numpy"])
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, UnpicklingError) as error:
            raise CheckpointError(f"{self._path} cannot be read ({error}): begin anew with --fresh") from error
        if recipe != self._recipe:
            raise CheckpointError(
                f"{self._path} is of a training with other options ({recipe}): give those, another --out, or --fresh"
            )
        rng.bit_generator.state = chance
        torch.set_rng_state(whole["torch"])
        self.points = points
        if points:
            self._hear(points[-1])
        return state

    def forget(self) -> None:
        """Removes the checkpoint: the training is over."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _loaded(path: Path) -> dict[str, Any]:
    """What `keep` wrote. `weights_only`: tensors and plain types are made from it, and nothing in it is run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of damaged files, in torch's words
        return torch.load(path, weights_only=True)
