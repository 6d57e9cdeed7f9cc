# pyright: reportMissingImports=false
"""The network behind `bragg`, and the graph around it."""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.models.bragg import FLAT_FROM, PATCH_PX
from edge.models.spec import SENTINELS
from edge.physics.patches import WAYS
from edge.training.pixels import Pixels, box_sum, cleaned

MIDDLE = PATCH_PX // 2
SEEN = 7
"""Channels of what the network looks at."""

WIDTH, LAYERS, BRANCH = 16, 4, 8
TOLD = 6
"""Numbers a patch: corrections down and right; logarithms of their deviations, the intensity's, and what is hidden."""

SCALE_PX = 7
"""Side of the square in the middle whose brightest pixel is the unit of brightness."""

LEAST_LOG, MOST_LOG = -4.0, 6.0
LEAST_WEIGHT = 0.1
WIDEST_SHARE = 0.4
FLAT_PIXELS = 2.5
STANDS_OUT = 3.0
"""Deviations of what is not the spot's, from which a pixel is counted among the spot's."""


class Read(NamedTuple):
    """What the network makes of patches; tensors with a first axis of the batch."""

    logits: Tensor  # [batch, 3, 11, 11] of the shares of the light: spot, neighbours, background
    offset: Tensor  # [batch, 2] of the centre from the patch's middle, pixels
    offset_sigma: Tensor  # [batch, 2]
    intensity: Tensor  # [batch]
    intensity_sigma: Tensor  # [batch]


