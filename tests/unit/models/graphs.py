"""Runs the shipped graphs as served: one variant per item size."""

from functools import cache

import numpy as np
import onnx
import onnxruntime

from edge.inference.repository import version_folder
from edge.inference.variants import variant


def shipped(name: str) -> bytes:
    return (version_folder(name) / "model.onnx").read_bytes()


@cache
def session(name: str, itemsize: int, *also: str) -> onnxruntime.InferenceSession:
    """The variant of a shipped graph, with further tensors `also` as outputs."""
    model = onnx.load_from_string(variant(shipped(name), itemsize))
    model.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in also)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def as_bytes(images: np.ndarray) -> np.ndarray:
    """Images [n, height, width] of unsigned integers as the graph's input."""
    little = np.ascontiguousarray(images, dtype=images.dtype.newbyteorder("<"))
    return little.view(np.uint8).reshape(*images.shape, images.dtype.itemsize)
