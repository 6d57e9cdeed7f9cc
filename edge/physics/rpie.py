"""Multi-mode rPIE: the iterative reconstruction that gives the probe for training, and a yardstick for networks.

Maiden, Johnson & Li, Optica 4, 736 (2017), doi 10.1364/OPTICA.4.000736; modes after Thibault & Menzel, Nature 494,
68 (2013), doi 10.1038/nature11806.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from edge.physics.arrays import Bool, Complex, Float
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
    handed in is changed. Pixels that a frame did not measure are NaN: there the guess is left as it is. Until the
    first iteration that improves the probe the modes stay as given, and so does the scale between them and the object.
    """
    modulus = np.sqrt(np.fft.ifftshift(frames, axes=(1, 2)).astype(np.float32))
    hidden = [one if one.any() else None for one in np.isnan(modulus)]
    total = float(np.nansum(modulus**2, dtype=np.float64))
    image, modes = image.astype(np.complex64), modes.astype(np.complex64)
    corners = np.floor(positions).astype(int)
    phases = [shift_phase(modes.shape[-2:], rest).astype(np.complex64) for rest in positions - corners]
    lights = _Lights(modes, phases, settings, kept=settings.probe_from >= settings.iterations)
    for iteration in range(settings.iterations):
        misfit = 0.0
        for index in rng.permutation(len(frames)):
            row, col = corners[index]
            light = lights.at(index)
            patch = image[row : row + modes.shape[-2], col : col + modes.shape[-1]]
            change, error = _correction(light.modes, patch, modulus[index], hidden[index])
            misfit += error
            move = _probe_step(patch, change, settings.beta) if iteration >= settings.probe_from else None
            patch += _summed(light.step, change)
            if move is not None:
                lights.improve(settings.step * move, index)
        if iteration >= settings.probe_from:
            found = lights.modes()
            scale = _transparent_amplitude(image, found, corners)
            image /= np.float32(scale)
            modes = orthogonal_modes(found * scale)
            lights = _Lights(modes, phases, settings)
        yield Reconstruction(image.copy(), modes.copy(), misfit / total)


@dataclass(frozen=True)
class _Light:
    """The probe where a frame was taken: its modes, and by what a correction is multiplied to move the object."""

    modes: NDArray[np.complex64]
    step: NDArray[np.complex64]


class _Lights:
    """The probe at each frame's place between pixels, kept in Fourier space, where moving it is a product.

    Single precision and scipy's transforms take a fifth of the time of numpy's in double, and five iterations of the
    measured star end at the same residual to five digits. With `kept`, which is for a probe that never improves, the
    moved modes of every frame are remembered: 3 modes of 128 x 128 are 0.8 MB a frame.
    """

    def __init__(self, modes: Complex, phases: list[Complex], settings: Settings, kept: bool = False) -> None:
        self._spectrum = _forward(modes.copy())
        self._phases = phases
        self._settings = settings
        self._kept: dict[int, _Light] | None = {} if kept else None

    def at(self, index: int) -> _Light:
        if self._kept is None:
            return self._moved(index)
        if index not in self._kept:
            self._kept[index] = self._moved(index)
        return self._kept[index]

    def improve(self, move: Complex, index: int) -> None:
        """Adds `move` [modes, height, width], seen from frame `index`, to the probe."""
        self._spectrum += _forward(move) * self._phases[index].conj()

    def modes(self) -> NDArray[np.complex64]:
        return _backward(self._spectrum.copy())

    def _moved(self, index: int) -> _Light:
        modes = _backward(self._spectrum * self._phases[index])
        power, alpha = _power(modes), self._settings.alpha
        weight = self._settings.step / ((1 - alpha) * power + alpha * power.max())
        return _Light(modes, modes.conj() * weight)


def _correction(lit: Complex, patch: Complex, modulus: Float, hidden: Bool | None) -> tuple[Complex, float]:
    """What the measured modulus adds to the exit waves, and the squared misfit before."""
    field = _forward(lit * patch)
    guess = np.sqrt(_power(field))
    difference = modulus - guess
    if hidden is not None:
        difference[hidden] = 0
    field *= difference / np.maximum(guess, np.float32(1e-9))
    return _backward(field), float(np.vdot(difference, difference))


def _forward(fields: Complex) -> Complex:
    """The far fields; overwrites what it is given."""
    found: Any = fft.fft2(fields, norm="ortho", overwrite_x=True)
    return found


def _backward(fields: Complex) -> Complex:
    """The other way; overwrites what it is given."""
    found: Any = fft.ifft2(fields, norm="ortho", overwrite_x=True)
    return found


def _power(fields: Complex) -> NDArray[np.float32]:
    """Sum over the modes [modes, height, width] of their squared moduli."""
    total = fields.real**2
    total += fields.imag**2
    return total.sum(axis=0)


def _summed(left: Complex, right: Complex) -> Complex:
    """Sum over the modes of the products."""
    total = left[0] * right[0]
    for one, other in zip(left[1:], right[1:], strict=True):
        total += one * other
    return total


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
