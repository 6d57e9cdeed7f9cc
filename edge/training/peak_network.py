# pyright: reportMissingImports=false
"""The network behind `peaks`, and the graph around it that makes a list of spots."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.models.peaks import APERTURE_PX, MOST_PEAKS, THRESHOLD
from edge.training.pixels import WIDE_PX, Pixels, box_sum, stabilised, trunk

WIDTH, LAYERS = 16, 4
APART_PX = 5
"""Of two spots closer than about half of this the surer one is kept."""

SPOT_PX = 13
"""Side of the square around a spot that tells nothing about the background."""

AROUND_PX = 23
ROOT_OF_NORMAL = 0.822
"""Mean of the root of the size of a normal deviate: 2**0.25 Gamma(3/4) / sqrt(pi)."""

BRIGHTEST = 12.0
NO_NOISE = 6.0
"""Contrast that Poisson noise does not reach."""

NOWHERE = -1e4
LIMIT = math.log(THRESHOLD / (1 - THRESHOLD))

MASS_PX = 7
MASS_FROM = 4.0
"""Intensity in standard deviations from which a spot's centre of mass has the larger say in where it is."""


class PeakNet(nn.Module):
    """`Pixels` [batch, 1, height, width] -> logit, row offset, column offset [batch, 3, height, width]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = trunk(2, WIDTH, LAYERS, 3)

    def forward(self, pixels: Pixels) -> Tensor:
        return self.judged(features(pixels))

    def judged(self, seen: Tensor) -> Tensor:
        """The same from the features."""
        height, width = seen.shape[2:]
        return self.body(seen)[:, :, :height, :width]


def features(pixels: Pixels) -> Tensor:
    """What the network looks at [batch, 2, height, width]."""
    return torch.cat([contrast(pixels), pixels.good], dim=1)


def contrast(pixels: Pixels) -> Tensor:
    """How far each pixel stands out from its surroundings, in units of the noise there."""
    root = stabilised(pixels.counts)
    good = box_sum(pixels.good, WIDE_PX).clamp(min=1)
    above = (root - box_sum(root * pixels.good, WIDE_PX) / good) * pixels.good
    # Of a mean square a few bright spots would take the most; this mean of roots they hardly change.
    noise = (box_sum(torch.sqrt(above.abs()), WIDE_PX) / (good * ROOT_OF_NORMAL)).square()
    return (above / noise.clamp(min=1)).clamp(-BRIGHTEST, BRIGHTEST)


class PeakList(nn.Module):
    """`Pixels` -> the outputs of `edge.models.peaks.SPEC`, a batch of each."""

    def __init__(self, net: PeakNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Pixels) -> tuple[Tensor, ...]:
        seen = features(pixels)
        said = self.net.judged(seen)
        spots, logit = spots_of(said[:, :1] + NOWHERE * (box_sum(pixels.good, 3) < 3.5).to(torch.float32))
        background, pixels_around = surroundings(pixels, spots, seen[:, :1])
        counts, variance = apertures(pixels, spots, background, pixels_around)
        # The image may have fewer pixels than there are places in the list.
        listed = functional.pad((logit * spots + NOWHERE * (1 - spots)).flatten(1), (0, MOST_PEAKS), value=NOWHERE)
        found, index = torch.topk(listed, MOST_PEAKS, dim=1)
        present = (found > LIMIT).to(torch.float32)
        index = index * (found > LIMIT).to(torch.int64)
        width = pixels.counts.shape[3]
        row = torch.div(index, width, rounding_mode="trunc")
        column = index - row * width

        def there(image: Tensor) -> Tensor:
            return torch.gather(image.flatten(1), 1, index) * present

        down, right = there(said[:, 1]), there(said[:, 2])
        intensity, sigma = there(counts), torch.sqrt(there(variance))
        mass_down, mass_right = masses(pixels.counts, row, column, down, right)
        # Faint spots are where the network says; of bright ones the centre of mass is the better.
        strength = (intensity / sigma.clamp(min=1e-3)).square()
        trust = strength / (strength + MASS_FROM**2)
        return (
            present.sum(dim=1, keepdim=True).to(torch.int32),
            (row.to(torch.float32) + down + trust * (mass_down - down)) * present,
            (column.to(torch.float32) + right + trust * (mass_right - right)) * present,
            intensity,
            sigma,
            torch.sigmoid(found) * present,
        )


def spots_of(logit: Tensor) -> tuple[Tensor, Tensor]:
    """1 where the logit is a local maximum above the threshold, and the logit; [batch, 1, height, width].

    Compared before the sigmoid: above a logit of 17 all float32 probabilities are one.
    """
    best = (functional.max_pool2d(logit, APART_PX, 1, APART_PX // 2) <= logit).to(torch.float32)
    return best * (logit > LIMIT).to(torch.float32), logit


def surroundings(pixels: Pixels, spots: Tensor, standing_out: Tensor) -> tuple[Tensor, Tensor]:
    """The background under each pixel in counts, and of how many pixels it is the mean; [batch, 1, height, width].

    Of the good pixels around those count that belong to none of the `spots`, and do not stand out as rings do by more
    than noise ever does: so at any level the mean is unbiased.
    """
    flat = (standing_out < NO_NOISE).to(torch.float32)
    clear = pixels.good * flat * (1 - functional.max_pool2d(spots, SPOT_PX, 1, SPOT_PX // 2))
    # Where spots leave nothing clear, all good pixels must do.
    weight = clear + 1e-3 * pixels.good
    around = box_sum(weight, AROUND_PX).clamp(min=1e-3)
    return box_sum(pixels.counts * weight, AROUND_PX) / around, around


def apertures(pixels: Pixels, spots: Tensor, background: Tensor, around: Tensor) -> tuple[Tensor, Tensor]:
    """Counts above the background in the aperture around each pixel, and their variance; [batch, 1, height, width]."""
    shared = box_sum(spots, APERTURE_PX).clamp(min=1)
    counts = box_sum((pixels.counts - background) / shared, APERTURE_PX)
    variance = box_sum(pixels.counts / shared.square(), APERTURE_PX) + APERTURE_PX**4 * background / around
    return counts, variance.clamp(min=0)


def masses(counts: Tensor, row: Tensor, column: Tensor, down: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Centres of mass relative to the pixels `row`, `column` [batch, spots], in windows that `down` and `right` shift.

    Of `counts` [batch, 1, height, width] those above the mean of the window's border weigh: so a spot wider than the
    window is not drawn to the window's centre.
    """
    half = MASS_PX // 2
    edge = half + 1  # a window may stand one pixel beside its spot's
    step_down, step_right = (torch.round(offset.clamp(-1, 1)) for offset in (down, right))
    wide = functional.pad(counts, (edge, edge, edge, edge))
    first = (row + step_down.to(torch.int64) + 1) * wide.shape[3] + column + step_right.to(torch.int64) + 1
    places = torch.arange(MASS_PX * MASS_PX)
    rows = torch.div(places, MASS_PX, rounding_mode="trunc")
    columns = places - rows * MASS_PX
    index = first[:, :, None] + (rows * wide.shape[3] + columns)
    window = torch.gather(wide.flatten(1), 1, index.flatten(1)).reshape(-1, MOST_PEAKS, MASS_PX * MASS_PX)
    beside = torch.maximum((rows - half).abs(), (columns - half).abs()) == half
    border = beside.to(torch.float32) / float(4 * (MASS_PX - 1))
    weight = (window - (window * border).sum(dim=2, keepdim=True)).clamp(min=0)
    total = weight.sum(dim=2).clamp(min=1e-6)
    return (
        (weight * (rows - half).to(torch.float32)).sum(dim=2) / total + step_down,
        (weight * (columns - half).to(torch.float32)).sum(dim=2) / total + step_right,
    )
