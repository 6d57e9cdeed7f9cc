"""Writes Triton's `config.pbtxt` from a model's description. Pure.

https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_configuration.md

There is no `dynamic_batching` on purpose. The router has batched already. And Triton's batcher loses wake-ups (2.51): a
request that arrives while the one before it is being answered is now and then noticed only by the batcher's 500 ms
timer. The price is its bounded queue, which no other scheduler
offers: how many requests may wait is bounded by who sends them (`requests_in_flight` of a route).
"""

from typing import Literal

from edge.inference.requests import FRAME
from edge.models.spec import ModelSpec

Platform = Literal["python", "tensorrt_plan"]

ENGINE_FILE = "model.plan"
DATA_TYPES = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "uint16": "TYPE_UINT16",
    "uint32": "TYPE_UINT32",
    "uint64": "TYPE_UINT64",
    "int8": "TYPE_INT8",
    "int16": "TYPE_INT16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
}


def config_text(spec: ModelSpec, itemsize: int, platform: Platform = "python", ort_threads: int = 1) -> str:
    """`config.pbtxt` of `spec`'s variant for `itemsize` bytes a pixel.

    "python" runs ONNX Runtime in Triton's Python backend with `ort_threads` threads within an operator;
    "tensorrt_plan" runs an engine on a GPU. Raises ValueError for what Triton has no words for.
    """
    height, width = spec.frame_shape
    parts = [
        f'name: "{spec.variant(itemsize)}"',
        'backend: "python"' if platform == "python" else 'platform: "tensorrt_plan"',
        *([f'default_model_filename: "{ENGINE_FILE}"'] if platform == "tensorrt_plan" else []),
        f"max_batch_size: {spec.max_batch}",
        _tensor("input", FRAME, "uint8", (height, width, itemsize)),
        *(_tensor("output", output.name, output.dtype, output.shape) for output in spec.outputs),
        _instance_group("KIND_CPU" if platform == "python" else "KIND_GPU"),
        *([_parameter("ort_threads", str(ort_threads))] if platform == "python" else []),
    ]
    return "\n".join(parts) + "\n"


def _tensor(kind: str, name: str, dtype: str, shape: tuple[int, ...]) -> str:
    if dtype not in DATA_TYPES:
        raise ValueError(f"{name}: Triton has no data type for {dtype}")
    if not shape:
        raise ValueError(f"{name}: Triton knows no scalars, give it the shape (1,)")
    dims = ", ".join(str(dim) for dim in shape)
    return f'{kind} {{\n  name: "{name}"\n  data_type: {DATA_TYPES[dtype]}\n  dims: [ {dims} ]\n}}'


def _instance_group(kind: str) -> str:
    return f"instance_group {{\n  count: 1\n  kind: {kind}\n}}"


def _parameter(key: str, value: str) -> str:
    return f'parameters {{\n  key: "{key}"\n  value {{ string_value: "{value}" }}\n}}'
