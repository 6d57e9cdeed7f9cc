"""What `edge orient` looks at: neighbourhoods of a scan, cut to the beam, with positions in pixels of the object."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from edge.conditioning.orientation import oriented, oriented_shape
from edge.physics.arrays import Complex
from edge.physics.orientation import Turn, moved
from edge.physics.orientation_overlap import (
    Beam,
    Neighbourhood,
    around,
    choose_places,
    find_beam,
    fitting_probe,
    probe_diameter,
    without_flags,
)
from edge.scanfiles import Scan
from edge.scanoptics import field_of_view_m

LOOKED_AT = 512
"""Frames that are read to find the beam and the places that tell most; of large frames fewer."""

PIXELS_LOOKED_AT = 2**28

UNKNOWN_PROBE = 0.3
"""Diameter taken for a probe that is not known, as a part of the field of view."""

LEAST_FRAMES = 8


class OrientError(ValueError):
    """The scan lacks what is needed; the message says what, and what to do."""


@dataclass(frozen=True)
class Measured:
    """A scan with its positions in pixels of the object, as far as it has been told what these are."""

    frame: Callable[[int], NDArray[np.unsignedinteger]]
    shape: tuple[int, int]
    positions: NDArray[np.float64]  # [n, 2] (row, col) pixels of a reconstruction from whole frames
    probe: NDArray[np.complex64] | None  # [height, width] the strongest mode of the guess

    def turned(self, start: Turn) -> "Measured":
        """The same scan from a detector that is mounted, and axes that are counted, in another way.

        The guess of the probe stays as it is.
        """
        return Measured(
            lambda index: np.ascontiguousarray(oriented(self.frame(index), start.image)),
            oriented_shape(self.shape, start.image),
            moved(self.positions, start),
            self.probe,
        )


@dataclass(frozen=True)
class Sample:
    """What the ranking is given."""

    beam: Beam
    hoods: tuple[Neighbourhood, ...]
    guess: Complex | None  # [size, size]
    step: float  # median distance to the nearest position, parts of the probe's diameter


def measured(path: Path, scan: Scan, probe: NDArray[np.complex64] | None, pixel_nm: float | None) -> Measured:
    """A scan and its probe, `probe` [modes, height, width] rather than the file's own where it is given.

    Raises OrientError when something is missing.
    """
    if scan.positions is None:
        raise OrientError(f"{path} holds no positions: without them nothing says which frames overlap")
    modes = probe if probe is not None else scan.probe
    if modes is not None and modes.shape[-2:] != scan.shape:
        raise OrientError(f"the probe has {modes.shape[-2:]} pixels and the frames {scan.shape}; they must be the same")
    if modes is not None and not np.abs(modes[0]).any():
        raise OrientError("the probe is zero everywhere; leave it out to start without one")
    return Measured(scan.frame, scan.shape, _in_pixels(path, scan, pixel_nm), None if modes is None else modes[0])


def _in_pixels(path: Path, scan: Scan, pixel_nm: float | None) -> NDArray[np.float64]:
    assert scan.positions is not None
    if scan.position_units == "px":
        if pixel_nm is not None:
            raise OrientError(f"{path} holds positions in pixels: leave out --pixel-size")
        return scan.positions
    if pixel_nm is not None:
        return scan.positions / (pixel_nm * 1e-9)
    field = field_of_view_m(path) if scan.format in ("hdf5", "cxi") else None
    if field is None:
        raise OrientError(
            f"{path} holds positions in metres and does not say how large a pixel of a reconstruction is: give "
            "--pixel-size NM, wavelength x distance / (pixels of a frame x pixel of the detector)"
        )
    return scan.positions / (field / np.array(scan.shape))


def sample(scan: Measured, places: int, frames: int, seed: int) -> Sample:
    """Neighbourhoods of `frames` frames around `places` places; of fewer places where these would share most frames.

    Raises:
        OrientError: too few frames, or frames that do not overlap.
        ScanFileError: a frame cannot be read.
    """
    if len(scan.positions) < LEAST_FRAMES:
        raise OrientError(f"the scan has {len(scan.positions)} frames; {LEAST_FRAMES} or more that overlap are needed")
    number = max(32, min(LOOKED_AT, PIXELS_LOOKED_AT // (scan.shape[0] * scan.shape[1])))
    looked = np.unique(np.linspace(0, len(scan.positions) - 1, number).astype(int))
    try:
        beam = find_beam(_mean(scan, looked))
        guess = None if scan.probe is None else fitting_probe(scan.probe, beam.size)
    except ValueError as error:
        raise OrientError(str(error)) from error
    positions = scan.positions * (beam.size / np.array(scan.shape))
    diameter = UNKNOWN_PROBE * beam.size if guess is None else probe_diameter(guess)
    step = _step(positions)
    if step > beam.size:
        raise OrientError(
            f"the nearest positions are {step:.0f} pixels apart and a frame sees {beam.size}: frames do not overlap. "
            "Is the pixel size right, and is it a scan in the far field?"
        )
    places = min(places, max(1, len(positions) // frames))
    chosen = choose_places(positions, _contrast(scan, looked, beam), places, 2 * diameter)
    rng = np.random.default_rng(seed)
    hoods = [_hood(scan, beam, positions, around(positions, one, frames, diameter, rng)) for one in chosen]
    return Sample(beam, tuple(hoods), guess, step / diameter)


def _mean(scan: Measured, looked: NDArray[np.intp]) -> NDArray[np.float64]:
    total = np.zeros(scan.shape)
    for index in looked:
        total += without_flags(scan.frame(int(index)), 0)
    return total / len(looked)


def _contrast(scan: Measured, looked: NDArray[np.intp], beam: Beam) -> NDArray[np.float64]:
    """How much each frame differs from the mean, [n]; NaN for those that were not looked at."""
    told = np.full(len(scan.positions), np.nan)
    cuts = np.sqrt(np.stack([beam.cut(without_flags(scan.frame(int(index)), 0)) for index in looked]))
    told[looked] = np.sum((cuts - cuts.mean(axis=0)) ** 2, axis=(1, 2)) / np.maximum(np.sum(cuts**2, axis=(1, 2)), 1)
    return told


def _step(positions: NDArray[np.float64]) -> float:
    """Median distance to the nearest other position."""
    distance, _ = KDTree(positions).query(positions, k=2)
    return float(np.median(distance[:, 1]))


def _hood(scan: Measured, beam: Beam, positions: NDArray[np.float64], names: NDArray[np.intp]) -> Neighbourhood:
    frames = np.stack([beam.cut(without_flags(scan.frame(int(name)))) for name in names])
    return Neighbourhood(frames, positions[names], names)
