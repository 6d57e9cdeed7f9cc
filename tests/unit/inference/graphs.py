"""Tiny models to serve in tests: the same byte-joining front as the shipped ones, nothing behind it."""

from pathlib import Path

import numpy as np
from onnx import GraphProto, TensorProto, checker, helper, numpy_helper

from edge.inference.canary import write_canary
from edge.models.spec import ANY, BYTE_WEIGHTS, SENTINEL_FROM, ModelSpec, TensorSpec

COUNTS = ModelSpec(
    name="counts",
    frame_shape=(ANY, ANY),
    outputs=(TensorSpec("counts", "float32", (ANY, ANY), "1"), TensorSpec("total", "float32", (1,), "1")),
    max_batch=8,
)
"""Joins bytes to counts, sets flags to zero, sums."""

ECHO = ModelSpec(
    name="echo",
    frame_shape=(ANY, ANY),
    outputs=(TensorSpec("bytes", "uint8", (ANY, ANY, ANY), "1"),),
    max_batch=8,
)
"""Gives back what it got; has neither weights nor a sentinel."""


def counts_graph(frame_shape: tuple[int | str, int | str] = ("height", "width")) -> bytes:
    """The u16 graph of COUNTS, serialized."""
    height, width = frame_shape
    nodes = [
        helper.make_node("Cast", ["frame"], ["bytes32"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["bytes32", BYTE_WEIGHTS], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "last_axis"], ["joined"], keepdims=0),
        helper.make_node("Less", ["joined", SENTINEL_FROM], ["is_photons"]),
        helper.make_node("Where", ["is_photons", "joined", "zero"], ["counts"]),
        helper.make_node("ReduceSum", ["counts", "image_axes"], ["sum"], keepdims=0),
        helper.make_node("Unsqueeze", ["sum", "last_axis_only"], ["total"]),
    ]
    constants = {
        BYTE_WEIGHTS: np.array([1, 256], np.float32),
        SENTINEL_FROM: np.array(65534, np.float32),
        "zero": np.array(0, np.float32),
        "last_axis": np.array([3], np.int64),
        "image_axes": np.array([1, 2], np.int64),
        "last_axis_only": np.array([1], np.int64),
    }
    frame = helper.make_tensor_value_info("frame", TensorProto.UINT8, ["batch", height, width, 2])
    outputs = [
        helper.make_tensor_value_info("counts", TensorProto.FLOAT, ["batch", height, width]),
        helper.make_tensor_value_info("total", TensorProto.FLOAT, ["batch", 1]),
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    noted = helper.make_tensor_value_info("bytes32", TensorProto.FLOAT, ["batch", height, width, 2])
    graph = helper.make_graph(nodes, "counts", [frame], outputs, initializers, value_info=[noted])
    return _serialize(graph)


def echo_graph() -> bytes:
    """The u16 graph of ECHO, serialized."""
    frame = helper.make_tensor_value_info("frame", TensorProto.UINT8, ["batch", "height", "width", 2])
    output = helper.make_tensor_value_info("bytes", TensorProto.UINT8, ["batch", "height", "width", "itemsize"])
    nodes = [helper.make_node("Identity", ["frame"], ["bytes"])]
    return _serialize(helper.make_graph(nodes, "echo", [frame], [output]))


def write_models(folder: Path) -> Path:
    """A model repository as it is shipped, with COUNTS and ECHO; returns `folder`."""
    rng = np.random.default_rng(7)
    frames = rng.integers(0, 250, (2, 6, 5), np.uint8)
    for spec, graph in ((COUNTS, counts_graph()), (ECHO, echo_graph())):
        version = folder / spec.name / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(graph)
        write_canary(version, spec, frames)
    return folder


def _serialize(graph: GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model, full_check=True)
    return model.SerializeToString()
