# pyright: reportMissingImports=false
"""From a detector's bytes to counts one may compute with: the front of the graphs for frames of any size."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.models.spec import SENTINELS

HOT_RATIO, HOT_COUNTS = 5.0, 12.0
"""A pixel above `HOT_RATIO` x its brightest neighbour + `HOT_COUNTS` is hot: no spot of a deviation of 0.7 pixels or
more is as sharp as that."""

WIDE_PX = 21
ANSCOMBE = 3 / 8


class Pixels(NamedTuple):
    """Tensors [batch, 1, height, width]."""

    counts: Tensor  # bad pixels filled with the mean of the good ones around
    good: Tensor  # 1 or 0


class Served(nn.Module):
    """A whole graph: bytes uint8 [batch, height, width, itemsize] -> `Pixels` -> what `head` makes of them.

    TensorRT takes no 16- or 32-bit unsigned input, hence bytes. The products with powers of 256 and their sum are
    exact in float32 below 2**24. `byte_weights` and `sentinel_from` are named here: variants for other item sizes
    replace them.
    """

    byte_weights: Tensor
    sentinel_from: Tensor

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("byte_weights", torch.tensor([1.0, 256.0]))
        self.register_buffer("sentinel_from", torch.tensor(SENTINELS[2]))

    def forward(self, frame: Tensor) -> Tensor | tuple[Tensor, ...]:
        # Cast before anything else: TensorRT knows uint8 as an input, not as something to compute with.
        counts = (frame.to(torch.float32) * self.byte_weights).sum(dim=3)[:, None]
        return self.head(cleaned(counts, (counts < self.sentinel_from).to(torch.float32)))


def cleaned(counts: Tensor, good: Tensor) -> Pixels:
    """Takes hot pixels from the good ones and fills what is not good; tensors [batch, 1, height, width]."""
    counts = counts * good
    good = good * (counts <= HOT_RATIO * brightest_neighbour(counts) + HOT_COUNTS).to(torch.float32)
    seen = counts * good
    near_sum, near = box_sum(seen, 3), box_sum(good, 3)
    wide = box_sum(seen, WIDE_PX) / box_sum(good, WIDE_PX).clamp(min=1)
    few = (near < 1.5).to(torch.float32)
    fill = few * wide + (1 - few) * near_sum / near.clamp(min=1)
    return Pixels(seen + (1 - good) * fill, good)


def brightest_neighbour(image: Tensor) -> Tensor:
    """Largest of the eight values around each pixel of images [batch, 1, height, width] that are not negative."""
    columns = functional.max_pool2d(image, (3, 1), 1, (1, 0))
    beside = torch.maximum(functional.pad(columns, (1, 0))[..., :-1], functional.pad(columns, (0, 1))[..., 1:])
    above, below = functional.pad(image, (0, 0, 1, 0))[..., :-1, :], functional.pad(image, (0, 0, 0, 1))[..., 1:, :]
    return torch.maximum(beside, torch.maximum(above, below))


def box_sum(image: Tensor, size: int) -> Tensor:
    """Sum over `size` x `size` pixels around each; there is nothing beyond the border."""
    half = size // 2
    along = functional.avg_pool2d(image, (size, 1), 1, (half, 0))
    return functional.avg_pool2d(along, (1, size), 1, (0, half)) * float(size * size)


def stabilised(counts: Tensor) -> Tensor:
    """Twice the root of counts (Anscombe, Biometrika 35, 246, 1948): Poisson noise of about one."""
    return 2 * torch.sqrt(counts + ANSCOMBE)


def trunk(inside: int, width: int, layers: int, outside: int) -> nn.Sequential:
    """Convolutions at half the resolution: [batch, inside, height, width] -> [batch, outside, ...], each side of odd
    length rounded up to an even one. The uneven border aligns both resolutions at any size."""
    parts: list[nn.Module] = [nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(inside, width, 4, 2), nn.ReLU(inplace=True)]
    for _ in range(layers):
        parts += [nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts, nn.Conv2d(width, 4 * outside, 1), nn.PixelShuffle(2))
