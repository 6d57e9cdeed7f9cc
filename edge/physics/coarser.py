"""A far-field scan as a smaller detector would have seen it: the object's pixel becomes larger, its field stays.

Cropping a frame around the beam to 1/n of its pixels keeps the field of view in the object and makes the object's pixel
n times as large (wavelength x distance / (pixels x detector pixel)); positions in pixels are divided by n.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Complex
from edge.physics.subpixel import LOBES


def cropped(frames: NDArray[Any], size_px: int) -> NDArray[Any]:
    """The middle [..., size_px, size_px] of frames [..., height, width] whose beam is in the centre pixel (n // 2).

    Raises ValueError for frames that are smaller.
    """
    height, width = frames.shape[-2:]
    if min(height, width) < size_px:
        raise ValueError(f"frames of {height} x {width} hold no {size_px} x {size_px}")
    row, col = height // 2 - size_px // 2, width // 2 - size_px // 2
    return frames[..., row : row + size_px, col : col + size_px]


def cropped_modes(modes: Complex, size_px: int) -> NDArray[np.complex64]:
    """The modes [modes, size_px, size_px] whose far fields are the middles of those of `modes` [modes, size, size].

    They show the same field of view in larger pixels; light that falls outside the middle is lost.
    """
    field = np.fft.fftshift(np.fft.fft2(modes, norm="ortho"), axes=(1, 2))
    kept = np.fft.ifftshift(cropped(field, size_px), axes=(1, 2))
    return np.fft.ifft2(kept, norm="ortho").astype(np.complex64)


def decimated(image: Complex, factor: int) -> NDArray[np.complex64]:
    """Every `factor`-th pixel of a complex image [rows, cols], from [0, 0] on, after a low-pass filter.

    Lanczos kernel of three lobes, `factor` times as wide as for moving an image by a fraction of a pixel.
    """
    rows, cols = (_decimation_matrix(length, factor) for length in image.shape)
    return (rows @ image.astype(np.complex64) @ cols.T).astype(np.complex64)


def narrowed(probe: Complex, size_px: int) -> NDArray[np.complex64]:
    """A probe [n, n] as [size_px, size_px] with larger pixels: only the middle of its far field is left, no filter.

    Raises ValueError where it is smaller than that.
    """
    far = cropped(np.fft.fftshift(np.fft.fft2(probe, norm="ortho"), axes=(-2, -1)), size_px)
    return np.fft.ifft2(np.fft.ifftshift(far, axes=(-2, -1)), norm="ortho").astype(np.complex64)


def _decimation_matrix(length: int, factor: int) -> NDArray[np.float32]:
    distance = (factor * np.arange(-(-length // factor))[:, None] - np.arange(length)[None, :]) / factor
    kernel = np.where(np.abs(distance) < LOBES, np.sinc(distance) * np.sinc(distance / LOBES), 0.0)
    return (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)
