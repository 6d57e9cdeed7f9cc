"""The illumination: coherent modes of the probe, complex64 [modes, height, width], strongest first.

Modes are in units of the square root of counts: with a transparent object a frame holds `flux(modes)` counts.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Bool, Complex


def load_probe(path: Path) -> NDArray[np.complex64]:
    """Modes [modes, height, width] of a `.npy` file. Raises OSError, or ValueError when it holds something else."""
    try:
        with path.open("rb") as file:
            modes = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        empty = "is empty" if not path.stat().st_size else "is no array of numbers"
        raise ValueError(f"{path} {empty} ({error})") from error
    if modes.ndim != 3 or not np.iscomplexobj(modes):
        raise ValueError(f"{path} holds {modes.dtype} {modes.shape}, not complex modes [modes, height, width]")
    return modes.astype(np.complex64)


def save_probe(path: Path, modes: Complex) -> None:
    """Writes modes [modes, height, width] as complex64 `.npy`."""
    np.save(path, modes.astype(np.complex64), allow_pickle=False)


def probe_intensity(modes: Complex) -> NDArray[np.float32]:
    """Counts a pixel of the object receives, [height, width]: the modes do not interfere, so intensities add."""
    return np.sum(modes.real**2 + modes.imag**2, axis=0, dtype=np.float64).astype(np.float32)


def probe_mask(modes: Complex, fraction: float = 0.25) -> Bool:
    """Pixels [height, width] that get at least `fraction` of the peak intensity: there a patch is worth judging."""
    intensity = probe_intensity(modes)
    return intensity >= fraction * intensity.max()


def flux(modes: Complex) -> float:
    """Counts in a frame of a transparent object."""
    return float(probe_intensity(modes).sum(dtype=np.float64))


def orthogonal_modes(modes: Complex) -> NDArray[np.complex64]:
    """The same mixed state as orthogonal modes, strongest first (Thibault & Menzel, Nature 494, 68, 2013).

    Any unitary mixture of modes gives the same frames, so a reconstruction ends in an arbitrary one.
    """
    flat = modes.reshape(len(modes), -1)
    values, vectors = np.linalg.eigh(flat.conj() @ flat.T)
    mixed = vectors[:, np.argsort(values)[::-1]].T @ flat
    return mixed.reshape(modes.shape).astype(np.complex64)
