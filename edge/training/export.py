# pyright: reportMissingImports=false
"""Writes the trained network as ONNX and checks it against torch."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edge.inference.telemetry import disable_telemetry
from edge.models.ptycho import FRAME_PX, SPEC
from edge.training.network import PatchNet, ServedNet

OPSET = 17
TOLERANCE = 2e-3
"""Rad and amplitude: two float32 runtimes that add in different orders."""


def export(net: PatchNet, path: Path, probes: NDArray[np.uint8]) -> float:
    """Writes the two-byte variant to `path`; returns the largest difference to torch on `probes` [n, 128, 128, 2].

    Raises RuntimeError when that exceeds `TOLERANCE`.
    """
    disable_telemetry()
    import onnxruntime

    served = ServedNet(net).eval()
    names = [output.name for output in SPEC.outputs]
    with warnings.catch_warnings():
        # The exporter by tracing gives the smaller and plainer graph; it warns that it is the older one.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            served,
            (torch.zeros(2, FRAME_PX, FRAME_PX, 2, dtype=torch.uint8),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["frame"],
            output_names=names,
            dynamic_axes={name: {0: "batch"} for name in ["frame", *names]},
        )
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = session.run(names, {"frame": probes})
    with torch.no_grad():
        wanted = served(torch.from_numpy(probes))
    difference = max(float(np.abs(one - other.numpy()).max()) for one, other in zip(given, wanted, strict=True))
    if not difference <= TOLERANCE:
        raise RuntimeError(f"{path} differs from the trained network by {difference:.2g}")
    return difference
