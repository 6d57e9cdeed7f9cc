"""Simulated frames of serial crystallography: each crystal gives one frame, and most frames have none.

A hit is a still of a protein-like crystal: the reflections whose nodes lie near the Ewald sphere, with Wilson's
exponential distribution of intensities falling off with resolution (a B factor) and with the distance to the sphere,
on the rings of water, sometimes with ice. A blank has the same background and no reflection.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from edge.physics.arrays import Float
from edge.physics.diffraction import counted
from edge.physics.ring_frames import RingKind, random_rings, scatter, water
from edge.physics.rings import ICE, Geometry
from edge.physics.spot_shapes import Shape, add_spot, photons_for, ratio_of
from edge.physics.spots import SpotFrame, Spots, blemish, log_uniform

VISIBLE_RATIO = 5.0
"""Signal-to-noise ratio from which a spot counts towards a hit."""

FAINTEST = 0.2
"""Spots below this signal-to-noise ratio are not drawn: they are many, and nothing."""

FINEST = 1.8
"""Best resolution of a crystal, angstrom."""

SMALL_ICE = RingKind(width_px=(0.9, 3.0))


@dataclass(frozen=True)
class SerialKind:
    """What varies from frame to frame; ranges are of logarithmic uniform distributions."""

    background: tuple[float, float] = (0.3, 10.0)  # photons a pixel away from the water's rings
    visible: tuple[float, float] = (12.0, 150.0)  # spots of `VISIBLE_RATIO` or more in a hit
    cell: tuple[float, float] = (40.0, 110.0)  # edges, angstrom
    b_factor: tuple[float, float] = (12.0, 60.0)  # square angstrom
    sigma_px: tuple[float, float] = (0.8, 1.8)
    ice: float = 0.25  # chance of ice rings, hit or blank
    ice_height: tuple[float, float] = (0.5, 30.0)  # times the background
    blemishes: float = 0.5  # chance of gaps, dead and hot pixels


def serial_frame(
    shape: tuple[int, int], hit: bool, rng: np.random.Generator, kind: SerialKind | None = None
) -> SpotFrame:
    """A frame of `shape`; `spots` are those drawn, none in a blank.

    Of a hit, about as many spots as drawn from `kind.visible` have a ratio of `VISIBLE_RATIO` or more; fewer where the
    crystal offers fewer.
    """
    kind = kind or SerialKind()
    geometry = _geometry(shape, rng)
    level = log_uniform(kind.background, rng)
    expected = scatter(shape, geometry, level, rng) + level * rng.uniform(0.5, 3) * _water(shape, geometry)
    if rng.random() < kind.ice:
        expected += level * log_uniform(kind.ice_height, rng) * random_rings(shape, geometry, ICE, rng, SMALL_ICE)
    spots = _drawn(expected, geometry, rng, kind) if hit else Spots(*(np.empty(0) for _ in range(4)))
    image = counted(expected, rng)
    if rng.random() < kind.blemishes:
        blemish(image, rng)
    return SpotFrame(image, expected, spots, geometry.beam)


def reflections(
    geometry: Geometry, cell: Float, turn: Rotation, mosaic: float, finest: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Where an orthorhombic crystal's reflections meet the detector: places [n, 2] in pixels, resolution [n] in
    angstrom, and how far each node is from the Ewald sphere [n], in units of `mosaic` (per angstrom), at most 3.

    `cell` are the edges [3] in angstrom, `turn` the orientation, `finest` the best resolution in angstrom.
    """
    most = np.floor(cell / finest).astype(int)
    axes = [np.arange(-one, one + 1) for one in most]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3) / cell
    square = np.square(nodes).sum(axis=1)
    nodes = turn.apply(nodes[(square > 0) & (square < finest**-2)])
    # The beam runs along the last axis: a wave vector out is the node plus the wave vector in.
    out = nodes + np.array([0.0, 0.0, 1 / geometry.wavelength])
    away = (np.linalg.norm(out, axis=1) - 1 / geometry.wavelength) / mosaic
    near = (np.abs(away) < 3) & (out[:, 2] > 0)
    places = geometry.beam + geometry.distance_px * out[near, :2] / out[near, 2:]
    return places, 1 / np.linalg.norm(nodes[near], axis=1), away[near]


