"""Moves images by fractions of a pixel.

Two ways, for two kinds of image. A probe fades out before the border, so a shift by the Fourier theorem is exact for
it. A patch of an object is cut off at its border, where a Fourier shift would ring: there a local kernel is used.
"""

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Complex, Float

LOBES = 3


def fourier_shift(images: Complex, shift: Float) -> NDArray[np.complex128]:
    """Images [..., height, width] moved by `shift` (rows, cols) pixels towards larger indices, periodically."""
    return np.fft.ifft2(np.fft.fft2(images) * shift_phase(images.shape[-2:], shift))


def shift_phase(shape: tuple[int, ...], shift: Float) -> NDArray[np.complex128]:
    """Factor [height, width] on the Fourier transform of an image that moves the image by `shift` pixels."""
    rows = np.exp(-2j * np.pi * np.fft.fftfreq(shape[0]) * shift[0])
    cols = np.exp(-2j * np.pi * np.fft.fftfreq(shape[1]) * shift[1])
    return rows[:, None] * cols[None, :]


def sampling_matrix(size: int, start: float, length: int) -> NDArray[np.float32]:
    """Matrix [length, size] that samples a signal of `size` points at start, start + 1, ...

    Lanczos kernel of three lobes, normalised so that a constant stays a constant (Duchon, J. Appl. Meteorol. 18,
    1016, 1979). Rows whose point lies outside the signal by more than the kernel are zero.
    """
    distance = (start + np.arange(length))[:, None] - np.arange(size)[None, :]
    kernel = np.where(np.abs(distance) < LOBES, np.sinc(distance) * np.sinc(distance / LOBES), 0.0)
    total = kernel.sum(axis=1, keepdims=True)
    inside = np.abs(kernel).sum(axis=1, keepdims=True) > 1e-6
    return np.where(inside, kernel / np.where(np.abs(total) > 0.5, total, 1.0), 0.0).astype(np.float32)


def sample_patch(image: Complex | Float, corner: Float, shape: tuple[int, int]) -> NDArray[np.complex64]:
    """The patch [*shape] of `image` whose first pixel lies at `corner` (row, col), which may be fractional.

    Raises ValueError when the patch does not lie within the image.
    """
    first = np.floor(corner).astype(int)
    rest = np.asarray(corner, dtype=float) - first
    end = first + np.array(shape) + (rest > 0)
    if (first < 0).any() or (end > np.array(image.shape)).any():
        raise ValueError(f"patch {shape} at {tuple(np.asarray(corner))} leaves the image {image.shape}")
    low = np.maximum(first - LOBES, 0)
    high = np.minimum(end + LOBES, image.shape)
    region = image[low[0] : high[0], low[1] : high[1]].astype(np.complex64)
    rows = sampling_matrix(region.shape[0], float(first[0] - low[0] + rest[0]), shape[0])
    cols = sampling_matrix(region.shape[1], float(first[1] - low[1] + rest[1]), shape[1])
    return (rows @ region @ cols.T).astype(np.complex64)
