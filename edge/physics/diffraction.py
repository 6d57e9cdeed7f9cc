"""What a detector counts in the far field of an illuminated object.

Conventions, found by minimising the residual of a measured scan (tike's Siemens star) over all of them:
the far field is `fft2` (not its inverse) of the exit wave; a position is the (row, col) of the patch's first pixel in
the object; its fractional part moves the probe towards larger indices. Detector images have the beam in the centre:
`fftshift` of the transform.
"""

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Complex, Float
from edge.physics.subpixel import fourier_shift

MAX_UINT16_COUNT = 65533
"""Larger values of a uint16 frame are flags of the detector, not counts."""


def far_field(modes: Complex, patch: Complex) -> Complex:
    """Far field [modes, height, width], zero frequency in the corner, of the patch [height, width] lit by the modes."""
    return np.fft.fft2(modes * patch, norm="ortho")


def mean_counts(modes: Complex, patch: Complex) -> NDArray[np.float64]:
    """Expected counts [height, width], beam in the centre. Energy is kept: their sum is that of the exit waves."""
    field = far_field(modes, patch)
    return np.fft.fftshift(np.sum(field.real**2 + field.imag**2, axis=0))


def counted(expected: Float, rng: np.random.Generator) -> NDArray[np.uint16]:
    """A detector image uint16 with Poisson statistics."""
    return np.minimum(rng.poisson(expected), MAX_UINT16_COUNT).astype(np.uint16)


def lit_patch(modes: Complex, image: Complex, position: Float) -> tuple[Complex, Complex]:
    """The modes moved by the fraction of `position`, and the patch (a view) of `image` at its whole part.

    Raises ValueError when the patch leaves the image.
    """
    height, width = modes.shape[-2:]
    row, col = (int(value) for value in np.floor(position))
    if row < 0 or col < 0 or row + height > image.shape[0] or col + width > image.shape[1]:
        raise ValueError(f"a patch at {(row, col)} leaves the object {image.shape}")
    fraction = np.asarray(position, dtype=float) - (row, col)
    moved = fourier_shift(modes, fraction) if fraction.any() else modes
    return moved, image[row : row + height, col : col + width]
