"""What every shipped graph must keep to, so that TensorRT can build it too."""

import onnx
import pytest

from edge.models.registry import MODELS
from edge.models.spec import BYTE_WEIGHTS, SENTINEL_FROM
from tests.unit.models.graphs import shipped

UNSUPPORTED = {onnx.TensorProto.UINT16, onnx.TensorProto.INT16, onnx.TensorProto.UINT32, onnx.TensorProto.UINT64}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_bytes_are_cast_before_anything_else(name):
    """TensorRT takes uint8 as an input and in a cast, and for no other operator."""
    graph = onnx.load_from_string(shipped(name)).graph
    users = [node.op_type for node in graph.node if "frame" in node.input]
    assert users
    assert set(users) == {"Cast"}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_no_tensor_has_a_type_that_tensorrt_refuses(name):
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(shipped(name)))
    typed = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    assert typed
    for value in typed:
        assert value.type.tensor_type.elem_type not in UNSUPPORTED, value.name


def test_ptycho_has_the_initializers_by_which_variants_differ():
    graph = onnx.load_from_string(shipped("ptycho")).graph
    assert {BYTE_WEIGHTS, SENTINEL_FROM} <= {initializer.name for initializer in graph.initializer}


def test_all_weights_together_are_small():
    assert sum(len(shipped(name)) for name in MODELS) < 20e6
