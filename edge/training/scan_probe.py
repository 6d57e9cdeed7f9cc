"""The probe of a measured scan, from those of its frames that are for training."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge.models.spec import SENTINELS
from edge.physics.arrays import Float
from edge.physics.rpie import Settings, first_modes, reconstruct
from edge.scanfiles import Scan

MODES = 3
MARGIN_PX = 8
STEP = 0.5
"""Of probe and object: they share one correction, and together take it whole."""


ASK = "give one with --probe FILE"


class ScanError(ValueError):
    """The scan lacks what training needs; the message says what."""


def pixel_positions(scan: Scan) -> NDArray[np.float64]:
    """Positions [n, 2] (row, col) in pixels of the object, the smallest at `MARGIN_PX`. Raises ScanError without."""
    if scan.positions is None:
        raise ScanError("the scan holds no positions: nothing says where its frames lie")
    if scan.position_units != "px":
        raise ScanError(
            "the scan holds positions in metres and does not tell how large a pixel of the object is: wavelength x "
            "distance / (pixels of a frame x pixel of the detector)"
        )
    return scan.positions - scan.positions.min(axis=0) + MARGIN_PX


def file_guess(scan: Scan) -> NDArray[np.complex64]:
    """The strongest mode [height, width] of the guess in the scan's file. Raises ScanError where that says nothing."""
    if scan.probe is None:
        raise ScanError(f"the search for the probe starts from a guess in the scan's file, which holds none: {ASK}")
    guess = scan.probe.reshape(-1, *scan.probe.shape[-2:])[0]
    if not np.isfinite(guess).all() or not guess.any():
        raise ScanError(f"the guess of the probe in the scan's file is zero or not finite: {ASK}")
    return guess


def scan_probe(
    scan: Scan,
    chosen: NDArray[np.intp],
    rng: np.random.Generator,
    iterations: int = 60,
    progress: Callable[[int, float], None] = lambda iteration, residual: None,
) -> NDArray[np.complex64]:
    """Modes [3, height, width] reconstructed from the `chosen` frames only, starting from the file's own guess.

    `progress` hears the iterations done and the residual. Raises ScanError when the file holds no guess.
    """
    guess = file_guess(scan)
    positions: Float = pixel_positions(scan)[chosen]
    positions = positions - np.floor(positions.min(axis=0)) + MARGIN_PX
    frames = np.stack([_counts(scan.frame(int(index))) for index in chosen])
    height, width = frames.shape[1:]
    far = np.ceil(positions.max(axis=0)).astype(int) + MARGIN_PX
    counts = float(np.nansum(frames, dtype=np.float64)) / len(frames)
    modes = first_modes(guess, MODES, counts, rng)
    image = np.ones((far[0] + height, far[1] + width), dtype=np.complex64)
    best = modes
    for done, state in enumerate(
        reconstruct(frames, positions, modes, image, Settings(iterations, step=STEP), rng), start=1
    ):
        progress(done, state.residual)
        best = state.modes
    return best.astype(np.complex64)


def _counts(frame: NDArray[np.unsignedinteger]) -> NDArray[np.float32]:
    """NaN where flagged: not measured."""
    return np.where(frame < SENTINELS[frame.dtype.itemsize], frame, np.nan).astype(np.float32)
