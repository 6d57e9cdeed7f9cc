"""Reconstructions that others made of a measured scan, to compare with."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.scanfiles import ScanFileError


@dataclass(frozen=True)
class Reference:
    """A reconstruction, and where in it each frame's patch begins."""

    image: NDArray[np.complex64]  # [rows, cols]
    positions: NDArray[np.float64]  # [n, 2] (row, col) pixels


def load_reference(path: Path) -> Reference:
    """Read `O` (object), `ip` and `fr` (whole and fractional position of each patch) from an `.npz` file.

    `fr` moves the probe towards larger indices, so that a patch begins at `ip + fr`; with the opposite sign the
    residual of the measured star rises by half.

    Raises:
        ScanFileError: the file is no reference.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            image, positions = stored["O"], np.asarray(stored["ip"] + stored["fr"], np.float64)
    except (OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ScanFileError(f"{path}: no reference; it needs the arrays O, ip and fr ({error})") from error
    if image.ndim != 2 or not np.iscomplexobj(image) or positions.ndim != 2 or positions.shape[1] != 2:
        raise ScanFileError(f"{path}: no reference; O is {image.dtype} {image.shape}, ip + fr is {positions.shape}")
    return Reference(image.astype(np.complex64), positions)
