"""Cuts a scan into a training and a test block whose patches have no pixel in common."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Float

TEST_FRACTION = 0.22


@dataclass(frozen=True)
class Split:
    """Indices into the scan, ascending. What is in neither lies in the gap and is used for nothing."""

    training: NDArray[np.intp]
    test: NDArray[np.intp]


def block_split(positions: Float, patch_px: int, test_fraction: float = TEST_FRACTION) -> Split:
    """A straight cut across the rows of `positions` [n, 2] (row, col) pixels.

    The first `test_fraction` of the frames by row are the test block. Training frames lie at least `patch_px` + 1
    pixels beyond the last of them: whole patches stay apart, also after a shift by a fraction of a pixel.
    Raises ValueError when that leaves a block empty.
    """
    rows = positions[:, 0]
    last_test_row = np.quantile(rows, test_fraction)
    training = np.flatnonzero(rows >= last_test_row + patch_px + 1)
    test = np.flatnonzero(rows <= last_test_row)
    if not len(training) or not len(test):
        raise ValueError(f"a scan over {np.ptp(rows):.0f} rows has no two blocks {patch_px} px apart")
    return Split(training, test)


def fingerprint(positions: Float) -> str:
    """By which a scan is known again: SHA-256 of its `positions` [n, 2], to a thousandth of their unit."""
    return hashlib.sha256(np.ascontiguousarray(np.round(positions, 3), "<f8").tobytes()).hexdigest()
