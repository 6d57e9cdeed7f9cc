"""Requests and answers in tritonclient's terms."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult

from edge.inference.requests import FRAME, Request, Span


def array_of(result: InferResult, name: str) -> np.ndarray:
    """The output `name` [batch, ...], a read-only view of the message; empty where the server sent none."""
    array = result.as_numpy(name)
    return np.empty(0, np.uint8) if array is None else array


def input_of(request: Request) -> InferInput:
    """Input tensor of `request`. Inline bytes are copied here."""
    if isinstance(request.frame, Span):
        return _placed_input(request.shape, request.frame)
    tensor = InferInput(FRAME, list(request.shape), "UINT8")
    tensor.set_data_from_numpy(request.frame)
    return tensor


def outputs_of(request: Request) -> list[InferRequestedOutput]:
    """The outputs that `request` wants, and where."""
    if isinstance(request.outputs, Mapping):
        return [_placed_output(name, span) for name, span in request.outputs.items()]
    return [InferRequestedOutput(name) for name in request.outputs]


# infer copies these into its message, so one object may serve many requests at a time.
@lru_cache(maxsize=256)
def _placed_input(shape: tuple[int, int, int, int], span: Span) -> InferInput:
    tensor = InferInput(FRAME, list(shape), "UINT8")
    tensor.set_shared_memory(span.region, span.nbytes, span.offset)
    return tensor


@lru_cache(maxsize=256)
def _placed_output(name: str, span: Span) -> InferRequestedOutput:
    output = InferRequestedOutput(name)
    output.set_shared_memory(span.region, span.nbytes, span.offset)
    return output
