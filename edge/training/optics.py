# pyright: reportMissingImports=false
"""The known probe inside a network: from a patch of the object to its far field and back, by matrix products.

TensorRT knows no Fourier transform, and only the middle of the frame and of the patch are wanted: two products with
small constant matrices give just those.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.models.ptycho import Geometry
from edge.physics.arrays import Complex
from edge.physics.probe import probe_intensity

ALPHA = 0.1
"""Of the object's step, as in `edge.physics.rpie`: smaller steps where the probe is dark."""


class Field(NamedTuple):
    """Complex, as two tensors of one shape."""

    real: Tensor
    imag: Tensor

    @property
    def power(self) -> Tensor:
        """Squared modulus."""
        return self.real * self.real + self.imag * self.imag


class Optics(nn.Module):
    """The probe `modes` [modes, frame_px, frame_px] in units in which a transparent object gives one count a pixel."""

    probe_real: Tensor  # [modes, patch, patch]
    probe_imag: Tensor
    rim_real: Tensor  # [modes, crop, crop]: far field of what the probe lights outside the patch, transparent
    rim_imag: Tensor
    step_real: Tensor  # [patch, patch]: the strongest mode, over the intensity of all
    step_imag: Tensor
    open_real: Tensor  # [modes, crop, crop]: far field of the whole probe
    open_imag: Tensor
    right: Tensor  # [2 patch, 2 crop]
    left: Tensor  # [2 crop, 2 patch]
    weight: Tensor  # [patch, patch]: the probe's intensity, its sum 1

    def __init__(self, modes: Complex, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry
        inner = slice(geometry.offset_px, geometry.offset_px + geometry.patch_px)
        whole = fourier_matrix(geometry, geometry.frame_px)
        field = whole @ modes @ whole.T
        unit = float(np.sqrt(probe_intensity(field).mean(dtype=np.float64)))
        modes, field = modes / unit, field / unit
        rim = modes.copy()
        rim[:, inner, inner] = 0
        probe, intensity = modes[:, inner, inner], probe_intensity(modes)[inner, inner]
        matrix = fourier_matrix(geometry, geometry.patch_px)
        self._keep("probe", probe)
        self._keep("rim", whole @ rim @ whole.T)
        self._keep("open", field)
        left = np.block([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]])
        right = np.block([[matrix.real.T, matrix.imag.T], [-matrix.imag.T, matrix.real.T]])
        gain = 1 / ((1 - ALPHA) * intensity + ALPHA * intensity.max())
        self._keep("step", probe[0] * gain)
        weight = intensity / intensity.sum(dtype=np.float64)
        for name, values in {"left": left, "right": right, "weight": weight}.items():
            self.register_buffer(name, _float32(values), persistent=False)

    def opened(self) -> Field:
        """Far fields [modes, crop, crop] of a transparent object."""
        return Field(self.open_real, self.open_imag)

    def far_field(self, patch: Field) -> Field:
        """Far fields [batch, modes, crop, crop] of patches [batch, patch, patch], lit by each mode.

        Outside the patch stands its complex mean; `edge.physics.deviance.framed` gives that the mean amplitude, which
        differs where the phase varies much (by 0.3 % of the deviance on a star of a few tenths of a radian).
        """
        mean = Field(self._mean(patch.real), self._mean(patch.imag))
        real, imag = patch.real[:, None], patch.imag[:, None]
        lit = torch.cat(
            (
                self.probe_real * real - self.probe_imag * imag,
                self.probe_real * imag + self.probe_imag * real,
            ),
            dim=-1,
        )
        crop = self.geometry.crop_px
        along = lit @ self.right
        both = self.left @ torch.cat((along[..., :crop], along[..., crop:]), dim=-2)
        return Field(
            both[..., :crop, :] + (self.rim_real * mean.real - self.rim_imag * mean.imag),
            both[..., crop:, :] + (self.rim_real * mean.imag + self.rim_imag * mean.real),
        )

    def backward_step(self, change: Field) -> Field:
        """The step [batch, patch, patch] of the object that a `change` [batch, 1, crop, crop] of the strongest mode's
        far field asks for.

        With nine tenths of the light it says as much as all modes.
        """
        size = self.geometry.patch_px
        along = self.left.T @ torch.cat((change.real, change.imag), dim=-2)
        both = torch.cat((along[..., :size, :], along[..., size:, :]), dim=-1) @ self.right.T
        real, imag = both[:, 0, :, :size], both[:, 0, :, size:]
        return Field(
            self.step_real * real + self.step_imag * imag,
            self.step_real * imag - self.step_imag * real,
        )

    def _keep(self, name: str, values: Complex) -> None:
        # Not among the weights: those may go on learning under another probe.
        self.register_buffer(f"{name}_real", _float32(values.real), persistent=False)
        self.register_buffer(f"{name}_imag", _float32(values.imag), persistent=False)

    def _mean(self, values: Tensor) -> Tensor:
        return (values * self.weight).sum(dim=(1, 2), keepdim=True)[:, None]


def fourier_matrix(geometry: Geometry, size_px: int) -> NDArray[np.complex128]:
    """Matrix [crop, size]: from the middle `size_px` pixels of a full patch to the middle frequencies of its far field.

    Unitary for full sizes, the zero frequency in the middle: `fftshift(fft2(x, norm="ortho"))` is M x M^T.
    """
    pixels = (geometry.frame_px - size_px) // 2 + np.arange(size_px)
    frequencies = np.arange(geometry.crop_px) - geometry.crop_px // 2
    turns = np.outer(frequencies, pixels) / geometry.frame_px
    return np.exp(-2j * np.pi * turns) / np.sqrt(geometry.frame_px)


def _float32(values: NDArray[np.floating]) -> Tensor:
    return torch.tensor(np.ascontiguousarray(values), dtype=torch.float32)