def visible_scale(strengths: Float, under: Float, sigma_px: float, wanted: int) -> float:
    """Photons per unit of strength at which `wanted` of the spots [n] reach `VISIBLE_RATIO`, or all where there are
    fewer, over the background `under` [n] a pixel."""
    order = np.sort(photons_for(VISIBLE_RATIO, under, sigma_px) / np.maximum(strengths, 1e-12))
    return float(order[min(wanted, len(order)) - 1])


def _drawn(expected: NDArray[np.float64], geometry: Geometry, rng: np.random.Generator, kind: SerialKind) -> Spots:
    """Adds the spots of one crystal to `expected`."""
    shape = expected.shape
    cell = np.array([log_uniform(kind.cell, rng) for _ in range(3)])
    turn = Rotation.from_quat(rng.standard_normal(4))
    finest = max(_corner_resolution(shape, geometry), FINEST)
    places, resolution, away = reflections(geometry, cell, turn, log_uniform((2e-4, 1e-3), rng), finest)
    inside = ((places > 1) & (places < np.array(shape) - 2)).all(axis=1)
    places, resolution, away = places[inside], resolution[inside], away[inside]
    if not len(places):
        return Spots(*(np.empty(0) for _ in range(4)))
    fall = np.exp(-log_uniform(kind.b_factor, rng) / (2 * resolution**2) - 0.5 * away**2)
    strengths = rng.exponential(1.0, len(places)) * fall
    row, col = np.rint(places).astype(int).T
    under, sigma = expected[row, col], log_uniform(kind.sigma_px, rng)
    photons = strengths * visible_scale(strengths, under, sigma, round(log_uniform(kind.visible, rng)))
    ratios = ratio_of(photons, under, sigma)
    kept = ratios > FAINTEST
    long = log_uniform((1.0, 1.3), rng)
    for (at_row, at_col), one in zip(places[kept], photons[kept], strict=True):
        # Smeared along the radius, by the bandwidth.
        turn = float(np.arctan2(at_col - geometry.beam[1], at_row - geometry.beam[0]))
        add_spot(expected, (float(at_row), float(at_col)), float(one), Shape(sigma, 0.2, long, turn))
    return Spots(places[kept, 0], places[kept, 1], photons[kept], ratios[kept])


def _geometry(shape: tuple[int, int], rng: np.random.Generator) -> Geometry:
    """9 to 13 keV, the beam about in the centre, 1.8 to 3 angstrom at the middle of a side."""
    beam = np.array(shape) * rng.uniform(0.4, 0.6, 2)
    wavelength = 12.398 / rng.uniform(9, 13)
    edge = Geometry(wavelength, 1.0, (0.0, 0.0)).radius_px(rng.uniform(1.8, 3.0))
    return Geometry(wavelength, 0.5 * max(shape) / edge, (float(beam[0]), float(beam[1])))


def _corner_resolution(shape: tuple[int, ...], geometry: Geometry) -> float:
    far = max(
        float(np.hypot(row - geometry.beam[0], col - geometry.beam[1]))
        for row in (0, shape[0])
        for col in (0, shape[1])
    )
    return geometry.wavelength / (2 * float(np.sin(0.5 * np.arctan(far / geometry.distance_px))))


def _water(shape: tuple[int, int], geometry: Geometry) -> NDArray[np.float64]:
    row, col = (np.arange(length) - centre for length, centre in zip(shape, geometry.beam, strict=True))
    return water(np.hypot(row[:, None], col[None, :]), geometry)
