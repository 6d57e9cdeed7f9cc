# pyright: reportMissingImports=false
"""The graph around the networks of `peaks`: from a frame's bytes to a list of spots with their intensities."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.models.peaks import APERTURE_PX, MOST_PEAKS, THRESHOLD
from edge.models.spec import SENTINELS
from edge.training.peak_network import (
    CELL_PX,
    FARTHEST_PX,
    HALF,
    MIDDLE_PX,
    NOWHERE,
    PATCH_PX,
    Candidates,
    Frame,
    Patches,
    PeakNet,
    candidates,
    framed,
    known,
    patches,
)

USUAL, FEWEST = 20.0, 0.1
"""Spots a megapixel: where there are fewer than the first, faint ones are doubted; the second is the least expected."""

ROUNDS = 5
APART_PX = 2.5
"""Of two candidates closer than this the surer one is kept."""

NEIGHBOURS = 3
"""Spots with which one shares its aperture, at most."""

SPOT_PX = 8.5
"""Cells whose middle is closer to a spot than this, in rows and columns, tell nothing about the background."""

AROUND_CELLS = 7
NO_NOISE = 6.0
"""Deviations above its surroundings that a cell of background does not reach."""

FAR = 1e6
MASS_PX = 7
MASS_FROM = 4.0
"""Intensity in standard deviations from which a spot's centre of mass has the larger say in where it is."""


class ServedPeaks(nn.Module):
    """Bytes uint8 [batch, height, width, itemsize] -> the outputs of `edge.models.peaks.SPEC`, a batch of each.

    TensorRT takes no 16- or 32-bit unsigned input, hence bytes. The products with powers of 256 and their sum are
    exact in float32 below 2**24. `byte_weights` and `sentinel_from` are named here: variants for other item sizes
    replace them.
    """

    byte_weights: Tensor
    sentinel_from: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, net: PeakNet, scale: float = 1.0, shift: float = 0.0) -> None:
        """The judge's logits times `scale` plus `shift` are calibrated."""
        super().__init__()
        self.net = net
        self.register_buffer("byte_weights", torch.tensor([1.0, 256.0]))
        self.register_buffer("sentinel_from", torch.tensor(SENTINELS[2]))
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("shift", torch.tensor(shift))

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        # Cast before anything else: TensorRT knows uint8 as an input, not as something to compute with.
        pixels = frame.to(torch.float32)
        # A vector times a wide matrix: by far the fastest way to join bytes that takes any number of them.
        joined = torch.matmul(self.byte_weights, pixels.permute(0, 3, 1, 2).flatten(2))
        return listed(*self.judged(joined.reshape(pixels.shape[:3])))

    def judged(self, counts: Tensor) -> tuple[Frame, Candidates, Patches, Tensor, Tensor, Tensor]:
        """Images [batch, height, width] -> what is known of the candidates: their logits, and offsets in pixels."""
        seen = framed(counts, self.sentinel_from)
        said, features, whole = self.net.finder(seen.standing, seen.steps)
        found = candidates(said, seen)
        around = patches(seen, found, self.sentinel_from)
        judged = self.net.judge(known(seen, found, around, features, whole))
        there = (found.logit > NOWHERE / 2).to(torch.float32)
        logit = (judged[:, :, 0] * self.scale + self.shift) * there + NOWHERE * (1 - there)
        down, right = (judged[:, :, axis].clamp(-FARTHEST_PX, FARTHEST_PX) for axis in (1, 2))
        return seen, found, around, logit, down, right


