"""`model.py` of Triton's Python backend: runs the `model.onnx` beside it with ONNX Runtime.

Copied into every assembled model repository; it runs in the server's environment and imports nothing of ours.
"""

import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors  # pyright: ignore[reportAttributeAccessIssue]

FRAME = "frame"

RUN_ERRORS = (ort_errors.Fail, ort_errors.InvalidArgument, ort_errors.RuntimeException, RuntimeError, ValueError)


class TritonPythonModel:
    """One instance of one model. Triton looks for this name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the graph. Refuses numpy 2, with which this backend returns empty tensors and no error."""
        if int(np.__version__.partition(".")[0]) >= 2:
            raise pb_utils.TritonModelException(
                f"numpy {np.__version__} in the server's environment makes Triton's Python backend return empty "
                "tensors: pip install 'numpy<2' there"
            )
        config = json.loads(args["model_config"])
        threads = int(config["parameters"]["ort_threads"]["string_value"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads take the time of the router on a small machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        pb_utils.Logger.log_info(
            f"{args['model_name']} version {args['model_version']}: python {platform.python_version()}, "
            f"numpy {np.__version__}, onnxruntime {onnxruntime.__version__}, {threads} thread(s)"
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """One answer per request, in order; an error concerns its own request only."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        wanted = list(request.requested_output_names())
        frame = pb_utils.get_input_tensor_by_name(request, FRAME).as_numpy()  # a view of shared memory
        try:
            arrays = self._session.run(wanted, {FRAME: frame})
        except RUN_ERRORS as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        tensors = [pb_utils.Tensor(name, array) for name, array in zip(wanted, arrays, strict=True)]
        return pb_utils.InferenceResponse(output_tensors=tensors)
