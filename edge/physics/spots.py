"""Random frames with Bragg spots, rings and everything that is neither: to learn from and to be judged by.

Wider than any one experiment on purpose: flux, background, widths, profiles, detectors.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Bool, Float
from edge.physics.diffraction import MAX_UINT16_COUNT
from edge.physics.objects import smooth_texture

APART_PX = 6.0
REACH = 5.0
"""Spots are drawn to this many deviations; the wings of a pseudo-Voigt are cut there."""


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


@dataclass(frozen=True)
class Kind:
    """What varies from frame to frame; ranges are of logarithmic uniform distributions."""

    background: tuple[float, float] = (0.02, 200.0)  # photons a pixel
    signal_to_noise: tuple[float, float] = (1.5, 150.0)  # of a spot's whole intensity
    sigma_px: tuple[float, float] = (0.7, 3.0)
    per_megapixel: tuple[float, float] = (150.0, 1800.0)
    rings: float = 0.6  # chance that the frame has powder rings
    integrating: float = 0.25  # chance that the detector counts no photons: gain and read-out noise
    thresholded: float = 0.1  # chance that what is not far above the background is zero
    blemishes: float = 0.8  # chance of gaps, dead and hot pixels


def random_spots(shape: tuple[int, int], kind: Kind, rng: np.random.Generator) -> SpotFrame:
    """A frame of `shape`."""
    background = random_background(shape, kind, rng)
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
    return SpotFrame(image, expected, spots)


def random_background(shape: tuple[int, int], kind: Kind, rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth scatter, and rings about a beam that need not be in the picture; photons a pixel [height, width]."""
    level = _log_uniform(kind.background, rng)
    row, col = np.meshgrid(*(np.arange(length, dtype=np.float64) for length in shape), indexing="ij")
    beam = rng.uniform(-1.0, 2.0, 2) * shape
    radius = np.hypot(row - beam[0], col - beam[1])
    image = 1 + rng.uniform(0, 3) * np.exp(-radius / rng.uniform(10, 200))
    image *= np.exp(rng.uniform(0, 0.3) * smooth_texture(shape, rng.uniform(10, 60), rng))
    if rng.random() < kind.rings:
        for _ in range(int(rng.integers(1, 7))):
            ring = rng.uniform(radius.min(), radius.max())
            width = _log_uniform((0.4, 10.0), rng)
            grainy = np.exp(rng.uniform(0, 0.4) * smooth_texture(shape, rng.uniform(8, 40), rng))
            if rng.random() < 0.5:  # few crystallites: not smooth, and no spots either
                grainy *= np.exp(rng.uniform(0, 0.2) * smooth_texture(shape, rng.uniform(0.4, 3.0), rng))
            image += _log_uniform((0.1, 60.0), rng) * grainy * np.exp(-0.5 * ((radius - ring) / width) ** 2)
    if rng.random() < 0.3:  # what is left when the detector's flat field is divided out
        image *= np.exp(rng.uniform(0, 0.1) * rng.standard_normal(shape))
    return level * image


def blemish(image: NDArray[np.uint16], rng: np.random.Generator) -> None:
    """Hot pixels that nobody has flagged, flagged pixels (65535) and a gap, put into the uint16 `image`."""
    hot = rng.random(image.shape) < _log_uniform((1e-5, 2e-3), rng)
    brightness = image.max() * np.exp(rng.uniform(-2.5, 1.5, int(hot.sum()))) + 5
    image[hot] = np.minimum(image[hot] + brightness, MAX_UINT16_COUNT).astype(np.uint16)
    image[rng.random(image.shape) < _log_uniform((1e-5, 5e-3), rng)] = 65535
    for axis in (0, 1):
        if rng.random() < 0.3:
            start, width = int(rng.integers(0, image.shape[axis])), int(rng.integers(1, 18))
            np.moveaxis(image, axis, 0)[start : start + width] = 65535


def visible(spots: Spots, least: float) -> Bool:
    """Which spots [spots] have a signal-to-noise ratio of `least` or more."""
    return spots.signal_to_noise >= least


def without(kind: Kind) -> Kind:
    """The same with a perfect photon counter, whose truth is exact."""
    return replace(kind, integrating=0.0, thresholded=0.0, blemishes=0.0)


def _drawn(background: Float, kind: Kind, rng: np.random.Generator) -> tuple[Spots, NDArray[np.float64]]:
    shape = background.shape
    row, col = _apart(shape, rng.poisson(_log_uniform(kind.per_megapixel, rng) * background.size / 1e6), rng)
    usual, mix = _log_uniform(kind.sigma_px, rng), rng.uniform(0, 0.7) if rng.random() < 0.6 else 0.0
    image = background.copy()
    photons, ratios = np.empty(len(row)), np.empty(len(row))
    for index, (centre_row, centre_col) in enumerate(zip(row, col, strict=True)):
        sigma = np.clip(usual * np.exp(rng.normal(0, 0.2)), *kind.sigma_px)
        wanted = _log_uniform(kind.signal_to_noise, rng)
        under = background[round(float(centre_row)), round(float(centre_col))] * 4 * np.pi * sigma**2
        # Solves S / sqrt(S + under) = wanted: a spot's photons against those below its effective area.
        photons[index] = 0.5 * (wanted**2 + np.sqrt(wanted**4 + 4 * wanted**2 * under))
        ratios[index] = wanted
        window, profile = _profile((centre_row, centre_col), sigma, mix, shape, rng)
        image[window] += photons[index] * profile
    return Spots(row, col, photons, ratios), image


def _apart(shape: tuple[int, ...], count: int, rng: np.random.Generator) -> tuple[Float, Float]:
    places = np.empty((0, 2))
    for place in rng.uniform(0, 1, (2 * count, 2)) * (np.array(shape) - 1):
        if len(places) < count and np.all(np.hypot(*(places - place).T) > APART_PX):
            places = np.vstack([places, place])
    return places[:, 0], places[:, 1]


def _profile(
    centre: tuple[float, float], sigma: float, mix: float, shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[tuple[slice, slice], Float]:
    """Pseudo-Voigt profile of sum one, turned and a little longer than wide, and where it goes."""
    reach = int(np.ceil(REACH * sigma)) + 1
    middle = [round(float(value)) for value in centre]
    row, col = (np.arange(one - reach, one + reach + 1) for one in middle)
    turn, long = rng.uniform(0, np.pi), np.exp(rng.uniform(0, 0.3))
    down, right = row[:, None] - centre[0], col[None, :] - centre[1]
    along = (np.cos(turn) * down + np.sin(turn) * right) / (sigma * long)
    across = (np.cos(turn) * right - np.sin(turn) * down) / (sigma / long)
    square = along**2 + across**2
    profile = (1 - mix) * np.exp(-0.5 * square) / (2 * np.pi) + mix / (2 * np.pi * 1.386) / (1 + square / 1.386) ** 1.5
    profile /= profile.sum()
    inside_row, inside_col = (row >= 0) & (row < shape[0]), (col >= 0) & (col < shape[1])
    window = np.ix_(inside_row, inside_col)
    rows, cols = row[inside_row], col[inside_col]
    return (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)), profile[window]


def _log_uniform(limits: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))
