"""Random patches around Bragg spots: to learn from and to be judged by.

A patch is cut where a spot finder saw something, so its spot lies near its middle, to a fraction of a pixel mostly. All
else is varied more widely than any one experiment does: flux, profile, neighbours, background, detector.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.models.bragg import PATCH_PX
from edge.physics.arrays import Bool, Float
from edge.physics.diffraction import MAX_UINT16_COUNT

MIDDLE = PATCH_PX // 2
FLAG = 65535
GAUSS_POINT = 0.5 / np.sqrt(3)
"""Two points a side integrate a profile over a pixel exactly up to its third power (Gauss and Legendre)."""

HIDDEN = 0.5
"""A neighbour gives at most this share of the spot's own peak at the spot's centre: else the spot would be no peak."""

THRESHOLDED_FROM = 20.0
"""Signal-to-noise ratio."""

WAYS = 3
"""What light may come from: the spot, its neighbours, the background."""


@dataclass(frozen=True)
class PatchKind:
    """What varies from patch to patch; ranges are of logarithmic uniform distributions, the rest are chances."""

    background: tuple[float, float] = (0.02, 300.0)  # photons a pixel
    signal_to_noise: tuple[float, float] = (3.0, 600.0)  # of the spot's intensity against what lies under it
    half_width_px: tuple[float, float] = (0.7, 2.4)  # at half maximum, mean of both axes
    longer: tuple[float, float] = (1.0, 2.0)  # one axis than the other
    neighbours: float = 0.45  # chance of one; of a second one, half of that
    neighbour_intensity: tuple[float, float] = (0.05, 4.0)  # times the spot's own
    slopes: float = 0.5
    ridges: float = 0.1  # of a powder ring that crosses
    thresholded: float = 0.3  # what is not far above the background is zero
    integrating: float = 0.1  # the detector counts no photons: gain, read-out noise, an offset
    saturated: float = 0.05
    hot: float = 0.06
    flagged: float = 0.1  # dead pixels and gaps


@dataclass(frozen=True)
class Profile:
    """Pseudo-Voigt profiles, arrays [n]: `mixing` x Lorentz + (1 - `mixing`) x Gauss, with equal half widths."""

    row: Float  # of the centre, in pixels from the centre of the patch's first pixel
    column: Float
    along: Float  # half width at half maximum along the axis at `angle` to the rows' direction, pixels
    across: Float
    angle: Float  # rad
    mixing: Float

    def take(self, chosen: NDArray[np.integer] | Bool) -> "Profile":
        """Those at `chosen`: indices, or a mask [n]."""
        return Profile(**{name: array[chosen] for name, array in vars(self).items()})


@dataclass(frozen=True)
class Patches:
    """Patches and their truth; arrays with a first axis of length n."""

    images: NDArray[np.uint16]  # [n, 11, 11], 65535 where nothing is known
    centre: NDArray[np.float32]  # [n, 2] row and column, in pixels from the centre of the first pixel
    intensity: NDArray[np.float32]  # expected counts of the spot in the patch, whether recorded or not
    background: NDArray[np.float32]  # expected counts a pixel, mean over the patch
    shares: NDArray[np.float16]  # [n, 3, 11, 11] of the light in each pixel: spot, neighbours, background
    overlap: NDArray[np.float32]  # neighbours' light over the spot's own, weighted by the spot's profile
    noise: NDArray[np.float32]  # deviation of the counts over that of counted photons
    signal_to_noise: NDArray[np.float32]
    thresholded: Bool
    saturated: Bool

    def __len__(self) -> int:
        return len(self.images)

    def take(self, chosen: NDArray[np.integer] | Bool) -> "Patches":
        """Those at `chosen`: indices, or a mask [n]."""
        return Patches(**{name: array[chosen] for name, array in vars(self).items()})


def random_patches(count: int, kind: PatchKind, rng: np.random.Generator) -> Patches:
    """`count` patches. 10,000 take about 150 MB while they are drawn."""
    spot = _random_profile(count, kind, rng)
    shape = integrated(spot)
    background = _background(count, kind, rng)
    thresholded = rng.random(count) < kind.thresholded
    low, high = kind.signal_to_noise
    # Of a faint spot a threshold leaves nothing.
    low = np.where(thresholded, np.maximum(low, min(THRESHOLDED_FROM, high)), low)
    ratio = low * (high / low) ** rng.random(count)
    under = background[:, MIDDLE, MIDDLE] * 4 * np.pi * spot.along * spot.across / (2 * np.log(2))
    # Solves S / sqrt(S + under) = ratio: a spot's photons against those below its effective area.
    photons = 0.5 * (ratio**2 + np.sqrt(ratio**4 + 4 * ratio**2 * under))
    own = photons[:, None, None] * shape / shape.sum(axis=(1, 2), keepdims=True)
    others = _neighbours(spot, own, kind, rng)
    # Who cuts at a threshold mostly has taken a dark image off before, and some of the background with it.
    dark = (thresholded * rng.uniform(0, 1, count) * np.median(background, axis=(1, 2)))[:, None, None]
    expected = own + others + background
    images, noise, saturated = _recorded(expected, dark, thresholded, kind, rng)
    left = np.stack([own, others, np.maximum(background - dark, 0.0)], axis=1)
    sums = left.sum(axis=(2, 3)) * (noise**2)[:, None]
    return Patches(
        images=images,
        centre=np.stack([spot.row, spot.column], axis=1).astype(np.float32),
        intensity=sums[:, 0].astype(np.float32),
        background=(sums[:, 2] / PATCH_PX**2).astype(np.float32),
        shares=(left / left.sum(axis=1, keepdims=True)).astype(np.float16),
        overlap=((own * others).sum(axis=(1, 2)) / (own * own).sum(axis=(1, 2))).astype(np.float32),
        noise=noise.astype(np.float32),
        signal_to_noise=ratio.astype(np.float32),
        thresholded=thresholded,
        saturated=saturated,
    )


def integrated(profile: Profile) -> NDArray[np.float32]:
    """The profiles' light in each pixel [n, 11, 11]; about one at the top of a wide one."""
    total = np.zeros((len(profile.row), PATCH_PX, PATCH_PX), np.float32)
    for down in (-GAUSS_POINT, GAUSS_POINT):
        for right in (-GAUSS_POINT, GAUSS_POINT):
            total += sampled(replace(profile, row=profile.row - down, column=profile.column - right), np.float32)
    return total / 4


