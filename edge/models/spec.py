"""What a served model is: the one description from which every server configuration is generated."""

from collections.abc import Mapping
from dataclasses import dataclass

ANY = -1
"""A dimension that each series chooses (Triton writes it as -1)."""

BYTE_WEIGHTS = "byte_weights"
"""Initializer of the graph, float32 [itemsize]: 256**k, joins little-endian bytes to counts."""

SENTINEL_FROM = "sentinel_from"
"""Initializer of the graph, float32 scalar: counts at or above it are flags, not photons."""

SENTINELS = {1: 254.0, 2: 65534.0, 4: 2147483648.0}
"""First flag value by item size. DECTRIS marks gaps with 2**N - 1 and bad pixels with 2**N - 2; the
32-bit limit also covers the negative flags of int32 files (Pilatus -1, -2), whose bytes are the same."""


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of one frame, without the batch axis."""

    name: str
    dtype: str  # numpy name: "float32", "int32"
    shape: tuple[int, ...]  # ANY: the frame's height and, the second time, its width
    units: str  # "rad", "1" for a bare number

    def shape_for(self, frame_shape: tuple[int, int]) -> tuple[int, ...]:
        """The shape for a frame of (height, width)."""
        lengths = iter(frame_shape)
        return tuple(next(lengths) if length == ANY else length for length in self.shape)


@dataclass(frozen=True)
class ModelSpec:
    """A named entry of `model_repo`.

    The graph's input is called `frame`: UINT8 [batch, height, width, itemsize], the slot's own bytes,
    little-endian. One variant of the graph is generated per item size; the variants differ in nothing
    but the last axis of `frame` and the two initializers named above.
    """

    name: str
    frame_shape: tuple[int, int]  # (height, width) of the detector image; ANY where the series chooses
    outputs: tuple[TensorSpec, ...]
    max_batch: int
    itemsizes: tuple[int, ...] = (1, 2, 4)

    def variant(self, itemsize: int) -> str:
        """Name of the Triton model that takes frames of `itemsize` bytes a pixel, e.g. `ptycho_u16`."""
        if itemsize not in self.itemsizes:
            raise ValueError(f"{self.name} takes {self.itemsizes} bytes a pixel, not {itemsize}")
        return f"{self.name}_u{8 * itemsize}"


def scalars(spec: ModelSpec) -> Mapping[str, int | None]:
    """The single numbers in what a model answers for one frame: by output, how many; None: it is one number.

    Maps and images offer none, and neither does what grows with the frame: nobody decides by one pixel of them.
    """
    offered: dict[str, int | None] = {}
    for output in spec.outputs:
        if output.shape in ((), (1,)):
            offered[output.name] = None
        elif len(output.shape) == 1 and output.shape[0] != ANY:
            offered[output.name] = output.shape[0]
    return offered
