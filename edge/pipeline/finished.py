"""What a model made of frames, ready for the wire: cut into frames once, for a whole batch."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from edge.pipeline.batching import Pending
from edge.pipeline.dispatch import RouteRunner
from streams.codecs.results import ArraySpec, contents, describe
from streams.messages import Part


class Finished(msgspec.Struct, gc=False):
    """What a model made of one frame."""

    runner: RouteRunner
    frame: Pending
    specs: tuple[ArraySpec, ...]
    contents: tuple[Part, ...]  # the bytes of each array; views of those of its whole batch, where they are large

    def alone(self) -> "Finished":
        """The same, in memory of its own."""
        return Finished(self.runner, self.frame, self.specs, tuple(map(bytes, self.contents)))

    @property
    def nbytes(self) -> int:
        """Of its arrays."""
        return sum(map(len, self.contents))


def finished(runner: RouteRunner, frames: Sequence[Pending], arrays: Mapping[str, np.ndarray]) -> list[Finished]:
    """The answer to one request; arrays by output name, [frames, ...], in the order of `frames`."""
    units = {output.name: output.units for output in runner.spec.outputs}
    specs = tuple(describe(name, array[0], units[name]) for name, array in arrays.items())
    by_frame = zip(*map(contents, arrays.values()), strict=True)
    return [Finished(runner, frame, specs, parts) for frame, parts in zip(frames, by_frame, strict=True)]
