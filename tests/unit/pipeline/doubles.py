"""Stand-ins for the shared memory and the server, for tests of the loop's parts without either."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from edge.inference.requests import Completion, InferenceError, Request, Span
from edge.models.spec import ANY, ModelSpec, TensorSpec

SPEC = ModelSpec(
    name="sum",
    frame_shape=(ANY, ANY),
    outputs=(TensorSpec("total", "int32", (1,), "1"), TensorSpec("first", "float32", (2, 2), "1")),
    max_batch=4,
)


@dataclass
class HeapMemory:
    """Memory of this process in place of a shared-memory region."""

    name: str
    nbytes: int
    view: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.view = np.zeros(self.nbytes, np.uint8)


class SumServer:
    """Answers `SPEC` when told to: the sum of all bytes, and the first byte four times."""

    def __init__(self, *memories: HeapMemory) -> None:
        self.memories = {memory.name: memory for memory in memories}
        self.doubts: list[str] = []
        self.asked: list[tuple[Request, Callable[[Completion], None]]] = []

    def submit(self, request: Request, on_done: Callable[[Completion], None]) -> None:
        request.check()
        self.asked.append((request, on_done))

    def doubt(self, reason: str) -> None:
        self.doubts.append(reason)

    def answer(self, at: int = 0) -> None:
        """Answer the request at position `at` rightly."""
        request, on_done = self.asked.pop(at)
        frames = self._bytes(request.frame).reshape(request.shape)
        values = {
            "total": frames.reshape(len(frames), -1).sum(1, dtype=np.int32)[:, None],
            "first": np.tile(frames[:, :1, :1, 0], (1, 2, 2)).astype(np.float32),
        }
        shapes = {name: value.shape for name, value in values.items()}
        if isinstance(request.outputs, tuple):
            on_done(Completion(request.request_id, None, values, shapes))
            return
        for name, span in request.outputs.items():
            self._bytes(span)[:] = values[name].reshape(-1).view(np.uint8)
        on_done(Completion(request.request_id, None, None, shapes))

    def fail(self, kind, at: int = 0, settled: bool = True) -> None:
        """Answer the request at position `at` with an error."""
        request, on_done = self.asked.pop(at)
        on_done(Completion(request.request_id, InferenceError(kind, "told to", settled), None, {}, settled))

    def _bytes(self, what: Span | np.ndarray) -> np.ndarray:
        if isinstance(what, np.ndarray):
            return what
        return self.memories[what.region].view[what.offset : what.offset + what.nbytes]
