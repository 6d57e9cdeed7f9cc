"""A measured scan that was not measured: frames of a known object, as a detector would send them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Complex, Float
from edge.physics.diffraction import counted, lit_patch, mean_counts


@dataclass(frozen=True)
class SimulatedScan:
    """Frames and the truth behind them; judge reconstructions against `truth` as against any reference."""

    frames: NDArray[np.uint16]  # [n, height, width] counts, the beam in the centre
    positions: NDArray[np.float64]  # [n, 2] (row, col) in `truth` of the first pixel of each full patch, pixels
    truth: NDArray[np.complex64]  # [rows, cols]


def simulate_scan(
    modes: Complex, image: Complex, positions: Float, rng: np.random.Generator, exposure: float = 1.0
) -> SimulatedScan:
    """Frames of the object `image` [rows, cols] under the probe `modes` [modes, height, width] at `positions` [n, 2].

    `exposure` 1 gives the counts of the scan that the probe came from. Raises ValueError when a patch leaves the image.
    """
    frames = np.empty((len(positions), *modes.shape[-2:]), dtype=np.uint16)
    for frame, position in zip(frames, positions, strict=True):
        frame[:] = counted(exposure * mean_counts(*lit_patch(modes, image, position)), rng)
    return SimulatedScan(frames, np.asarray(positions, dtype=np.float64), image.astype(np.complex64))