class BraggNet(nn.Module):
    """`Pixels` [batch, 1, 11, 11] -> `Read`.

    After BraggNN (Liu et al., IUCrJ 9, 104, 2022) in its size and its head of 64, 32, 16, 8. Other than there the
    target is the offset from the patch's middle, and each pixel's light is shared out, so that the intensity is a sum
    of counts: it has their statistics, and no memory of intensities learned.
    """

    sigma_scale: Tensor  # [2]: what the deviations of places and of intensities are multiplied with
    excess: Tensor  # scalar: by how many squares of its relative sigma an intensity is too large in the mean

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sigma_scale", torch.ones(2))
        self.register_buffer("excess", torch.zeros(()))
        parts: list[nn.Module] = []
        for inside in (SEEN, *[WIDTH] * (LAYERS - 1)):
            parts += [nn.Conv2d(inside, WIDTH, 3, 1, 1), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*parts)
        self.ways = nn.Conv2d(WIDTH, WAYS + 1, 1)
        self.branch = nn.Conv2d(WIDTH, BRANCH, 1)
        sizes = (BRANCH * SCALE_PX**2, 64, 32, 16, 8)
        head: list[nn.Module] = []
        for inside, outside in pairwise(sizes):
            head += [nn.Linear(inside, outside), nn.LeakyReLU(0.1)]
        self.head = nn.Sequential(*head, nn.Linear(sizes[-1], TOLD))

    def forward(self, pixels: Pixels) -> Read:
        return self.read(pixels, *self.numbers(self.body(features(pixels))))

    def numbers(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [batch, 4, 11, 11] of the shares' logits and of the say in the centre, and the `TOLD` numbers.

        `maps` is what the body makes of the features."""
        low = (PATCH_PX - SCALE_PX) // 2
        middle = functional.relu(self.branch(maps)[:, :, low : low + SCALE_PX, low : low + SCALE_PX])
        return self.ways(maps), self.head(middle.flatten(1))

    def read(self, pixels: Pixels, maps: Tensor, told: Tensor) -> Read:
        """The same from the network's plain numbers."""
        logits, say = maps[:, :WAYS], torch.sigmoid(maps[:, WAYS:])
        seen = pixels.counts * pixels.good
        own = (torch.softmax(logits, dim=1)[:, :1] * seen).sum(dim=(1, 2, 3))
        heavy = say * seen
        weight = (heavy.sum(dim=(1, 2, 3)) + LEAST_WEIGHT)[:, None]
        places = torch.arange(PATCH_PX, dtype=torch.float32) - MIDDLE
        mass = torch.stack([heavy.sum(dim=(1, 3)) @ places, heavy.sum(dim=(1, 2)) @ places], dim=1) / weight
        error = torch.exp(told[:, 2:5].clamp(LEAST_LOG, MOST_LOG))
        bright = own * torch.exp(told[:, 5].clamp(LEAST_LOG, MOST_LOG))
        bright_sigma = error[:, 2] * torch.sqrt(own + 1)
        # The most likely mean of a wide range; errors being the shares that they are, too much outweighs too little.
        relative = (bright_sigma / (bright + 1)).clamp(max=WIDEST_SHARE)
        return Read(
            logits,
            # A centre of mass, whose weights the network chooses, and what it lacks then.
            mass + told[:, :2],
            # A spot of N photons is known to a width over the root of N; the network tells the factor.
            self.sigma_scale[0] * error[:, :2] / torch.sqrt(own + 1)[:, None],
            bright / (1 + self.excess * relative.square()),
            self.sigma_scale[1] * bright_sigma,
        )


def features(pixels: Pixels) -> Tensor:
    """What the network looks at [batch, 7, 11, 11]: brightness, its root, the counts' logarithm, good, not zero, and,
    the same everywhere, the roots of the brightness at the border and where it is darkest."""
    low = (PATCH_PX - SCALE_PX) // 2
    middle = pixels.counts[:, :, low : low + SCALE_PX, low : low + SCALE_PX]
    top = functional.max_pool2d(middle, SCALE_PX).clamp(min=1)
    bright = (pixels.counts / top).clamp(max=3)
    some = (pixels.counts > 0.5).to(torch.float32)
    inner = functional.avg_pool2d(bright[:, :, 1:-1, 1:-1], PATCH_PX - 2)
    border = functional.avg_pool2d(bright, PATCH_PX) * PATCH_PX**2 - inner * (PATCH_PX - 2) ** 2
    border = border / (4.0 * (PATCH_PX - 1))
    darkest = -functional.max_pool2d(-functional.avg_pool2d(bright, 3, 1), PATCH_PX - 2)
    everywhere = torch.cat([border, darkest], dim=1).clamp(min=0)
    return torch.cat(
        [
            bright,
            torch.sqrt(bright),
            0.2 * torch.log(pixels.counts + 1),
            pixels.good,
            some,
            torch.sqrt(everywhere) * torch.ones_like(bright),
        ],
        dim=1,
    )


class BraggGraph(nn.Module):
    """The whole graph: bytes uint8 [batch, 11, 11, itemsize] -> the outputs of `edge.models.bragg.SPEC`.

    TensorRT takes no 16- or 32-bit unsigned input, hence bytes. `byte_weights` and `sentinel_from` are named here:
    variants for other item sizes replace them.
    """

    byte_weights: Tensor
    sentinel_from: Tensor

    def __init__(self, net: BraggNet) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("byte_weights", torch.tensor([1.0, 256.0]))
        self.register_buffer("sentinel_from", torch.tensor(SENTINELS[2]))

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        counts = (frame.to(torch.float32) * self.byte_weights).sum(dim=3)[:, None]
        counted = (counts < self.sentinel_from).to(torch.float32)
        pixels = cleaned(counts, counted)
        read = self.net(pixels)
        seen = pixels.counts * pixels.good
        shares = torch.softmax(read.logits, dim=1)
        # Where nearly all is background its share is known best.
        clear = shares[:, 2:].pow(4) * pixels.good
        level = (clear * shares[:, 2:] * seen).sum(dim=(1, 2, 3)) / clear.sum(dim=(1, 2, 3)).clamp(min=1e-6)
        own = shares[:, :1] * seen
        stands_out = (own > STANDS_OUT * torch.sqrt(seen - own + 1)).to(torch.float32)
        columns = (
            read.offset[:, 0] + MIDDLE,
            read.offset[:, 1] + MIDDLE,
            read.offset_sigma[:, 0],
            read.offset_sigma[:, 1],
            read.intensity,
            read.intensity_sigma,
            level,
            stands_out.sum(dim=(1, 2, 3)).to(torch.int32),
            saturated(counts, counted, pixels.good, self.sentinel_from).to(torch.int32),
        )
        return tuple(column[:, None] for column in columns)


def saturated(counts: Tensor, counted: Tensor, good: Tensor, sentinel_from: Tensor) -> Tensor:
    """1 or 0 [batch] where the brightest pixels of the middle are not what came in; `edge.models.bragg` says when.

    `counts`, `counted` (1: no flag), `good` (no flag, not hot) are [batch, 1, 11, 11].
    """
    low = (PATCH_PX - SCALE_PX) // 2
    inner = slice(low, low + SCALE_PX)
    known = (counts * good)[:, :, inner, inner]
    top = functional.max_pool2d(known, SCALE_PX)
    brightest = (known >= top).to(torch.float32) * good[:, :, inner, inner] * (top > 0.5).to(torch.float32)
    around = functional.max_pool2d(brightest, 3, 1, 1)
    missing = (around * (1 - counted)[:, :, inner, inner]).amax(dim=(1, 2, 3))
    full = (top >= sentinel_from - 1).to(torch.float32).amax(dim=(1, 2, 3))
    together = (box_sum(brightest, 3) * brightest).amax(dim=(1, 2, 3))
    flat = (together > FLAT_PIXELS).to(torch.float32) * (top >= FLAT_FROM).to(torch.float32).amax(dim=(1, 2, 3))
    return torch.maximum(missing, torch.maximum(full, flat))
