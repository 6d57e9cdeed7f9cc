# pyright: reportMissingImports=false
"""The network behind `ptycho`, and the part of the graph that turns a detector's bytes into its input."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.models.ptycho import CROP_PX, FRAME_PX, PATCH_PX
from edge.models.spec import SENTINELS

SCALE = 0.7
"""Makes the input's mean square about a half."""

EMPTY = 1e-3
"""Counts a pixel, added to the mean: a frame without counts must give numbers, too."""


def _block(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )


class PatchNet(nn.Module):
    """Scaled modulus [batch, 1, 96, 96] -> amplitude and phase [batch, 2, 80, 80].

    Down to 6 x 6, where every cell sees the whole image, and up again: the far field and the object have no pixel in
    common, so there is nothing for U-Net bridges to carry.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 4, 2, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            _block(32, 48, 2),
            _block(48, 48),
            _block(48, 96, 2),
            _block(96, 96),
            _block(96, 112, 2),
            _block(112, 112),
            _block(112, 112),
        )
        self.decoder = nn.Sequential(
            _block(112, 96),
            nn.Upsample(scale_factor=2),
            _block(96, 96),
            _block(96, 64),
            nn.Upsample(scale_factor=2),
            _block(64, 64),
            _block(64, 32),
            nn.Upsample(scale_factor=2),
            _block(32, 32),
            nn.Conv2d(32, 8, 3, 1, 1),
            nn.PixelShuffle(2),
        )

    def forward(self, modulus: Tensor) -> Tensor:
        edge = (CROP_PX - PATCH_PX) // 2
        return self.decoder(self.encoder(modulus))[:, :, edge:-edge, edge:-edge]


def scaled_modulus(counts: Tensor) -> Tensor:
    """Square root of counts [batch, 1, 96, 96], each frame scaled to the same sum.

    The root makes the shot noise even; the scale makes the network indifferent to the beam's current.
    """
    mean = counts.mean(dim=(1, 2, 3), keepdim=True) + EMPTY
    return torch.sqrt(counts / mean) * SCALE


class ServedNet(nn.Module):
    """The whole graph: bytes uint8 [batch, 128, 128, 2] -> amplitude, phase [batch, 80, 80].

    TensorRT takes no 16- or 32-bit unsigned input, hence bytes. The products with powers of 256 and their sum are
    exact in float32 below 2**24, far above what a pixel counts in a frame. `byte_weights` and `sentinel_from` are
    named here: variants for other item sizes replace them.
    """

    byte_weights: Tensor
    sentinel_from: Tensor

    def __init__(self, net: PatchNet) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("byte_weights", torch.tensor([1.0, 256.0]))
        self.register_buffer("sentinel_from", torch.tensor(SENTINELS[2]))

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        edge = (FRAME_PX - CROP_PX) // 2
        # Cast before anything else: TensorRT knows uint8 as an input, not as something to compute with.
        crop = frame.to(torch.float32)[:, edge:-edge, edge:-edge]
        counts = (crop * self.byte_weights).sum(dim=3)
        counts = counts * (counts < self.sentinel_from).to(torch.float32)
        patch = self.net(scaled_modulus(counts[:, None]))
        return patch[:, 0], patch[:, 1]


def parameters(net: nn.Module) -> int:
    """Count of trained numbers."""
    return sum(parameter.numel() for parameter in net.parameters())


def averaged(target: nn.Module, source: nn.Module, keep: float) -> None:
    """Moves the weights of `target` towards `source`: the mean over the last steps judges better than the last."""
    with torch.no_grad():
        for mean, new in zip(target.state_dict().values(), source.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.mul_(keep).add_(cast(Tensor, new).to(mean.dtype), alpha=1 - keep)
            else:
                mean.copy_(new)


def weighted_l1(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean over the batch of the probe-weighted absolute error."""
    return functional.l1_loss(predicted * weight, target * weight, reduction="sum") / (len(target) * weight.sum())