def sampled(profile: Profile, dtype: type[np.floating] = np.float64) -> NDArray[Any]:
    """The profiles at the pixels' centres [n, 11, 11]; one at the top."""
    places = np.arange(PATCH_PX, dtype=np.float64)
    down, right = ((places - centre[:, None]).astype(dtype) for centre in (profile.row, profile.column))
    cosine, sine = np.cos(profile.angle), np.sin(profile.angle)
    factors = (cosine / profile.along, sine / profile.along, -sine / profile.across, cosine / profile.across)
    a, b, c, d = (one.astype(dtype)[:, None] for one in factors)
    square = np.square((a * down)[:, :, None] + (b * right)[:, None, :])
    square += np.square((c * down)[:, :, None] + (d * right)[:, None, :])
    mixing = profile.mixing.astype(dtype)[:, None, None]
    return mixing / (1 + square) + (1 - mixing) * np.exp(square * dtype(-np.log(2)))


def perfect(kind: PatchKind) -> PatchKind:
    """The same with a photon counter that has no fault and keeps every count: its truth is exact."""
    return replace(kind, thresholded=0.0, integrating=0.0, saturated=0.0, hot=0.0, flagged=0.0)


def _random_profile(count: int, kind: PatchKind, rng: np.random.Generator) -> Profile:
    # A finder's pixel is mostly the brightest one; where noise or a neighbour moves it, the next.
    reach = np.where(rng.random(count) < 0.8, 0.6, 1.5)
    row, column = MIDDLE + rng.uniform(-1, 1, (2, count)) * reach
    return Profile(row, column, *_random_shape(count, kind, rng))


def _random_shape(count: int, kind: PatchKind, rng: np.random.Generator) -> tuple[Float, Float, Float, Float]:
    mean, longer = _log_uniform(kind.half_width_px, count, rng), np.sqrt(_log_uniform(kind.longer, count, rng))
    return mean * longer, mean / longer, rng.uniform(0, np.pi, count), rng.uniform(0, 1, count)


def _neighbours(spot: Profile, own: Float, kind: PatchKind, rng: np.random.Generator) -> Float:
    """Light of neighbours in each pixel [n, 11, 11], photons."""
    light = np.zeros_like(own)
    chance = kind.neighbours
    for _ in range(2):
        chosen = np.flatnonzero(rng.random(len(own)) < chance)
        light[chosen] += _neighbour(spot.take(chosen), own[chosen], kind, rng)
        chance = chance / 2
    return light


