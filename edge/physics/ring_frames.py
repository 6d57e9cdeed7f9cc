"""Frames with rings of ice, salt or a powder and no Bragg spot: what is found on them is false."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.physics.diffraction import counted
from edge.physics.rings import CERIA, ICE, SALT, Geometry, Line, Look, cubic, hexagonal, ring_image
from edge.physics.spots import SpotFrame, Spots, blemish, log_uniform

Substance = Literal["ice", "salt", "powder"]
SUBSTANCES: tuple[Substance, ...] = "ice", "salt", "powder"

FINEST = 0.9
"""Lattice spacing in angstrom that reaches a flat detector at 10 keV and more."""


@dataclass(frozen=True)
class RingKind:
    """What varies from frame to frame; ranges are of logarithmic uniform distributions."""

    background: tuple[float, float] = (0.1, 50.0)  # photons a pixel
    height: tuple[float, float] = (2.0, 2000.0)  # photons a pixel on the strongest ring's ridge
    width_px: tuple[float, float] = (0.9, 5.0)  # standard deviation across a ring
    smooth: float = 0.4  # chance that it is neither grainy nor textured
    grain: tuple[float, float] = (0.05, 0.5)  # deviation of the brightness along the ring
    grain_px: tuple[float, float] = (6.0, 40.0)  # and its length there
    blemishes: float = 0.5  # chance of gaps, dead and hot pixels


def ring_frame(
    shape: tuple[int, int], substance: Substance, rng: np.random.Generator, kind: RingKind | None = None
) -> SpotFrame:
    """A frame of `shape` with rings, no spots, and Poisson noise."""
    kind = kind or RingKind()
    lines = _lines(substance, rng)
    geometry = random_geometry(shape, max(lines, key=lambda line: (line.spacing > FINEST, line.strength)), rng)
    rings = log_uniform(kind.height, rng) * random_rings(shape, geometry, lines, rng, kind)
    expected = scatter(shape, geometry, log_uniform(kind.background, rng), rng) + rings
    image = counted(expected, rng)
    if rng.random() < kind.blemishes:
        blemish(image, rng)
    nothing = np.empty(0)
    return SpotFrame(image, expected, Spots(nothing, nothing, nothing, nothing), geometry.beam)


def random_geometry(shape: tuple[int, int], line: Line, rng: np.random.Generator) -> Geometry:
    """10 to 25 keV, the beam on the detector or a little beside, the ring of `line` somewhere in the picture."""
    beam = np.array(shape) * (rng.uniform(0.3, 0.7, 2) if rng.random() < 0.6 else rng.uniform(-0.3, 1.3, 2))
    wavelength = 12.398 / log_uniform((10.0, 25.0), rng)
    radius = max(float(np.hypot(*(rng.uniform(0, 1, 2) * shape - beam))), 0.1 * max(shape))
    distance = radius / Geometry(wavelength, 1.0, (0.0, 0.0)).radius_px(line.spacing)
    return Geometry(wavelength, distance, (float(beam[0]), float(beam[1])))


def random_rings(
    shape: tuple[int, int], geometry: Geometry, lines: Sequence[Line], rng: np.random.Generator, kind: RingKind
) -> NDArray[np.float64]:
    """Rings [height, width], smooth or not, about 1 on the strongest ridge."""
    width = log_uniform(kind.width_px, rng)
    if rng.random() < kind.smooth:
        return ring_image(shape, geometry, lines, Look(width), rng)
    # An arc shorter than the ring is wide would be a spot.
    length = max(log_uniform(kind.grain_px, rng), 4 * width)
    texture = rng.uniform(0, 0.8) if rng.random() < 0.5 else 0.0
    return ring_image(shape, geometry, lines, Look(width, log_uniform(kind.grain, rng), length, texture), rng)


def scatter(shape: tuple[int, int], geometry: Geometry, level: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Air scatter and, at times, the broad rings of water at 3.1 and 2.1 angstrom; photons a pixel [height, width]."""
    row, col = (np.arange(length) - centre for length, centre in zip(shape, geometry.beam, strict=True))
    radius = np.hypot(row[:, None], col[None, :])
    image = 1 + rng.uniform(0, 3) * np.exp(-radius / (rng.uniform(0.05, 0.3) * max(shape)))
    if rng.random() < 0.7:
        image += rng.uniform(0.5, 5) * water(radius, geometry)
    return level * image


def water(radius_px: NDArray[np.float64], geometry: Geometry) -> NDArray[np.float64]:
    """Scattering of liquid water at the distances `radius_px` from the beam, 1 on its first ring.

    Two bumps in q = 4 pi sin(theta) / wavelength: at 2.0 and 3.0 per angstrom, 0.35 and 0.5 wide, the shape that
    serial crystallography sees between its spots (Clark et al., PNAS 107, 14003, 2010, for the curve).
    """
    q = 4 * np.pi / geometry.wavelength * np.sin(0.5 * np.arctan(radius_px / geometry.distance_px))
    return np.exp(-0.5 * ((q - 2.0) / 0.35) ** 2) + 0.35 * np.exp(-0.5 * ((q - 3.0) / 0.5) ** 2)


def _lines(substance: Substance, rng: np.random.Generator) -> list[Line]:
    match substance:
        case "ice":
            return ICE
        case "salt":
            return SALT
        case "powder":
            return CERIA if rng.random() < 0.3 else _unknown(rng)


def _unknown(rng: np.random.Generator) -> list[Line]:
    """A made-up substance with 4 to 20 lines of any strength."""
    every = [(h, k, m) for h in range(5) for k in range(h + 1) for m in range(5) if 0 < h * h + k * k + m * m < 24]
    chosen = rng.choice(len(every), int(rng.integers(4, 21)), replace=False)
    lines = {every[index]: int(rng.integers(3, 101)) for index in chosen}
    a = rng.uniform(3.5, 9.0)
    return cubic(a, lines) if rng.random() < 0.5 else hexagonal(a, a * rng.uniform(0.8, 2.0), lines)
