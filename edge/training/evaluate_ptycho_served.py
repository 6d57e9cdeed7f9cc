"""The served ptychography graph under ONNX Runtime: what it answers, and how large its patches are."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.inference.canary import as_bytes
from edge.inference.requests import FRAME
from edge.inference.telemetry import disable_telemetry

BATCH = 16
"""As the server puts frames together when it has many."""

Predict: TypeAlias = Callable[[NDArray[np.uint16]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Frame [height, width] -> amplitude, phase [patch, patch]."""


@dataclass(frozen=True)
class Answers:
    """Of n frames."""

    amplitude: NDArray[np.float32]  # [n, patch, patch]
    phase: NDArray[np.float32]  # [n, patch, patch], rad
    deviance: NDArray[np.float64] | None  # [n]; None where the graph gives none

    @property
    def patches(self) -> NDArray[np.complex64]:
        """Complex patches [n, patch, patch]."""
        return (self.amplitude * np.exp(1j * self.phase)).astype(np.complex64)


Serve: TypeAlias = Callable[[NDArray[np.uint16]], Answers]
"""Frames [n, height, width] -> their answers."""


class Served:
    """The graph in a file, on one thread. Raises ValueError where ONNX Runtime cannot load it."""

    def __init__(self, path: Path) -> None:
        disable_telemetry()
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as ort  # pyright: ignore[reportAttributeAccessIssue]

        damaged = (ort.InvalidArgument, ort.InvalidProtobuf, ort.InvalidGraph, ort.Fail, ort.NoSuchFile)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except damaged as error:
            raise ValueError(f"{path} cannot be loaded: {error}") from error
        self.frame_px = int(self._session.get_inputs()[0].shape[1])
        outputs = {output.name: output.shape for output in self._session.get_outputs()}
        self.patch_px = int(outputs["phase"][1])
        self._names = [name for name in ("amplitude", "phase", "deviance") if name in outputs]

    @property
    def offset_px(self) -> int:
        """From a frame's position to its patch's first pixel."""
        return (self.frame_px - self.patch_px) // 2

    def __call__(self, frames: NDArray[np.uint16]) -> Answers:
        """Answers for frames [n, height, width], in batches of `BATCH`."""
        parts: list[Any] = [
            self._session.run(self._names, {FRAME: as_bytes(frames[at : at + BATCH])})
            for at in range(0, len(frames), BATCH)
        ]
        found = {name: np.concatenate([part[k] for part in parts]) for k, name in enumerate(self._names)}
        deviance = found["deviance"].reshape(len(frames)).astype(np.float64) if "deviance" in found else None
        return Answers(found["amplitude"], found["phase"], deviance)


def session_predict(path: Path) -> Predict:
    """The graph in `path` on one thread, frame by frame."""
    served = Served(path)

    def predict(frame: NDArray[np.uint16]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        answers = served(frame.astype("<u2")[None])
        return answers.amplitude[0], answers.phase[0]

    return predict
