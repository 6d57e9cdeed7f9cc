# pyright: reportMissingImports=false
"""The two networks behind `peaks`: one looks at the whole frame for candidates, one at the patch around each.

Most of a frame holds nothing, so the first is cheap: it sees how far each pixel stands out, answers for cells of 4 x 4
pixels, and knows of its surroundings what it needs to tell a spot from a piece of a ring. The second sees some hundred
patches pixel by pixel, with what the first made of the place and of the whole frame.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.models.peaks import MOST_PEAKS
from edge.training.pixels import ANSCOMBE

BLOCK_PX, CELL_PX = 2, 4
"""What is looked at first are sums of blocks of pixels; answers are for cells of four blocks."""

CELL_BLOCKS = CELL_PX // BLOCK_PX
MIDDLE_PX = 0.5
"""Of the first cell: it begins a pixel before the border."""

DIVISOR = 8
"""Sides of the frame in blocks are multiples of this."""

FLAGGED = 2.0**32
"""Stands beyond the border: no pixel of any item size counts so much."""

WIDE_CELLS = 5
FOURTH_ROOT = 0.872
"""Mean fourth root of the variance of 4 normal deviates: (2 / 4)**0.25 Gamma(3/2 + 1/4) / Gamma(3/2)."""

POISSON = 0.5
"""Standard deviation of the root of a count (Anscombe, Biometrika 35, 246, 1948)."""

BRIGHTEST = 12.0
HOT_RATIO, HOT_COUNTS = 2.0, 12.0
"""A pixel of a patch is hot above this many times the counts of its eight neighbours together, and counts more: no spot
of a deviation of half a pixel or more is as sharp as that."""

CHANNELS, DEEPER = 16, 32
"""Of the finder, at a quarter of the resolution and below."""

SURE = -4.0, -2.0, 1.0, 4.0
"""Logits of the finder: how many cells of the frame are above each tells what a faint one may be."""

LEAST_SHARE = 1e-6
RARE = -5.0
"""Logit from which the finder starts to learn: few cells hold a spot."""

PATCH_PX = 13
HALF = PATCH_PX // 2
DROPPED = 0.1
"""Share of the judge's inner values that are left out at random while it learns."""

NOWHERE = -1e4
FAINT = 1e-3
FARTHEST_PX = 3.0
"""From the middle of a patch to its spot."""


class Frame(NamedTuple):
    """A frame, [batch, 1, height, width]; its blocks; and its cells [batch, 1, rows, columns]."""

    raw: Tensor  # counts and flags
    standing: Tensor  # contrast of blocks in units of the noise, without and with their brightest pixel [batch, 2, ...]
    good: Tensor  # good pixels of each cell
    counts: Tensor  # their counts
    level: Tensor  # mean root of the counts of a block around each cell
    noise: Tensor  # deviation of a root there
    steps: Tensor  # how far the cell's own mean root is above the level, in units of its noise


class Candidates(NamedTuple):
    """Places where a spot may be, [batch, candidates]; rows and columns are pixels of the frame."""

    logit: Tensor
    cell: Tensor
    row: Tensor
    column: Tensor


class Patches(NamedTuple):
    """Around the candidates, [batch, candidates, PATCH_PX**2]."""

    counts: Tensor  # what is not good is filled with the mean of what is good beside it
    good: Tensor  # 1 or 0


