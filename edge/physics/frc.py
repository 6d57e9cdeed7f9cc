"""Fourier ring correlation: up to which fineness two images of one thing agree.

Over the ring of all spatial frequencies of about the same modulus,

    FRC = |sum F1 conj(F2)| / sqrt(sum |F1|**2  sum |F2|**2)

(Saxton & Baumeister, J. Microsc. 127, 127, 1982). Against it stands, for two independent halves of one measurement,
the half-bit curve of van Heel & Schatz (J. Struct. Biol. 151, 250, 2005), n being the Fourier pixels of the ring:

    T = (0.2071 + 1.9102 / sqrt(n)) / (1.2071 + 0.9102 / sqrt(n))

and, for an image against a reference that is taken as free of noise, the constant 0.5 (Rosenthal & Henderson, J. Mol.
Biol. 333, 721, 2003). The curve does not see errors that both images share, and a few rings of large structures say
little: n is small there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from edge.physics.arrays import Bool, Complex, Float

NYQUIST = 0.5
"""Cycles a pixel: the finest that pixels can show."""


@dataclass(frozen=True)
class RingCorrelation:
    """The curve; all arrays [rings], rings one Fourier pixel of the smaller side wide."""

    frequency: NDArray[np.float64]  # of each ring's middle, cycles a pixel, below NYQUIST
    correlation: NDArray[np.float64]  # 0..1; nan where an image holds nothing
    pixels: NDArray[np.intp]  # Fourier pixels that are independent of each other

    @property
    def half_bit(self) -> NDArray[np.float64]:
        """The half-bit threshold [rings]."""
        root = np.sqrt(np.maximum(self.pixels, 1))
        return (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)

    def reach(self, threshold: Float | float) -> float:
        """The frequency at which the curve first falls below `threshold` [rings], by a line between two rings.

        `NYQUIST` where it never does. Its inverse is the period in pixels of what is just seen; half of that is what
        is mostly called the resolution.
        """
        above = self.correlation - threshold
        fallen = np.flatnonzero(~(above >= 0))
        if not len(fallen):
            return NYQUIST
        at = int(fallen[0])
        if at == 0 or not np.isfinite(above[at]):
            return float(self.frequency[at])
        share = above[at - 1] / (above[at - 1] - above[at])
        return float(self.frequency[at - 1] + share * (self.frequency[at] - self.frequency[at - 1]))


def ring_correlation(one: Complex, other: Complex, window: Float) -> RingCorrelation:
    """The curve of two complex images, both times `window`, all [rows, cols] and aligned with each other.

    The weighted mean is taken out of each first, so that the window itself is not correlated. Raises ValueError for
    unequal shapes or a window of nothing.
    """
    if one.shape != other.shape or one.shape != window.shape:
        raise ValueError(f"images of {one.shape} and {other.shape} and a window of {window.shape}")
    if not window.sum() > 0:
        raise ValueError("the window leaves nothing to correlate")
    rows, cols = np.nonzero(window)
    box = (slice(rows.min(), rows.max() + 1), slice(cols.min(), cols.max() + 1))
    weight = window[box]
    first, second = _spectrum(one[box], weight), _spectrum(other[box], weight)
    row, col = np.fft.fftfreq(weight.shape[0])[:, None], np.fft.fftfreq(weight.shape[1])[None, :]
    width = 1 / min(weight.shape)
    rings = np.rint(np.hypot(row, col) / width).astype(np.intp).ravel()
    count = int(NYQUIST / width)
    kept = (rings >= 1) & (rings < count)

    def total(values: Float) -> Float:
        return np.bincount(rings[kept], values.ravel()[kept], minlength=count)[1:]

    product = first * second.conj()
    power = total(np.abs(first) ** 2) * total(np.abs(second) ** 2)
    shared = np.hypot(total(product.real), total(product.imag))
    # A window smooths the spectrum: fewer of its pixels are independent (the noise bandwidth of the window).
    independent = float(np.sum(weight**2) ** 2 / (np.sum(weight**4) * weight.size))
    pixels = np.maximum(np.rint(total(np.ones(weight.shape)) * independent), 1).astype(np.intp)
    correlation = np.where(power > 0, shared / np.sqrt(np.where(power > 0, power, 1)), np.nan)
    return RingCorrelation(width * np.arange(1, count), correlation, pixels)


def soft_window(mask: Bool, taper_px: float = 16.0) -> NDArray[np.float64]:
    """1 inside `mask` [rows, cols], falling to 0 at its edge over `taper_px` (a squared sine).

    A hard edge would correlate perfectly with itself at all frequencies.
    """
    depth: Any = ndimage.distance_transform_edt(np.pad(mask, 1))
    return np.sin(np.pi / 2 * np.clip(depth[1:-1, 1:-1] / taper_px, 0, 1)) ** 2


def _spectrum(image: Complex, weight: Float) -> Complex:
    inside = np.where(weight > 0, image, 0)
    mean = np.sum(inside * weight) / np.sum(weight)
    return np.fft.fft2((inside - mean) * weight)