def _neighbour(spot: Profile, own: Float, kind: PatchKind, rng: np.random.Generator) -> NDArray[np.float32]:
    """Light [n, 11, 11] of one neighbour each."""
    count = len(own)
    along, across, angle, mixing = _random_shape(count, kind, rng)
    least = np.maximum(2.5, 0.6 * (along + across + spot.along + spot.across))
    distance, direction = rng.uniform(least, np.maximum(9.0, least + 1)), rng.uniform(0, 2 * np.pi, count)
    row, column = spot.row + distance * np.cos(direction), spot.column + distance * np.sin(direction)
    shape = integrated(Profile(row, column, along, across, angle, mixing))
    bright = _log_uniform(kind.neighbour_intensity, count, rng) * own.max(axis=(1, 2))
    bright *= (spot.along * spot.across) / (along * across)
    # Its light over the spot's own where the spot has most of its own.
    covers = bright * (shape * own).sum(axis=(1, 2)) / (own * own).sum(axis=(1, 2))
    bright *= np.minimum(1, HIDDEN / np.maximum(covers, 1e-9))
    return bright[:, None, None].astype(np.float32) * shape


def _background(count: int, kind: PatchKind, rng: np.random.Generator) -> Float:
    """Scatter under the spots [n, 11, 11], photons a pixel: a level, often a slope, now and then a ring's ridge."""
    place = (np.arange(PATCH_PX, dtype=np.float32) - MIDDLE) / MIDDLE
    down, right = place[None, :, None], place[None, None, :]
    slopes = (rng.uniform(-0.6, 0.6, (2, count)) * (rng.random(count) < kind.slopes)).astype(np.float32)[
        ..., None, None
    ]
    shape = np.maximum(1 + slopes[0] * down + slopes[1] * right, 0.05)
    angle, offset, width, height = (
        rng.uniform(low, high, count).astype(np.float32)[:, None, None]
        for low, high in ((0, np.pi), (-1.5, 1.5), (0.2, 0.8), (0.3, 4.0))
    )
    away = (np.cos(angle) * down + np.sin(angle) * right - offset) / width
    ridged = (rng.random(count) < kind.ridges)[:, None, None]
    shape = shape + ridged * height * np.exp(-0.5 * away**2)
    return _log_uniform(kind.background, count, rng)[:, None, None] * shape


def _recorded(
    expected: Float, dark: Float, thresholded: Bool, kind: PatchKind, rng: np.random.Generator
) -> tuple[NDArray[np.uint16], Float, Bool]:
    """What a detector makes of the photons `expected` [n, 11, 11], with `dark` taken off: images, noise over that of
    counting [n], who saturates [n]."""
    count = len(expected)
    gain = np.where(rng.random(count) < kind.integrating, _log_uniform((0.3, 20.0), count, rng), 1.0)
    counts = (rng.poisson(expected) - dark) * gain[:, None, None]
    noisy = np.where(gain != 1, rng.uniform(0, 0.5, count) * gain, 0.0)[:, None, None]
    counts += noisy * rng.standard_normal(counts.shape)
    seen = (expected - dark) * gain[:, None, None]
    top, base = seen.max(axis=(1, 2)), np.median(seen, axis=(1, 2))
    cut = np.where(thresholded, base + (top - base) * _log_uniform((0.008, 0.5), count, rng), -np.inf)
    counts[counts < cut[:, None, None]] = 0
    saturated = (rng.random(count) < kind.saturated) & (top > 300)
    flagging = rng.random(count) < 0.5
    full = np.where(saturated, top * rng.uniform(0.3, 0.9, count), MAX_UINT16_COUNT)
    full = np.rint(np.minimum(full, MAX_UINT16_COUNT))[:, None, None]
    saturated = (counts >= full).any(axis=(1, 2))
    over = (counts >= full) & (flagging & saturated)[:, None, None]
    images = np.clip(np.rint(counts), 0, full).astype(np.uint16)
    _blemish(images, kind, rng)
    images[over] = FLAG
    return images, np.sqrt(gain), saturated


def _blemish(images: NDArray[np.uint16], kind: PatchKind, rng: np.random.Generator) -> None:
    """Puts hot pixels that nobody has flagged, flagged pixels and gaps into `images` [n, 11, 11]."""
    for index in np.flatnonzero(rng.random(len(images)) < kind.hot):
        row, column = rng.integers(0, PATCH_PX, 2)
        images[index, row, column] = min(images[index].max() * rng.uniform(0.3, 3.0) + 5, MAX_UINT16_COUNT)
    for index in np.flatnonzero(rng.random(len(images)) < kind.flagged):
        if rng.random() < 0.6:
            rows, columns = rng.integers(0, PATCH_PX, (2, int(rng.integers(1, 4))))
            images[index, rows, columns] = FLAG
        else:  # a gap or the detector's border, on one side of the middle
            lines = np.arange(int(rng.integers(1, 4)))
            side = images[index] if rng.random() < 0.5 else images[index].T
            side[lines if rng.random() < 0.5 else -1 - lines] = FLAG


def _log_uniform(limits: tuple[float, float], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    return np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]), count)).astype(np.float32)
