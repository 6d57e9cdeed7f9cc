"""config.pbtxt: Triton's own parser reads it, and it agrees with the graph it stands for."""

from typing import Any

import onnx
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2 as pb

from edge.inference.model_config import DATA_TYPES, Platform, config_text
from edge.inference.variants import variant
from edge.models.spec import ANY, ModelSpec, TensorSpec
from tests.unit.inference.graphs import COUNTS, counts_graph

ONNX_TYPES: dict[int, str] = {onnx.TensorProto.UINT8: "TYPE_UINT8", onnx.TensorProto.FLOAT: "TYPE_FP32"}


def parse(text: str) -> Any:
    return text_format.Parse(text, pb.ModelConfig())  # pyright: ignore[reportAttributeAccessIssue]


def tensors(config: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
    name_of = pb.DataType.Name  # pyright: ignore[reportAttributeAccessIssue]
    return {each.name: (name_of(each.data_type), tuple(each.dims)) for each in (*config.input, *config.output)}


@pytest.mark.parametrize("itemsize", [1, 2, 4])
def test_both_platforms_and_the_graph_agree(itemsize: int) -> None:
    on_cpu = parse(config_text(COUNTS, itemsize, "python"))
    on_gpu = parse(config_text(COUNTS, itemsize, "tensorrt_plan"))
    graph = onnx.load_from_string(variant(counts_graph(), itemsize)).graph
    in_graph = {
        each.name: (
            ONNX_TYPES[each.type.tensor_type.elem_type],
            tuple(dim.dim_value or ANY for dim in each.type.tensor_type.shape.dim[1:]),
        )
        for each in (*graph.input, *graph.output)
    }
    assert tensors(on_cpu) == tensors(on_gpu) == in_graph
    assert on_cpu.name == on_gpu.name == f"counts_u{8 * itemsize}"
    assert on_cpu.max_batch_size == on_gpu.max_batch_size == COUNTS.max_batch


def test_platforms() -> None:
    on_cpu = parse(config_text(COUNTS, 2, "python", ort_threads=3))
    on_gpu = parse(config_text(COUNTS, 2, "tensorrt_plan"))
    assert (on_cpu.backend, on_cpu.instance_group[0].kind, on_cpu.instance_group[0].count) == ("python", 2, 1)
    assert on_cpu.parameters["ort_threads"].string_value == "3"
    assert (on_gpu.platform, on_gpu.default_model_filename) == ("tensorrt_plan", "model.plan")
    assert (on_gpu.instance_group[0].kind, on_gpu.instance_group[0].count) == (1, 1)


@given(
    shape=st.lists(st.one_of(st.just(ANY), st.integers(1, 4096)), min_size=1, max_size=4).map(tuple),
    dtype=st.sampled_from(sorted(DATA_TYPES)),
    itemsize=st.sampled_from([1, 2, 4]),
    platform=st.sampled_from(["python", "tensorrt_plan"]),
    max_batch=st.integers(1, 512),
)
def test_the_batcher_that_loses_wake_ups_is_never_there(
    shape: tuple[int, ...], dtype: str, itemsize: int, platform: Platform, max_batch: int
) -> None:
    spec = ModelSpec("any_name", (ANY, 64), (TensorSpec("out", dtype, shape, "1"),), max_batch)
    config = parse(config_text(spec, itemsize, platform))
    assert not config.HasField("dynamic_batching")
    assert tensors(config) == {"frame": ("TYPE_UINT8", (ANY, 64, itemsize)), "out": (DATA_TYPES[dtype], shape)}
    assert config.max_batch_size == max_batch


@pytest.mark.parametrize(("dtype", "shape", "says"), [("float32", (), "scalar"), ("complex64", (1,), "complex64")])
def test_refuses_what_triton_cannot_say(dtype: str, shape: tuple[int, ...], says: str) -> None:
    spec = ModelSpec("name", (8, 8), (TensorSpec("out", dtype, shape, "1"),), 1)
    with pytest.raises(ValueError, match=says):
        config_text(spec, 2)
