"""One graph, three item sizes: makes the u8 and u32 variants from the shipped u16 graph. Needs `onnx`.

TensorRT takes no 16- or 32-bit unsigned input, so a frame enters as its bytes and the graph joins them:
counts = sum(byte * weight). The variants differ in the last axis of `frame` and in two initializers.
"""

from typing import TYPE_CHECKING

import numpy as np

from edge.inference.errors import RepositoryError
from edge.inference.requests import FRAME
from edge.models.spec import ANY, BYTE_WEIGHTS, SENTINEL_FROM, SENTINELS, ModelSpec

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto


def variant(model_bytes: bytes, itemsize: int) -> bytes:
    """The graph for frames of `itemsize` (1, 2 or 4) bytes a pixel, serialized.

    Returns the same bytes where the graph already is that variant. Raises RepositoryError where the graph has
    no such input or is wrong afterwards.
    """
    import onnx
    from onnx import numpy_helper

    if itemsize not in SENTINELS:
        raise RepositoryError(f"no variant for {itemsize} bytes a pixel, only for {sorted(SENTINELS)}")
    model = _parse(model_bytes)
    frame = _frame_input(model)
    last = frame.type.tensor_type.shape.dim[-1]
    if last.dim_value == itemsize:
        return model_bytes
    last.dim_value = itemsize
    values = {
        BYTE_WEIGHTS: np.array([256.0**k for k in range(itemsize)], np.float32),
        SENTINEL_FROM: np.array(SENTINELS[itemsize], np.float32),
    }
    for initializer in model.graph.initializer:
        if initializer.name in values:
            initializer.CopyFrom(numpy_helper.from_array(values[initializer.name], initializer.name))
    # Shapes noted for intermediate tensors are those of the old variant; they follow from the rest.
    del model.graph.value_info[:]
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise RepositoryError(f"the variant for {itemsize} bytes a pixel is no valid graph: {error}") from error
    return model.SerializeToString()


def without_byte(model_bytes: bytes, position: int) -> bytes | None:
    """The graph with the weight of one byte set to zero: what a broken variant does. None where it has no weights."""
    from onnx import numpy_helper

    model = _parse(model_bytes)
    for initializer in model.graph.initializer:
        if initializer.name == BYTE_WEIGHTS:
            weights = numpy_helper.to_array(initializer).copy()
            weights[position] = 0
            initializer.CopyFrom(numpy_helper.from_array(weights, BYTE_WEIGHTS))
            return model.SerializeToString()
    return None


def check_graph(model_bytes: bytes, spec: ModelSpec, itemsize: int) -> None:
    """Raise RepositoryError unless the graph's inputs and outputs are those that `spec` describes."""
    model = _parse(model_bytes)
    _check_batch(_frame_input(model))
    height, width = spec.frame_shape
    expected = {FRAME: ("uint8", (height, width, itemsize))}
    expected |= {output.name: (output.dtype, output.shape) for output in spec.outputs}
    given = {initializer.name for initializer in model.graph.initializer}
    tensors = [tensor for tensor in (*model.graph.input, *model.graph.output) if tensor.name not in given]
    found = {tensor.name: _dtype_and_shape(tensor) for tensor in tensors}
    if found.keys() != expected.keys():
        raise RepositoryError(f"{spec.name}: the graph has {sorted(found)}, its spec {sorted(expected)}")
    for name, (dtype, shape) in expected.items():
        found_dtype, found_shape = found[name]
        if found_dtype != dtype or not _compatible(found_shape, shape, strict=name == FRAME):
            raise RepositoryError(f"{spec.name}: {name} is {found_dtype} {found_shape}, its spec says {dtype} {shape}")


def _parse(model_bytes: bytes) -> "ModelProto":
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise RepositoryError(f"{error.name} is needed to make model variants: pip install onnx") from error
    try:
        return onnx.load_from_string(model_bytes)
    except DecodeError as error:
        raise RepositoryError(f"model.onnx is damaged: {error}") from error


def _frame_input(model: "ModelProto") -> "ValueInfoProto":
    for tensor in model.graph.input:
        if tensor.name == FRAME and len(tensor.type.tensor_type.shape.dim) == 4:
            return tensor
    raise RepositoryError(f"the graph has no input {FRAME!r} [batch, height, width, itemsize]")


def _check_batch(frame: "ValueInfoProto") -> None:
    if frame.type.tensor_type.shape.dim[0].dim_value > 0:
        raise RepositoryError("the graph's batch axis is fixed: export it with a symbolic one")


def _dtype_and_shape(tensor: "ValueInfoProto") -> tuple[str, tuple[int, ...]]:
    from onnx import helper

    dtype = helper.tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type)
    dims = tensor.type.tensor_type.shape.dim[1:]
    return np.dtype(dtype).name, tuple(dim.dim_value or ANY for dim in dims)


def _compatible(found: tuple[int, ...], expected: tuple[int, ...], strict: bool) -> bool:
    """Whether the graph keeps the spec's promise: an input of one size (`strict`) does not take ANY size."""
    if len(found) != len(expected):
        return False
    pairs = zip(found, expected, strict=True)
    return all(f in (ANY, e) or (e == ANY and not strict) for f, e in pairs)
