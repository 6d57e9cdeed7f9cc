"""How alike two complex images are: absolute and square errors, structure, signal to noise.

Before comparing, one phase constant is taken out, the circular mean of the difference over the mask. A slope of the
phase and a shift stay: `judging.aligned` finds a shift, `without_slope` takes a slope out, and whoever uses them says
so.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from edge.physics.arrays import Bool, Complex, Float

SSIM_SIGMA_PX = 1.5


@dataclass(frozen=True)
class ImageErrors:
    """Of one image against another over a mask. PSNR and SSIM take the range of the reference's phase as full scale."""

    phase_mae_rad: float
    phase_rmse_rad: float
    phase_ssim: float
    phase_psnr_db: float
    amplitude_mae: float
    amplitude_rmse: float


def image_errors(given: Complex, wanted: Complex, mask: Bool) -> ImageErrors:
    """Judges `given` against `wanted`, both [rows, cols], where `mask` is set.

    Full scale is from the 0.5th to the 99.5th percentile of the wanted phase about its mean: single pixels of a
    reconstruction's noise must not set it. Raises ValueError when the mask is empty.
    """
    if not mask.any():
        raise ValueError("the mask leaves nothing to judge")
    phase, off = phases(given, wanted, mask)
    low, high = np.quantile(phase[mask], [0.005, 0.995])
    scale = max(float(high - low), 1e-9)
    square = float(np.mean(off[mask] ** 2))
    modulus = np.abs(given[mask]) - np.abs(wanted[mask])
    return ImageErrors(
        float(np.mean(np.abs(off[mask]))),
        square**0.5,
        structural_similarity(phase + off, phase, mask, scale),
        float(10 * np.log10(scale**2 / max(square, 1e-30))),
        float(np.mean(np.abs(modulus))),
        float(np.sqrt(np.mean(modulus**2))),
    )


def phases(given: Complex, wanted: Complex, mask: Bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(phase of `wanted` about its circular mean, what `given` differs from it by after one constant), both in rad."""
    phase = np.where(mask, np.angle(wanted * np.exp(-1j * np.angle(np.sum(_unit(wanted[mask]))))), 0)
    ratio = _unit(given) * _unit(wanted).conj()
    return phase, np.where(mask, np.angle(ratio * np.exp(-1j * np.angle(np.sum(ratio[mask])))), 0)


def structural_similarity(one: Float, other: Float, mask: Bool, scale: float) -> float:
    """Mean structural similarity over `mask` of two real images [rows, cols] with full scale `scale`.

    Wang et al., IEEE Trans. Image Process. 13, 600 (2004), doi 10.1109/TIP.2003.819861: Gaussian weights of 1.5 px,
    constants 0.01 and 0.03. Pixels outside the mask have no weight in the local means.
    """
    weight = np.maximum(_smooth(mask.astype(np.float64)), 1e-9)

    def local(values: Float) -> Float:
        return _smooth(np.where(mask, values, 0)) / weight

    first, second = local(one), local(other)
    spread = local(one**2) - first**2 + local(other**2) - second**2
    shared = local(one * other) - first * second
    dark, flat = (0.01 * scale) ** 2, (0.03 * scale) ** 2
    found = (2 * first * second + dark) * (2 * shared + flat) / ((first**2 + second**2 + dark) * (spread + flat))
    return float(np.mean(found[mask]))


def without_slope(given: Complex, wanted: Complex, mask: Bool) -> tuple[Complex, tuple[float, float]]:
    """`given` without the phase slope (rad a pixel in rows, in columns) by which it differs from `wanted`.

    With a probe that is free, a slope of the object against one of the probe changes no frame, so two reconstructions
    may differ by any. The peak of the Fourier transform of given x conj(wanted) over the mask, then three least-squares
    steps on the phase that is left.
    """
    ratio = np.where(mask, _unit(given) * _unit(wanted).conj(), 0)
    size = tuple(2 * n for n in ratio.shape)
    peak = np.array(np.unravel_index(np.argmax(np.abs(np.fft.fft2(ratio, s=size))), size))
    rows, cols = np.nonzero(mask)
    values, at = ratio[mask], np.stack([rows - rows.mean(), cols - cols.mean()])
    slope = 2 * np.pi * np.array([np.fft.fftfreq(n)[k] for n, k in zip(size, peak, strict=True)])
    for _ in range(3):
        turned = values * np.exp(-1j * (slope @ at))
        left = np.angle(turned * np.exp(-1j * np.angle(turned.sum())))
        slope = slope + np.linalg.lstsq(at.T, left, rcond=None)[0]
    row, col = np.indices(given.shape)
    return given * np.exp(-1j * (slope[0] * row + slope[1] * col)), (float(slope[0]), float(slope[1]))


def _smooth(image: Float) -> NDArray[np.float64]:
    return np.asarray(ndimage.gaussian_filter(image, SSIM_SIGMA_PX, mode="constant", truncate=3.5), np.float64)


def _unit(values: Complex) -> Complex:
    return np.exp(1j * np.angle(values))
