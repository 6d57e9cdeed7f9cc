"""Memory that requests in flight write their outputs to, cut into blocks of one size: one block a request.

What an output of a frame takes may depend on the frame's size (`ANY` in its shape), and frames of another size may
come with the next series. So blocks are of a fixed size, and how many frames share one depends on their size.
"""

from collections.abc import Mapping

import numpy as np

from edge.inference.requests import Span
from edge.models.spec import ANY, ModelSpec
from edge.pipeline.slots import Memory

ALIGNMENT = 64


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
        most = self._spec.max_batch
        while most and outputs_nbytes(self._spec, frame_shape, most) > self._nbytes:
            most -= 1
        return most

    def spans(self, block: int, frame_shape: tuple[int, int], frames: int) -> dict[str, Span]:
        """Where in `block` each output of a batch of `frames` goes, by name."""
        spans, offset = {}, block * self._nbytes
        for output, nbytes in zip(self._spec.outputs, _frame_nbytes(self._spec, frame_shape), strict=True):
            spans[output.name] = Span(self._memory.name, offset, nbytes * frames)
            offset += _aligned(nbytes * frames)
        return spans

    def read(self, block: int, frame_shape: tuple[int, int], frames: int) -> Mapping[str, np.ndarray]:
        """Outputs by name, [frames, ...], in memory of their own."""
        read = {}
        for output, span in zip(self._spec.outputs, self.spans(block, frame_shape, frames).values(), strict=True):
            raw = self._memory.view[span.offset : span.offset + span.nbytes]
            read[output.name] = raw.view(output.dtype).reshape(frames, *output.shape_for(frame_shape)).copy()
        return read


def outputs_nbytes(spec: ModelSpec, frame_shape: tuple[int, int], frames: int) -> int:
    """Bytes that the outputs of a batch of `frames` frames of (height, width) take, each output aligned."""
    return sum(_aligned(nbytes * frames) for nbytes in _frame_nbytes(spec, frame_shape))


def depends_on_frame(spec: ModelSpec) -> bool:
    """Whether an output is larger for larger frames."""
    return any(ANY in output.shape for output in spec.outputs)


def _frame_nbytes(spec: ModelSpec, frame_shape: tuple[int, int]) -> list[int]:
    return [int(np.prod(output.shape_for(frame_shape))) * np.dtype(output.dtype).itemsize for output in spec.outputs]


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
