"""Memory that requests in flight write their outputs to, cut into blocks of one size: one block a request.

What an output of a frame takes may depend on the frame's size (`ANY` in its shape), and frames of another size may
come with the next series. So blocks are of a fixed size, and how many frames share one depends on their size.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from edge.inference.requests import Span
from edge.models.spec import ANY, ModelSpec
from edge.pipeline.slots import Memory

ALIGNMENT = 64

REMEMBERED = 16
"""Frame sizes whose layout is kept."""


class _Output(NamedTuple):
    """Of one frame."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    nbytes: int


class _Layout(NamedTuple):
    """How the outputs of frames of one size share a block."""

    outputs: list[_Output]
    capacity: int  # frames


class OutputBlocks:
    """The blocks of one route.

    Args:
        memory: all of them.
        spec: whose outputs.
        count: how many blocks.
    """

    def __init__(self, memory: Memory, spec: ModelSpec, count: int) -> None:
        self._memory = memory
        self._spec = spec
        self._nbytes = memory.nbytes // count // ALIGNMENT * ALIGNMENT
        self._free = list(range(count))
        self._laid_out: dict[tuple[int, int], _Layout] = {}

    @property
    def free(self) -> int:
        """Blocks that no request may write to."""
        return len(self._free)

    def take(self) -> int:
        """A free block."""
        return self._free.pop()

    def give_back(self, block: int) -> None:
        """Nobody writes to `block` any more."""
        self._free.append(block)

    def capacity(self, frame_shape: tuple[int, int]) -> int:
        """How many frames of (height, width) one request may hold; 0 where not even one's outputs fit a block."""
        return self._layout(frame_shape).capacity

    def spans(self, block: int, frame_shape: tuple[int, int], frames: int) -> dict[str, Span]:
        """Where in `block` each output of a batch of `frames` goes, by name."""
        spans, offset = {}, block * self._nbytes
        for output in self._layout(frame_shape).outputs:
            spans[output.name] = Span(self._memory.name, offset, output.nbytes * frames)
            offset += _aligned(output.nbytes * frames)
        return spans

    def read(self, block: int, frame_shape: tuple[int, int], frames: int) -> Mapping[str, np.ndarray]:
        """Outputs by name, [frames, ...], in memory of their own."""
        read, offset = {}, block * self._nbytes
        for output in self._layout(frame_shape).outputs:
            raw = self._memory.view[offset : offset + output.nbytes * frames]
            read[output.name] = raw.view(output.dtype).reshape(frames, *output.shape).copy()
            offset += _aligned(output.nbytes * frames)
        return read

    def _layout(self, frame_shape: tuple[int, int]) -> _Layout:
        """What is asked for several times a batch; series of many sizes share the last few."""
        layout = self._laid_out.get(frame_shape)
        if layout is None:
            capacity = self._spec.max_batch
            while capacity and outputs_nbytes(self._spec, frame_shape, capacity) > self._nbytes:
                capacity -= 1
            layout = _Layout(_outputs(self._spec, frame_shape), capacity)
            if len(self._laid_out) >= REMEMBERED:
                self._laid_out.clear()
            self._laid_out[frame_shape] = layout
        return layout


def outputs_nbytes(spec: ModelSpec, frame_shape: tuple[int, int], frames: int) -> int:
    """Bytes that the outputs of a batch of `frames` frames of (height, width) take, each output aligned."""
    return sum(_aligned(output.nbytes * frames) for output in _outputs(spec, frame_shape))


def depends_on_frame(spec: ModelSpec) -> bool:
    """Whether an output is larger for larger frames."""
    return any(ANY in output.shape for output in spec.outputs)


def _outputs(spec: ModelSpec, frame_shape: tuple[int, int]) -> list[_Output]:
    outputs = []
    for output in spec.outputs:
        shape, dtype = output.shape_for(frame_shape), np.dtype(output.dtype)
        outputs.append(_Output(output.name, dtype, shape, math.prod(shape) * dtype.itemsize))
    return outputs


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
