# pyright: reportMissingImports=false
"""The network behind `denoise`: a correction to the root of the local mean."""

import torch
from torch import Tensor, nn

from edge.training.pixels import Pixels, box_sum, stabilised, trunk

WIDTH, LAYERS = 32, 3
NEAR_PX, FAR_PX = 3, 7
SMALLEST = 1e-3
"""Counts a pixel; nothing is expected to be less."""


class DenoiseNet(nn.Module):
    """`Pixels` [batch, 1, height, width] -> expected counts of the same shape.

    All that enters are differences of stabilised counts, whose noise is about one at any flux, and a logarithm of the
    level: so what was learned at a few hundred counts holds at many thousands.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = trunk(4, WIDTH, LAYERS, 1)
        last = self.body[-2]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.normal_(last.weight, std=1e-3)
        nn.init.zeros_(last.bias)

    def forward(self, pixels: Pixels) -> Tensor:
        height, width = pixels.counts.shape[2:]
        seen, near = features(pixels)
        return expected(near, self.body(seen)[:, :, :height, :width])


def features(pixels: Pixels) -> tuple[Tensor, Tensor]:
    """What the network looks at [batch, 4, height, width], and what it corrects [batch, 1, height, width]."""
    near, far = (stabilised(local_mean(pixels, size)) for size in (NEAR_PX, FAR_PX))
    return torch.cat([stabilised(pixels.counts) - near, near - far, torch.log(far), pixels.good], dim=1), near


def expected(near: Tensor, correction: Tensor) -> Tensor:
    """Counts of the corrected root."""
    return (0.5 * (near + correction)).square() + SMALLEST


def local_mean(pixels: Pixels, size: int) -> Tensor:
    """Mean over `size` x `size` pixels; the good ones, and filled ones for a hundredth."""
    weight = pixels.good + 0.01
    return box_sum(pixels.counts * weight, size) / box_sum(weight, size)


class DenoisedImage(nn.Module):
    """`Pixels` -> expected counts [batch, height, width]."""

    def __init__(self, net: DenoiseNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Pixels) -> Tensor:
        return self.net(pixels)[:, 0]
