"""The probe of a measured scan, from those of its frames that are for training."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Float
from edge.physics.rpie import Settings, first_modes, reconstruct
from edge.scanfiles import Scan

MODES = 3
MARGIN_PX = 8


class ScanError(ValueError):
    """The scan lacks what training needs; the message says what."""


def pixel_positions(scan: Scan) -> NDArray[np.float64]:
    """Positions [n, 2] (row, col) in pixels of the object, the smallest at `MARGIN_PX`. Raises ScanError without."""
    if scan.positions is None or scan.position_units != "px":
        raise ScanError("training needs positions in pixels of the object: a tike .npz file has them")
    return scan.positions - scan.positions.min(axis=0) + MARGIN_PX


def scan_probe(
    scan: Scan,
    chosen: NDArray[np.intp],
    rng: np.random.Generator,
    iterations: int = 40,
    progress: Callable[[int, float], None] = lambda iteration, residual: None,
) -> NDArray[np.complex64]:
    """Modes [3, height, width] reconstructed from the `chosen` frames only, starting from the file's own guess.

    `progress` hears the iterations done and the residual. Raises ScanError when the file holds no guess.
    """
    if scan.probe is None:
        raise ScanError("training starts from the probe of the scan file, and this one holds none")
    positions: Float = pixel_positions(scan)[chosen]
    positions = positions - np.floor(positions.min(axis=0)) + MARGIN_PX
    frames = np.stack([scan.frame(int(index)) for index in chosen])
    height, width = frames.shape[1:]
    far = np.ceil(positions.max(axis=0)).astype(int) + MARGIN_PX
    counts = float(frames.sum(dtype=np.float64)) / len(frames)
    modes = first_modes(scan.probe.reshape(-1, height, width)[0], MODES, counts, rng)
    image = np.ones((far[0] + height, far[1] + width), dtype=np.complex64)
    best = modes
    for done, state in enumerate(reconstruct(frames, positions, modes, image, Settings(iterations), rng), start=1):
        progress(done, state.residual)
        best = state.modes
    return best.astype(np.complex64)