def listed(
    frame: Frame,
    found: Candidates,
    around: Patches,
    logit: Tensor,
    down: Tensor,
    right: Tensor,
) -> tuple[Tensor, ...]:
    """The outputs, from the logits and offsets [batch, candidates] of the judge."""
    places = found.row.to(torch.float32) + down, found.column.to(torch.float32) + right
    away = distances(*places)
    chance, present = decided(logit, apart(logit, away), frame.good)
    window = _window(down, right, APERTURE_PX // 2)
    share = window * own(away, present, places, found)
    background, pixels = surroundings(frame, found.cell, places, present)
    intensity = ((around.counts - background[:, :, None]) * share).sum(dim=2)
    variance = (around.counts * share).sum(dim=2) + share.sum(dim=2).square() * background / pixels
    sigma = torch.sqrt(variance.clamp(min=0))
    mass_down, mass_right = masses(around.counts, down, right)
    # Faint spots are where the network says; of bright ones the centre of mass is the better.
    strength = (intensity / sigma.clamp(min=1e-3)).square()
    trust = strength / (strength + MASS_FROM**2)
    row, column = places[0] + trust * (mass_down - down), places[1] + trust * (mass_right - right)
    best, order = torch.topk(chance * present, MOST_PEAKS, dim=1)
    there = (best > 0).to(torch.float32)
    row, column, intensity, sigma = (torch.gather(value, 1, order) * there for value in (row, column, intensity, sigma))
    count = there.sum(dim=1, keepdim=True).to(torch.int32)
    return count, row, column, intensity, sigma, best


def apart(logit: Tensor, away: Tensor) -> Tensor:
    """1 for the candidates that no surer one is near, 0 for others [batch, candidates]."""
    surer = (logit[:, None] > logit[:, :, None]).to(torch.float32)
    return 1 - (surer * (away < APART_PX**2).to(torch.float32)).amax(dim=2)


def decided(logit: Tensor, alone: Tensor, good: Tensor) -> tuple[Tensor, Tensor]:
    """Probability of each candidate, and 1 for those that are listed [batch, candidates].

    Where a frame of many pixels promises few spots, what noise makes is as frequent as they are: below a usual density
    the odds are multiplied by the frame's own, relative to that (Saerens et al., Neural Comput. 14, 21, 2002). Listed
    is what makes the expected F1 greatest: from half of it upwards, found by iteration (Lipton et al., ECML 2014).
    """
    megapixels = good.sum(dim=(1, 2, 3))[:, None] * 1e-6
    density = (torch.sigmoid(logit) * alone).sum(dim=1, keepdim=True) / megapixels.clamp(min=1e-6)
    chance = torch.sigmoid(logit + torch.log((density + FEWEST) / USUAL).clamp(max=0)) * alone
    promised = chance.sum(dim=1, keepdim=True)
    limit = torch.full_like(promised, 0.5)
    for _ in range(ROUNDS):
        over = (chance > limit).to(torch.float32)
        f1 = 2 * (chance * over).sum(dim=1, keepdim=True) / (over.sum(dim=1, keepdim=True) + promised + 1e-6)
        limit = (f1 / 2).clamp(min=THRESHOLD, max=0.5)
    return chance, (chance > limit).to(torch.float32)


def distances(row: Tensor, column: Tensor) -> Tensor:
    """Squares of the distances of all candidates [batch, candidates, candidates]."""
    return (row[:, :, None] - row[:, None]).square() + (column[:, :, None] - column[:, None]).square()


def own(away: Tensor, present: Tensor, places: tuple[Tensor, Tensor], found: Candidates) -> Tensor:
    """Share of each pixel of a candidate's patch that is nearer to it than to any other spot [batch, n, pixels].

    So photons in overlapping apertures are counted once. Only the `NEIGHBOURS` nearest spots are looked at.
    """
    # Its own distance, zero, comes first.
    squares, nearest = torch.topk(away + FAR * (1 - present[:, None]), NEIGHBOURS + 1, dim=2, largest=False)
    step = torch.arange(PATCH_PX, dtype=torch.float32) - HALF
    beyond = torch.full((1, 1, PATCH_PX, PATCH_PX), -1.0)
    for at in range(1, NEIGHBOURS + 1):
        across = torch.sqrt(squares[:, :, at : at + 1]).clamp(min=1e-3)
        along = []
        for place, middle in zip(places, (found.row, found.column), strict=True):
            other = torch.gather(place, 1, nearest[:, :, at])
            half_way = (other + place) / 2 - middle.to(torch.float32)
            along.append((step - half_way[:, :, None]) * (other - place)[:, :, None] / across)
        # How far a pixel is beyond the line half-way to the other spot, in pixels.
        there = along[0] - FAR * (across > FAR**0.5 / 2).to(torch.float32)
        beyond = torch.maximum(beyond, there[:, :, :, None] + along[1][:, :, None, :])
    return (0.5 - beyond).clamp(0, 1).flatten(2)


def surroundings(frame: Frame, cell: Tensor, places: tuple[Tensor, Tensor], present: Tensor) -> tuple[Tensor, Tensor]:
    """Counts a pixel of the background under each candidate, and of how many pixels that is the mean [batch, n].

    Of the cells around those count that hold no spot, and do not stand out as rings do by more than noise ever does:
    so at any level the mean is unbiased.
    """
    near = []
    for place, length in zip(places, frame.good.shape[2:], strict=True):
        middle = CELL_PX * torch.arange(length, dtype=torch.float32)[:, None] + MIDDLE_PX
        near.append(((middle - place[:, None]).abs() < SPOT_PX).to(torch.float32))  # [batch, cells, candidates]
    taken = torch.matmul(near[0] * present[:, None], near[1].transpose(1, 2))[:, None]
    clear = (1 - taken).clamp(min=0) * (frame.steps < NO_NOISE).to(torch.float32)
    # Where spots leave nothing clear, all good pixels must do.
    weight = clear + 1e-3
    counts, pixels = (
        torch.gather(functional.avg_pool2d(sums * weight, AROUND_CELLS, 1, AROUND_CELLS // 2).flatten(1), 1, cell)
        * float(AROUND_CELLS**2)
        for sums in (frame.counts, frame.good)
    )
    pixels = pixels.clamp(min=1e-3)
    return counts / pixels, pixels


def masses(counts: Tensor, down: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Centres of mass [batch, candidates] relative to the patches' middles, in windows around `down` and `right`.

    Of `counts` [batch, candidates, pixels] those above the mean of the window's border weigh: so a spot wider than the
    window is not drawn to the window's centre.
    """
    whole, inner = (_window(down, right, half) for half in (MASS_PX // 2, MASS_PX // 2 - 1))
    border = whole - inner
    level = (counts * border).sum(dim=2, keepdim=True) / float(4 * (MASS_PX - 1))
    weight = (counts - level).clamp(min=0) * whole
    total = weight.sum(dim=2).clamp(min=1e-6)
    step = torch.arange(PATCH_PX, dtype=torch.float32) - HALF
    rows, columns = step[:, None].expand(-1, PATCH_PX).flatten(), step[None, :].expand(PATCH_PX, -1).flatten()
    return (weight * rows).sum(dim=2) / total, (weight * columns).sum(dim=2) / total


def _window(down: Tensor, right: Tensor, half: int) -> Tensor:
    """1 in the square of 2 `half` + 1 pixels around the pixel with the offset, 0 elsewhere [batch, n, pixels]."""
    step = torch.arange(PATCH_PX, dtype=torch.float32) - HALF
    # An aperture does not leave its patch: spots are hardly ever farther from its middle than a pixel.
    down, right = (_inside(step, torch.floor(one.clamp(-1, 1) + 0.5), half + 0.5) for one in (down, right))
    return (down[:, :, :, None] * right[:, :, None, :]).flatten(2)


def _inside(places: Tensor, middle: Tensor, half: float) -> Tensor:
    return ((places - middle[:, :, None]).abs() < half).to(torch.float32)