def framed(counts: Tensor, sentinel: Tensor) -> Frame:
    """Images [batch, height, width] with flags from `sentinel` upwards, prepared.

    The memory that is moved decides about the time, so at full resolution little is done: a block with a flag is bad
    as a whole, and of a hot pixel the rest of its block knows nothing.
    """
    raw = counts[:, None]
    # The first block begins a pixel before the border, so that sides of any length end within a block.
    most = functional.max_pool2d(raw, BLOCK_PX, BLOCK_PX, 1)
    mean = functional.avg_pool2d(raw, BLOCK_PX, BLOCK_PX, 1, count_include_pad=False)
    down, right = ((length + DIVISOR - 1) // DIVISOR * DIVISOR - length for length in most.shape[2:])
    most = functional.pad(most, (0, right, 0, down), value=FLAGGED)
    good = (sentinel - most).clamp(0, 1)
    mean, most = functional.pad(mean, (0, right, 0, down)) * good, most * good
    size = float(BLOCK_PX**2)
    root = torch.sqrt(mean * size + ANSCOMBE)
    # As if the other pixels counted for the brightest, too.
    rest = torch.sqrt((mean * size - most) * (size / (size - 1)) + ANSCOMBE)
    blocks, sums = _cells(good), _cells(mean) * size
    # Bad blocks are zeros.
    roots, rests = (_cells(image) - ANSCOMBE**0.5 * (size - blocks) for image in (root, rest))
    usual = _wide(blocks).clamp(min=1e-3)
    level = _wide(roots) / usual
    noise = _noise(blocks, sums, roots)
    clear = good * _spread(1 / noise)
    standing = [(root - _spread(level)) * clear, (rest - _spread(_wide(rests) / usual)) * clear]
    steps = (roots - level * blocks) / (noise * torch.sqrt(blocks.clamp(min=1)))
    return Frame(raw, torch.cat(standing, dim=1).clamp(-BRIGHTEST, BRIGHTEST), blocks * size, sums, level, noise, steps)


def _noise(blocks: Tensor, sums: Tensor, roots: Tensor) -> Tensor:
    """Standard deviation of a root around each cell, that of Poisson counts at least.

    From the variance within each cell: the squares of the roots are the counts. Of a mean of variances a few bright
    spots would take the most; the mean of their fourth roots they hardly change.
    """
    most = (blocks - CELL_BLOCKS**2 + 1).clamp(min=0)
    known = blocks.clamp(min=1)
    variance = (sums / known + ANSCOMBE - (roots / known).square()).clamp(min=0)
    spread = _wide(torch.sqrt(torch.sqrt(variance)) * most) / _wide(most).clamp(min=1e-3)
    return (spread / FOURTH_ROOT).square().clamp(min=POISSON)


class Finder(nn.Module):
    """`Frame.standing` and `Frame.steps` -> logit, row and column offset of each cell [batch, 3, rows, columns];
    features [batch, CHANNELS, rows, columns]; the whole frame [batch, WHOLE]."""

    WHOLE = DEEPER + len(SURE) + 1

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, CHANNELS, 2 * CELL_BLOCKS, CELL_BLOCKS, CELL_BLOCKS // 2), nn.ReLU())
        self.near = _apart(CHANNELS, CHANNELS)
        self.down = _apart(CHANNELS, DEEPER, 2)
        self.wide = nn.Sequential(_apart(DEEPER, DEEPER, 2), _apart(DEEPER, DEEPER), _apart(DEEPER, DEEPER))
        self.up = nn.Sequential(_apart(DEEPER, DEEPER), nn.Conv2d(DEEPER, CHANNELS, 1))
        self.last = _apart(CHANNELS, CHANNELS)
        self.head = nn.Conv2d(CHANNELS, 3, 1)
        nn.init.constant_(self.head.bias[:1], RARE)  # pyright: ignore[reportOptionalSubscript]

    def forward(self, standing: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine = self.near(self.stem(standing))
        middle = self.down(fine)
        wide = self.wide(middle)
        context = self.up(middle + functional.interpolate(wide, scale_factor=2.0))
        features = self.last(fine + functional.interpolate(context, scale_factor=2.0))
        said = self.head(features)
        many = [torch.sigmoid(said[:, :1] - sure).mean(dim=(2, 3)) for sure in SURE]
        bright = (steps - BRIGHTEST / 2).clamp(0, 1).mean(dim=(2, 3))
        shares = torch.log(torch.cat([*many, bright], dim=1) + LEAST_SHARE)
        return said, features, torch.cat([wide.mean(dim=(2, 3)), 0.2 * shares], dim=1)


class Judge(nn.Module):
    """What is known of each candidate [batch, candidates, SEEN] -> logit, row and column offset [..., 3]."""

    SEEN = 3 * PATCH_PX**2 + CHANNELS + Finder.WHOLE + 4

    def __init__(self) -> None:
        super().__init__()
        widths = (self.SEEN, 128, 64)
        layers = [(nn.Linear(one, other), nn.ReLU(), nn.Dropout(DROPPED)) for one, other in pairwise(widths)]
        self.body = nn.Sequential(*(part for layer in layers for part in layer), nn.Linear(widths[-1], 3))

    def forward(self, seen: Tensor) -> Tensor:
        return self.body(seen)


class PeakNet(nn.Module):
    """Both; what is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.finder = Finder()
        self.judge = Judge()


def candidates(said: Tensor, frame: Frame, most: int = MOST_PEAKS) -> Candidates:
    """The `most` cells of which the finder is surest, and the pixels it names."""
    # A frame may have fewer cells than there are candidates; what is nowhere points to the first cell.
    listed = (said[:, :1] + NOWHERE * (frame.good < CELL_PX).to(torch.float32)).flatten(1)
    logit, cell = torch.topk(functional.pad(listed, (0, most), value=NOWHERE), most, dim=1)
    cell = cell * (logit > NOWHERE / 2).to(torch.int64)
    width = said.shape[3]
    down = torch.div(cell, width, rounding_mode="trunc")
    places = []
    for at, offset, length in zip(
        (down, cell - down * width), (said[:, 1], said[:, 2]), frame.raw.shape[2:], strict=True
    ):
        there = CELL_PX * at.to(torch.float32) + MIDDLE_PX + torch.gather(offset.flatten(1), 1, cell)
        places.append(torch.floor(there + 0.5).clamp(min=0, max=length - 1).to(torch.int64))
    return Candidates(logit, cell, *places)


def patches(frame: Frame, found: Candidates, sentinel: Tensor) -> Patches:
    """The pixels around the candidates, without hot ones."""
    step = torch.arange(PATCH_PX) - HALF
    lines: list[Tensor] = []
    beyond: list[Tensor] = []
    for middle, length in zip((found.row, found.column), frame.raw.shape[2:], strict=True):
        place = middle[:, :, None] + step
        lines.append(place.clamp(min=0, max=length - 1))
        beyond.append((place - lines[-1]).abs().to(torch.float32) * FLAGGED)
    index = lines[0][:, :, :, None] * frame.raw.shape[3] + lines[1][:, :, None, :]
    raw = torch.gather(frame.raw.flatten(1), 1, index.flatten(1)).reshape(-1, 1, PATCH_PX, PATCH_PX)
    raw = raw + (beyond[0][:, :, :, None] + beyond[1][:, :, None, :]).reshape(-1, 1, PATCH_PX, PATCH_PX)
    good = (sentinel - raw).clamp(0, 1)
    counts = raw * good
    limit = _mean(counts) * (9 * HOT_RATIO / (1 + HOT_RATIO)) + HOT_COUNTS / (1 + HOT_RATIO)
    good = good * (counts <= limit).to(torch.float32)
    seen = counts * good
    mean = seen.mean(dim=(2, 3), keepdim=True) / good.mean(dim=(2, 3), keepdim=True).clamp(min=1e-3)
    # Where nothing good is beside, the mean of the patch must do.
    fill = (_mean(seen) + FAINT * mean) / (_mean(good) + FAINT)
    shape = (-1, found.row.shape[1], PATCH_PX * PATCH_PX)
    return Patches((seen + (1 - good) * fill).reshape(shape), good.reshape(shape))


def known(frame: Frame, found: Candidates, around: Patches, features: Tensor, whole: Tensor) -> Tensor:
    """What the judge sees of each candidate [batch, candidates, Judge.SEEN]."""
    level, noise = (torch.gather(image.flatten(1), 1, found.cell)[:, :, None] for image in (frame.level, frame.noise))
    background = ((level.square() - ANSCOMBE) / BLOCK_PX**2).clamp(min=0)
    above = (torch.sqrt(around.counts + ANSCOMBE) - torch.sqrt(background + ANSCOMBE)) / noise
    top = (around.counts - background).amax(dim=2, keepdim=True).clamp(min=1)
    place = found.cell[:, None].expand(-1, CHANNELS, -1)
    count = found.cell.shape[1]
    return torch.cat(
        [
            above / (1 + above.abs() / BRIGHTEST) / 3,
            ((around.counts - background) / top).clamp(min=-1),
            around.good,
            torch.gather(features.flatten(2), 2, place).transpose(1, 2),
            whole[:, None].expand(-1, count, -1),
            torch.log(noise),
            0.2 * torch.log(background + 0.01),
            0.2 * torch.log(top),
            0.2 * found.logit[:, :, None].clamp(-20, 20),
        ],
        dim=2,
    )


def _cells(image: Tensor) -> Tensor:
    return functional.avg_pool2d(image, CELL_BLOCKS) * float(CELL_BLOCKS**2)


def _mean(image: Tensor) -> Tensor:
    return functional.avg_pool2d(image, 3, 1, 1, count_include_pad=False)


def _wide(cells: Tensor) -> Tensor:
    return functional.avg_pool2d(cells, WIDE_CELLS, 1, WIDE_CELLS // 2, count_include_pad=False)


def _spread(cells: Tensor) -> Tensor:
    return functional.interpolate(cells, scale_factor=float(CELL_BLOCKS))


def _apart(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    """A convolution of each channel by itself, then one across channels: a fraction of the work of both at once."""
    return nn.Sequential(
        nn.Conv2d(inside, inside, 3, stride, 1, groups=inside), nn.Conv2d(inside, outside, 1), nn.ReLU()
    )
