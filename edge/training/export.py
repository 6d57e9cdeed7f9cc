# pyright: reportMissingImports=false
"""Writes a trained network as ONNX and checks it against torch."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from edge.inference.telemetry import disable_telemetry
from edge.models.spec import ANY, ModelSpec
from edge.training.course import TrainingError

OPSET = 17
TOLERANCE = 2e-3
"""Absolute and relative: two float32 runtimes that add in different orders."""


def export(served: nn.Module, spec: ModelSpec, path: Path, probes: NDArray[np.uint8]) -> float:
    """Writes the two-byte variant of `spec` to `path`.

    `served` maps bytes uint8 [batch, height, width, 2] to the outputs of `spec`, in that order. Returns the largest
    difference to torch on `probes` [n, height, width, 2]. Raises TrainingError when that exceeds `TOLERANCE`.
    """
    disable_telemetry()
    import onnxruntime

    served = served.eval()
    names = [output.name for output in spec.outputs]
    axes = {output.name: {0: "batch", **_free(output.shape)} for output in spec.outputs}
    with warnings.catch_warnings():
        # The exporter by tracing gives the smaller and plainer graph; it warns that it is the older one.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", "Constant folding", UserWarning)  # `_fold` does what it leaves
        torch.onnx.export(
            served,
            (torch.from_numpy(probes[:2]),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["frame"],
            output_names=names,
            dynamic_axes={"frame": {0: "batch", **_free(spec.frame_shape)}, **axes},
        )
    _fold(path, spec)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = session.run(names, {"frame": probes})
    with torch.no_grad():
        answer = served(torch.from_numpy(probes))
    wanted = [one.numpy() for one in (answer if isinstance(answer, tuple) else (answer,))]
    pairs = [(np.asarray(one, np.float64), np.asarray(other)) for one, other in zip(given, wanted, strict=True)]
    difference = max(float(np.abs(one - other).max()) for one, other in pairs)
    if not all(np.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE) for one, other in pairs):
        raise TrainingError(f"{path} differs from the trained network by {difference:.2g}")
    return difference


def _fold(path: Path, spec: ModelSpec) -> None:
    """Computes beforehand what does not depend on the frame, and writes down the shapes of the outputs.

    The exporter spells constant borders as a dozen operators each; ONNX Runtime's basic optimisations, which stay
    within ONNX itself, leave a graph that one can read and TensorRT parses.
    """
    import onnxruntime

    folded = path.with_suffix(".folded")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    model = onnx.load(str(folded))
    folded.unlink()
    for index in reversed(range(len(model.opset_import))):
        if model.opset_import[index].domain:
            del model.opset_import[index]
    del model.graph.value_info[:]
    for tensor, output in zip(model.graph.output, spec.outputs, strict=True):
        for dim, length in zip(tensor.type.tensor_type.shape.dim[1:], output.shape, strict=True):
            if length != ANY:
                dim.dim_value = length
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _free(shape: tuple[int, ...]) -> dict[int, str]:
    """Names of the axes, counted with the batch's, whose length each frame chooses."""
    names = iter(("height", "width"))
    return {axis: next(names) for axis, length in enumerate(shape, start=1) if length == ANY}
