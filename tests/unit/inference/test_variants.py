"""The variants of one graph join bytes exactly and differ in nothing else."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.inference.canary import as_bytes
from edge.inference.errors import RepositoryError
from edge.inference.variants import check_graph, variant
from edge.models.spec import BYTE_WEIGHTS, SENTINEL_FROM, SENTINELS, ModelSpec, TensorSpec
from tests.unit.inference.graphs import COUNTS, ECHO, counts_graph, echo_graph

U16_GRAPH = counts_graph()
SESSIONS = {itemsize: onnxruntime.InferenceSession(variant(U16_GRAPH, itemsize)) for itemsize in SENTINELS}


def counts_of(frames: np.ndarray) -> np.ndarray:
    """What the variant for these frames makes of their bytes."""
    return np.asarray(SESSIONS[frames.itemsize].run(["counts"], {"frame": as_bytes(frames)})[0])


def edge_values(itemsize: int) -> st.SearchStrategy[int]:
    top = 256**itemsize - 1
    special = [0, 1, 255, 256, 65533, 65534, 65535, 2**24 - 1, 2**31 - 1, 2**31, top - 1, top]
    return st.one_of(st.sampled_from([value for value in special if value <= top]), st.integers(0, top))


@given(data=st.data(), itemsize=st.sampled_from(sorted(SENTINELS)))
@settings(deadline=None)
def test_bytes_are_joined_and_flags_are_zero(data: st.DataObject, itemsize: int) -> None:
    dtype = np.dtype(f"<u{itemsize}")
    frames = data.draw(hnp.arrays(dtype, (2, 3, 4), elements=edge_values(itemsize)))
    counts = counts_of(frames)
    expected = np.where(frames.astype(np.float32) < SENTINELS[itemsize], frames.astype(np.float32), np.float32(0))
    if itemsize < 4:
        assert np.array_equal(counts, expected)
    else:  # above 2**24 float32 rounds, and may round twice
        assert np.allclose(counts, expected, rtol=2**-22)


def test_counts_below_2_to_24_are_exact() -> None:
    frames = np.array([[[0, 65533, 65534, 65535, 2**24 - 1]]], "<u4")
    counts = counts_of(frames)
    assert np.array_equal(counts, frames.astype(np.float32))


def test_only_the_last_axis_and_two_initializers_change() -> None:
    wide = onnx.load_from_string(variant(U16_GRAPH, 4))
    back = onnx.load_from_string(variant(wide.SerializeToString(), 2))
    original = onnx.load_from_string(U16_GRAPH)
    assert wide.graph.input[0].type.tensor_type.shape.dim[-1].dim_value == 4
    changed = {
        before.name
        for before, after in zip(original.graph.initializer, wide.graph.initializer, strict=True)
        if before != after
    }
    assert changed == {BYTE_WEIGHTS, SENTINEL_FROM}
    assert wide.graph.node == original.graph.node and wide.graph.output == original.graph.output
    assert back.graph.initializer == original.graph.initializer and back.graph.input == original.graph.input


def test_the_shipped_variant_is_returned_as_it_is() -> None:
    assert variant(U16_GRAPH, 2) == U16_GRAPH


def test_a_graph_without_weights_is_fine() -> None:
    for itemsize in SENTINELS:
        check_graph(variant(echo_graph(), itemsize), ECHO, itemsize)


def test_errors() -> None:
    with pytest.raises(RepositoryError, match="3 bytes"):
        variant(U16_GRAPH, 3)
    with pytest.raises(RepositoryError, match="damaged"):
        variant(b"\x00 no graph", 2)
    with pytest.raises(RepositoryError, match="no input 'frame'"):
        variant(onnx.ModelProto().SerializeToString(), 2)


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ((COUNTS.outputs[0],), "the graph has"),
        ((COUNTS.outputs[0], TensorSpec("total", "int32", (1,), "1")), "total is float32"),
        ((COUNTS.outputs[0], TensorSpec("total", "float32", (2,), "1")), r"total is float32 \(1,\)"),
    ],
)
def test_a_graph_that_contradicts_its_spec_is_refused(outputs: tuple[TensorSpec, ...], says: str) -> None:
    check_graph(U16_GRAPH, COUNTS, 2)
    with pytest.raises(RepositoryError, match=says):
        check_graph(U16_GRAPH, ModelSpec("counts", COUNTS.frame_shape, outputs, 8), 2)


def test_a_graph_of_one_size_is_not_for_any_size() -> None:
    check_graph(counts_graph((8, 8)), ModelSpec("counts", (8, 8), COUNTS.outputs, 8), 2)
    with pytest.raises(RepositoryError, match="frame is uint8"):
        check_graph(counts_graph((8, 8)), COUNTS, 2)
