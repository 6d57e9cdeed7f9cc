# pyright: reportMissingImports=false
"""The level of the estimate, set right after the training: what is called n counts shall have n counts on average.

By how bright a pixel is in its own frame: where light ends a network errs alike at any exposure.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from edge.training.denoise_frames import Batch
from edge.training.denoise_network import KNOTS, DenoiseNet, relative
from edge.training.loop import pixels_of

BATCHES = 40
BIN = 0.1
"""Width in the logarithm of the counts."""

BINS = np.arange(KNOTS[0] - 4, KNOTS[-1] + 4, BIN)
STIFFNESS = 3000.0
"""Pixels of mean brightness by which each level is held at none: few counts must not bend it."""


def calibrate(net: DenoiseNet, draw: Callable[[np.random.Generator], Batch], rng: np.random.Generator) -> None:
    """Sets `net.levels` by new batches of the frames that were learned from, each frame with the same weight."""
    torch.nn.init.zeros_(net.levels)
    sums = np.zeros((2, len(BINS) + 1))
    for _ in range(BATCHES):
        batch = draw(rng)
        with torch.no_grad():
            parts = [(pixels, net(pixels)[0]) for pixels in pixels_of(batch.images)]
            at = np.digitize(torch.cat([relative(*part) for part in parts])[:, 0].numpy(), BINS)
        said = torch.cat([counts for _, counts in parts])[:, 0].numpy()
        clean = (batch.images < 65534) & (batch.judged > 0)
        weight = clean / said.mean(axis=(1, 2), keepdims=True)
        for row, values in zip(sums, (said, batch.wanted), strict=True):
            row += np.bincount(at.ravel(), (values * weight).ravel(), len(row))
    net.levels.copy_(torch.from_numpy(fitted(*sums).astype(np.float32)))


def fitted(said: NDArray[np.float64], was: NDArray[np.float64]) -> NDArray[np.float64]:
    """The levels [knots] that bring what is `said` in each of the bins between `BINS` to what there `was`, by least
    squares; both [bins + 1], what lies beyond the first and the last included."""
    used = (said > 0) & (was > 0)
    middle = np.append(BINS[0] - BIN, BINS) + BIN / 2
    shape = np.stack([np.interp(middle, KNOTS, one) for one in np.eye(len(KNOTS))], axis=1)[used]
    normal = shape.T @ (shape * said[used, None]) + STIFFNESS * np.eye(len(KNOTS))
    return np.linalg.solve(normal, shape.T @ (said[used] * np.log(was[used] / said[used])))
