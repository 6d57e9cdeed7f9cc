"""Multi-mode rPIE: the iterative reconstruction that gives the probe for training, and a yardstick for networks.

Maiden, Johnson & Li, Optica 4, 736 (2017), doi 10.1364/OPTICA.4.000736; modes after Thibault & Menzel, Nature 494,
68 (2013), doi 10.1038/nature11806.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Complex, Float
from edge.physics.diffraction import far_field
from edge.physics.probe import flux, orthogonal_modes, probe_intensity
from edge.physics.subpixel import shift_phase


@dataclass(frozen=True)
class Settings:
    """`alpha`, `beta`: 1 divides the step by the peak intensity everywhere, 0 by the local one."""

    iterations: int = 20
    alpha: float = 0.5  # of the object's update
    beta: float = 1.0  # of the probe's update
    step: float = 0.2  # of both: they share one correction, and two full steps would overshoot
    probe_from: int = 1  # first iteration that improves the probe


@dataclass(frozen=True)
class Reconstruction:
    """State after an iteration."""

    image: NDArray[np.complex64]  # [rows, cols]
    modes: NDArray[np.complex64]  # [modes, height, width], orthogonal, strongest first
    residual: float  # sum of (sqrt(counts) - modulus)**2 over sum of counts


def first_modes(guess: Complex, count: int, counts_per_frame: float, rng: np.random.Generator) -> Complex:
    """`count` modes [count, height, width] from one guess [height, width]: the others get 5 % of the counts each.

    They start as the guess times a random smooth wave, since equal modes would stay equal.
    """
    height, width = guess.shape
    rows, cols = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    modes = [guess.astype(np.complex128)]
    for _ in range(count - 1):
        kick = rng.normal(size=3)
        modes.append(guess * np.exp(1j * np.pi * rng.normal()) * (kick[0] * rows + kick[1] * cols + 0.2 * kick[2]))
    share = np.array([1 - 0.05 * (count - 1)] + [0.05] * (count - 1))
    powers = np.array([flux(mode[None]) for mode in modes])
    return np.stack(modes) * np.sqrt(counts_per_frame * share / powers)[:, None, None]


def reconstruct(
    frames: Float | NDArray[np.uint16],
    positions: Float,
    modes: Complex,
    image: Complex,
    settings: Settings,
    rng: np.random.Generator,
) -> Iterator[Reconstruction]:
    """Yields the state after each iteration.

    `frames` [n, height, width] are counts with the beam in the centre, `positions` [n, 2] the (row, col) pixels of
    each patch's corner in `image` [rows, cols], the first guess, as `modes` [modes, height, width] is. Nothing that is
    handed in is changed.
    """
    modulus = np.sqrt(np.fft.ifftshift(frames, axes=(1, 2)).astype(np.float64))
    total = float(np.sum(modulus**2))
    image, modes = image.astype(np.complex128), modes.astype(np.complex128)
    size = modes.shape[-2:]
    corners = np.floor(positions).astype(int)
    for iteration in range(settings.iterations):
        misfit = 0.0
        for index in rng.permutation(len(frames)):
            row, col = corners[index]
            phase = shift_phase(size, positions[index] - corners[index])
            lit = np.fft.ifft2(np.fft.fft2(modes) * phase)
            patch = image[row : row + size[0], col : col + size[1]]
            change, error = _correction(lit, patch, modulus[index])
            misfit += error
            if iteration >= settings.probe_from:
                move = settings.step * _probe_step(patch, change, settings.beta)
                modes = modes + np.fft.ifft2(np.fft.fft2(move) * phase.conj())
            patch += settings.step * _object_step(lit, change, settings.alpha)
        scale = _transparent_amplitude(image, modes, corners)
        image, modes = image / scale, modes * scale
        modes = orthogonal_modes(modes).astype(np.complex128)
        yield Reconstruction(image.astype(np.complex64), modes.astype(np.complex64), misfit / total)


def _correction(lit: Complex, patch: Complex, modulus: Float) -> tuple[Complex, float]:
    """What the measured modulus adds to the exit waves, and the squared misfit before."""
    field = far_field(lit, patch)
    guess = np.sqrt(np.sum(field.real**2 + field.imag**2, axis=0))
    ratio = modulus / np.maximum(guess, 1e-9)
    return np.fft.ifft2(field * (ratio - 1), norm="ortho"), float(np.sum((modulus - guess) ** 2))


def _object_step(lit: Complex, change: Complex, alpha: float) -> Complex:
    power = np.sum(lit.real**2 + lit.imag**2, axis=0)
    return np.sum(lit.conj() * change, axis=0) / ((1 - alpha) * power + alpha * power.max())


def _transparent_amplitude(image: Complex, modes: Complex, corners: NDArray[np.int_]) -> float:
    """Amplitude of the object's clearest lit parts, to be made 1.

    Frames do not tell a bright probe from a bright object: left alone, the two drift apart without limit.
    """
    lit = np.zeros(image.shape)
    intensity = probe_intensity(modes)
    for row, col in corners:
        lit[row : row + intensity.shape[0], col : col + intensity.shape[1]] += intensity
    # The rim of the scan is lit by few patches, and noisy. A high quantile would be one of the noise; this one asks
    # that the object be open over a quarter of its area.
    return float(np.quantile(np.abs(image[lit > 0.5 * lit.max()]), 0.75))


def _probe_step(patch: Complex, change: Complex, beta: float) -> Complex:
    power = patch.real**2 + patch.imag**2
    return patch.conj() * change / ((1 - beta) * power + beta * power.max())
