"""Random frames with Bragg spots, rings and everything that is neither: to learn from and to be judged by.

Wider than any one experiment on purpose: flux, background, widths, profiles, detectors.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Bool, Float
from edge.physics.diffraction import MAX_UINT16_COUNT
from edge.physics.objects import smooth_texture
from edge.physics.spot_shapes import Shape, add_spot, photons_for, random_places

FLAG = 65535
"""Where nothing is known."""


@dataclass(frozen=True)
class Spots:
    """Arrays [spots]. `row`, `col` in pixels from the centre of the first pixel."""

    row: NDArray[np.float64]
    col: NDArray[np.float64]
    photons: NDArray[np.float64]  # expected, as drawn
    signal_to_noise: NDArray[np.float64]


@dataclass(frozen=True)
class SpotFrame:
    """One frame and its truth."""

    image: NDArray[np.uint16]  # [height, width], 65535 where nothing is known
    expected: NDArray[np.float64]  # [height, width] photons, without hot pixels and gain
    spots: Spots
    beam: tuple[float, float]  # row, col of the rings' centre; need not be in the picture


@dataclass(frozen=True)
class Kind:
    """What varies from frame to frame; ranges are of logarithmic uniform distributions."""

    background: tuple[float, float] = (0.02, 200.0)  # photons a pixel
    signal_to_noise: tuple[float, float] = (1.5, 150.0)  # of a spot's whole intensity
    sigma_px: tuple[float, float] = (0.7, 3.0)
    per_megapixel: tuple[float, float] = (150.0, 1800.0)
    long: tuple[float, float] = (1.0, 1.35)  # root of how many times a spot is longer than wide
    overlapping: float = 0.0  # share of the spots that have a second one beside
    rings: float = 0.6  # chance that the frame has powder rings
    integrating: float = 0.25  # chance that the detector counts no photons: gain and read-out noise
    thresholded: float = 0.1  # chance that what is not far above the background is zero
    blemishes: float = 0.8  # chance of gaps, dead and hot pixels


def random_spots(shape: tuple[int, int], kind: Kind, rng: np.random.Generator) -> SpotFrame:
    """A frame of `shape`."""
    beam = random_beam(shape, rng)
    background = random_background(shape, kind, rng, beam)
    spots, expected = _drawn(background, kind, rng)
    counts = rng.poisson(expected).astype(np.float64)
    if rng.random() < kind.integrating:
        gain = float(np.exp(rng.uniform(0, np.log(20))))
        counts = counts * gain + rng.normal(0, 0.5 * rng.random() * gain, shape)
        if rng.random() < 0.5:
            counts += rng.uniform(0, 3) * gain
    if rng.random() < kind.thresholded:
        noise = max(float(np.subtract(*np.percentile(counts, [84, 16])) / 2), 0.5)
        counts[counts < np.median(counts) + rng.uniform(2, 5) * noise] = 0
    image = np.clip(np.rint(counts), 0, MAX_UINT16_COUNT).astype(np.uint16)
    if rng.random() < kind.blemishes:
        blemish(image, rng)
    return SpotFrame(image, expected, spots, beam)


def random_beam(shape: tuple[int, int], rng: np.random.Generator) -> tuple[float, float]:
    """Row and column where the beam would hit the detector, up to a picture's side beyond its border."""
    row, col = rng.uniform(-1.0, 2.0, 2) * shape
    return float(row), float(col)


def random_background(
    shape: tuple[int, int], kind: Kind, rng: np.random.Generator, beam: tuple[float, float]
) -> NDArray[np.float64]:
    """Smooth scatter, and rings about the `beam`; photons a pixel [height, width]."""
    level = log_uniform(kind.background, rng)
    row, col = np.meshgrid(*(np.arange(length, dtype=np.float64) for length in shape), indexing="ij")
    radius = np.hypot(row - beam[0], col - beam[1])
    image = 1 + rng.uniform(0, 3) * np.exp(-radius / rng.uniform(10, 200))
    image *= np.exp(rng.uniform(0, 0.3) * smooth_texture(shape, rng.uniform(10, 60), rng))
    if rng.random() < kind.rings:
        for _ in range(int(rng.integers(1, 7))):
            ring = rng.uniform(radius.min(), radius.max())
            width = log_uniform((0.4, 10.0), rng)
            grainy = np.exp(rng.uniform(0, 0.4) * smooth_texture(shape, rng.uniform(8, 40), rng))
            if rng.random() < 0.5:  # few crystallites: not smooth, and no spots either
                grainy *= np.exp(rng.uniform(0, 0.2) * smooth_texture(shape, rng.uniform(0.4, 3.0), rng))
            image += log_uniform((0.1, 60.0), rng) * grainy * np.exp(-0.5 * ((radius - ring) / width) ** 2)
    if rng.random() < 0.3:  # what is left when the detector's flat field is divided out
        image *= np.exp(rng.uniform(0, 0.1) * rng.standard_normal(shape))
    return level * image


def blemish(image: NDArray[np.uint16], rng: np.random.Generator) -> None:
    """Hot pixels that nobody has flagged, flagged pixels (65535) and a gap, put into the uint16 `image`."""
    hot = rng.random(image.shape) < log_uniform((1e-5, 2e-3), rng)
    brightness = image.max() * np.exp(rng.uniform(-2.5, 1.5, int(hot.sum()))) + 5
    image[hot] = np.minimum(image[hot] + brightness, MAX_UINT16_COUNT).astype(np.uint16)
    image[rng.random(image.shape) < log_uniform((1e-5, 5e-3), rng)] = FLAG
    for axis in (0, 1):
        if rng.random() < 0.3:
            start, width = int(rng.integers(0, image.shape[axis])), int(rng.integers(1, 18))
            np.moveaxis(image, axis, 0)[start : start + width] = FLAG


def visible(spots: Spots, least: float) -> Bool:
    """Which spots [spots] have a signal-to-noise ratio of `least` or more."""
    return spots.signal_to_noise >= least


def without(kind: Kind) -> Kind:
    """The same with a perfect photon counter, whose truth is exact."""
    return replace(kind, integrating=0.0, thresholded=0.0, blemishes=0.0)


def _drawn(background: Float, kind: Kind, rng: np.random.Generator) -> tuple[Spots, NDArray[np.float64]]:
    count = rng.poisson(log_uniform(kind.per_megapixel, rng) * background.size / 1e6)
    places = random_places(background.shape, count, kind.overlapping, rng)
    usual, mix = log_uniform(kind.sigma_px, rng), rng.uniform(0, 0.7) if rng.random() < 0.6 else 0.0
    image = background.copy()
    photons, ratios = np.empty(len(places)), np.empty(len(places))
    for index, (row, col) in enumerate(places):
        sigma = float(np.clip(usual * np.exp(rng.normal(0, 0.2)), *kind.sigma_px))
        ratios[index] = log_uniform(kind.signal_to_noise, rng)
        under = float(background[round(float(row)), round(float(col))])
        photons[index] = photons_for(ratios[index], under, sigma)
        shape = Shape(sigma, mix, log_uniform(kind.long, rng), rng.uniform(0, np.pi))
        add_spot(image, (float(row), float(col)), float(photons[index]), shape)
    return Spots(places[:, 0], places[:, 1], photons, ratios), image


def log_uniform(limits: tuple[float, float], rng: np.random.Generator) -> float:
    """A positive number within `limits`, each factor as likely as another."""
    return float(np.exp(rng.uniform(*np.log(limits))))
