"""What is asked of the inference server and what comes back: plain data, no network library.

The serving loop depends on this module alone, so its tests hand in any object with a `submit` method.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

FRAME = "frame"
"""Name of every model's only input, UINT8 [batch, height, width, itemsize]."""

ErrorKind = Literal["unavailable", "overloaded", "model_missing", "bad_request", "failed"]
"""What to do about an error.

unavailable: the server is dead, draining or closed to us: retry after the next `ServerReady`.
overloaded: queue full, queue timeout or our own last-resort timeout: retry later, or drop.
model_missing: no such model is loaded. bad_request: shape, dtype or region is wrong, a retry is useless.
failed: the model itself raised.
"""


class InferenceError(RuntimeError):
    """A call to the server failed. The text is one line.

    `settled` is True when the server answered, so that it no longer touches the request's memory. False
    means unknown (cancelled, timed out, connection lost): spans stay in quarantine until that server is gone.
    """

    def __init__(self, kind: ErrorKind, text: str, settled: bool = True) -> None:
        super().__init__(" ".join(text.split()))
        self.kind: ErrorKind = kind
        self.settled = settled


@dataclass(frozen=True, slots=True)
class Span:
    """`nbytes` bytes from byte `offset` of a registered shared-memory region."""

    region: str
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Request:
    """One batch for one model.

    `shape` is (batch, height, width, itemsize). `frame` is where those bytes are: a span, or a C-contiguous
    uint8 array of that shape, which is copied into the message before `submit` returns. `outputs` maps every
    wanted output to the span it shall be written to, or names the outputs that shall come back in the message.
    """

    request_id: int | str
    model: str
    shape: tuple[int, int, int, int]
    frame: Span | np.ndarray
    outputs: Mapping[str, Span] | tuple[str, ...]

    def check(self) -> None:
        """Raise ValueError where the request contradicts itself: a mistake of the caller, not of the server."""
        if min(self.shape) < 1:
            raise ValueError(f"request {self.request_id}: shape {self.shape} has an empty axis")
        if isinstance(self.frame, Span):
            expected = math.prod(self.shape)
            if self.frame.nbytes != expected:
                raise ValueError(f"request {self.request_id}: span of {self.frame.nbytes} bytes for {expected}")
        elif self.frame.dtype != np.uint8 or self.frame.shape != self.shape or not self.frame.flags.c_contiguous:
            found = f"{self.frame.dtype} {self.frame.shape}"
            raise ValueError(f"request {self.request_id}: frame is {found}, not contiguous uint8 {self.shape}")


@dataclass(frozen=True, slots=True)
class Completion:
    """How a request ended.

    `outputs` holds the outputs that came back in the message, read-only arrays [batch, ...] that keep their
    message alive; it is None after an error and where the outputs went to spans. `shapes` are the shapes of
    all outputs as the server states them, empty after an error. `settled` as in `InferenceError`.
    """

    request_id: int | str
    error: InferenceError | None
    outputs: Mapping[str, np.ndarray] | None
    shapes: Mapping[str, tuple[int, ...]]
    settled: bool = True


class Submitter(Protocol):
    """Takes requests and reports each exactly once."""

    def submit(self, request: Request, on_done: Callable[[Completion], None]) -> None:
        """Send `request` and return at once; `on_done` is called exactly once, usually on another thread.

        Where the request could not be sent at all, `on_done` is called before `submit` returns. It must only
        hand over and return. Raises ValueError for a request that contradicts itself, and nothing else.
        """
        ...

    def doubt(self, reason: str) -> None:
        """A model answered that it failed, or nonsense: ask its canary again. Returns at once.

        What comes of it is told by an event: `ServerChecked`, or `ServerLost` and then `ServerReady`.
        """
        ...
