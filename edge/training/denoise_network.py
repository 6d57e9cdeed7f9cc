# pyright: reportMissingImports=false
"""The network behind `denoise`: a correction to the root of a local mean, and how sure that is."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.training.pixels import WIDE_PX, Pixels, box_sum, stabilised

CHANNELS = 16, 32, 40, 48
"""At the full resolution, a half, a quarter and an eighth of it."""

FEATURES = 5
NEAR_PX = 3
NO_LIGHT = 0.5
"""Photons that might have been counted around a pixel where none was."""

LEAST_COUNTS = 1e-5
SURE = 1.5
"""Before any training the variance is the counts' own over e to the power of this: about that of a 3 x 3 mean."""

FEW_COUNTS = 300.0
LEAST_LOG, MOST_LOG = -10.0, 6.0
KNOTS = -4.0, -2.0, -1.0, -0.4, 0.2, 0.6, 1.0, 1.4, 2.0, 2.6, 3.0, 3.6
"""Of the calibration: logarithms of the counts over the mean of the frame."""


class DenoiseNet(nn.Module):
    """`Pixels` [batch, 1, height, width] -> expected counts and the variance of that estimate, of the same shape.

    All that enters are differences of stabilised counts, whose noise is about one at any flux, and logarithms of the
    level: so what was learned at a few hundred counts holds at many thousands.
    """

    levels: Tensor
    """Logarithm of what the counts are multiplied by, at `KNOTS`; set after the training."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Body()
        self.register_buffer("levels", torch.zeros(len(KNOTS)))

    def forward(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
        seen, near, _ = features(pixels)
        counts, variance = estimate(near, self.body(seen))
        counts = counts * torch.exp(between_knots(relative(pixels, counts), self.levels))
        return counts * flux_ratio(pixels, counts), variance


def relative(pixels: Pixels, counts: Tensor) -> Tensor:
    """Logarithm of `counts` over the frame's mean."""
    seen, good = ((image * pixels.good).sum(dim=(1, 2, 3), keepdim=True) for image in (pixels.counts, pixels.good))
    return torch.log(counts * (good + 1) / (seen + 1))


def flux_ratio(pixels: Pixels, counts: Tensor) -> Tensor:
    """By what the estimate must grow for its sum over the good pixels to be that of the counts [batch, 1, 1, 1].

    Frames of few photons say little about it, and keep theirs.
    """
    seen, said = ((image * pixels.good).sum(dim=(1, 2, 3), keepdim=True) for image in (pixels.counts, counts))
    return (seen + FEW_COUNTS) / (said + FEW_COUNTS)


def between_knots(at: Tensor, values: Tensor) -> Tensor:
    """The piecewise linear function that has `values` [knots] at `KNOTS`, and stays as it is beyond them."""
    found = values[0] * torch.ones_like(at)
    for first, (low, high) in enumerate(itertools.pairwise(KNOTS)):
        found = found + (values[first + 1] - values[first]) * ((at - low) / (high - low)).clamp(0, 1)
    return found


class Body(nn.Module):
    """A U-Net: features [batch, 5, height, width] -> correction and logarithm [batch, 2, height, width].

    A side of odd length is rounded up at each level, and what is too much is cut off on the way back: any size goes
    through.
    """

    def __init__(self) -> None:
        super().__init__()
        full, half, quarter, eighth = CHANNELS
        self.stem = nn.Sequential(nn.Conv2d(FEATURES, full, 3, 1, 1), nn.ReLU(inplace=True))
        self.halved = _down(full, half)
        self.quartered = nn.Sequential(_down(half, quarter), _same(quarter))
        self.eighth = nn.Sequential(_down(quarter, eighth), _same(eighth), _same(eighth))
        self.from_eighth, self.to_quarter = _up(eighth, quarter), _same(quarter)
        self.from_quarter, self.to_half = _up(quarter, half), _same(half)
        self.from_half, self.to_full = _up(half, full), _same(full)
        self.last = nn.Conv2d(full, 2, 1)
        nn.init.normal_(self.last.weight, std=1e-3)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, seen: Tensor) -> Tensor:
        full = self.stem(seen)
        half = self.halved(full)
        quarter = self.quartered(half)
        eighth = self.eighth(quarter)
        quarter = self.to_quarter(_joined(quarter, self.from_eighth(eighth)))
        half = self.to_half(_joined(half, self.from_quarter(quarter)))
        return self.last(self.to_full(_joined(full, self.from_half(half))))


def _down(inside: int, outside: int) -> nn.Module:
    # The uneven border aligns both resolutions at any size.
    return nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(inside, outside, 4, 2), nn.ReLU(inplace=True))


def _same(channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1), nn.ReLU(inplace=True))


def _up(inside: int, outside: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inside, 4 * outside, 1), nn.PixelShuffle(2))


def _joined(kept: Tensor, risen: Tensor) -> Tensor:
    return functional.relu(kept + risen[:, :, : kept.shape[2], : kept.shape[3]])


def features(pixels: Pixels) -> tuple[Tensor, Tensor, Tensor]:
    """What the network looks at [batch, 5, height, width], the mean counts nearby that it corrects, and those of wider
    surroundings [batch, 1, height, width]."""
    seen = pixels.counts * pixels.good
    wide = (box_sum(seen, WIDE_PX) + NO_LIGHT) / (box_sum(pixels.good, WIDE_PX) + 1)
    # The mean of what the 3 x 3 pixels may be where before they were thought to be like those around (a gamma
    # distribution of shape 1): in the dark the wider mean, in the light that of the nine.
    near = (box_sum(seen, NEAR_PX) + 1) / (box_sum(pixels.good, NEAR_PX) + 1 / wide)
    root = stabilised(near)
    levels = torch.log(near) / 3, torch.log(wide) / 3
    parts = stabilised(pixels.counts) - root, root - stabilised(wide), *levels, pixels.good
    return torch.cat(parts, dim=1), near, wide


def estimate(near: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
    """Expected counts and their variance, from what is corrected and what the body said.

    The correction adds to the root where there is light, and multiplies it where there is none.
    """
    counts = near * (1 + 0.5 * said[:, :1] * torch.rsqrt(near + 1)).square() + LEAST_COUNTS
    return counts, counts.detach() * torch.exp((said[:, 1:] - SURE).clamp(LEAST_LOG, MOST_LOG))


class DenoisedImage(nn.Module):
    """`Pixels` -> the outputs of `edge.models.denoise.SPEC`, [batch, height, width] each."""

    def __init__(self, net: DenoiseNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
        counts, variance = self.net(pixels)
        return counts[:, 0], variance[:, 0]
