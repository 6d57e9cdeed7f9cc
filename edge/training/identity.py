"""Builds the graph of `identity`, which has nothing to train."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.models.identity import MODULUS, SPEC

OPSET = 17
IR_VERSION = 8  # the oldest that this opset needs: any runtime of the last years reads it


def identity_graph(itemsize: int = 2) -> onnx.ModelProto:
    """The ONNX model for frames of `itemsize` bytes: UINT8 [batch, height, width, itemsize] -> int32 [batch, 2].

    Weights of the positions come from cumulative sums of ones, so that one graph serves every frame size.
    """
    constants = {
        "flat_shape": [0, 0, -1],
        "axis_height": [1],
        "axis_width": [2],
        "axis_last": [1],
        "modulus": [MODULUS],
    }
    nodes = [
        # TensorRT takes bytes as an input and for a cast, and for nothing else.
        helper.make_node("Cast", ["frame"], ["bytes"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["bytes", "flat_shape"], ["values"]),
        *_weighted("rows", "axis_width"),
        *_weighted("columns", "axis_height"),
        helper.make_node("Concat", ["rows_checksum", "columns_checksum"], ["checksum_64"], axis=1),
        helper.make_node("Cast", ["checksum_64"], ["checksum"], to=TensorProto.INT32),
    ]
    graph = helper.make_graph(
        nodes,
        SPEC.name,
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, ["batch", "height", "width", itemsize])],
        [helper.make_tensor_value_info("checksum", TensorProto.INT32, ["batch", 2])],
        [
            *(numpy_helper.from_array(np.array(value, dtype=np.int64), name) for name, value in constants.items()),
            numpy_helper.from_array(np.array(1, dtype=np.int64), "cumsum_axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def _weighted(name: str, axis: str) -> list[onnx.NodeProto]:
    """Sums of `values` along `axis`, each times its index from one, added up modulo p: int64 [batch, 1]."""
    return [
        helper.make_node("ReduceSum", ["values", axis], [f"{name}_sums"], keepdims=0),
        helper.make_node("Cast", [f"{name}_sums"], [f"{name}_exact"], to=TensorProto.INT64),
        helper.make_node("Shape", [f"{name}_exact"], [f"{name}_shape"]),
        helper.make_node(
            "ConstantOfShape",
            [f"{name}_shape"],
            [f"{name}_ones"],
            value=helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        ),
        helper.make_node("CumSum", [f"{name}_ones", "cumsum_axis"], [f"{name}_index"]),
        helper.make_node("Mul", [f"{name}_exact", f"{name}_index"], [f"{name}_products"]),
        helper.make_node("ReduceSum", [f"{name}_products", "axis_last"], [f"{name}_total"], keepdims=1),
        helper.make_node("Mod", [f"{name}_total", "modulus"], [f"{name}_checksum"]),
    ]
