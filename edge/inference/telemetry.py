"""Keeps ONNX Runtime from reporting its use to its makers."""

import os

NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1"}
"""Without it, release 1.31 collects events in a file under `$XDG_CACHE_HOME/Microsoft` and sends them."""


def disable_telemetry() -> None:
    """For this process and its children; to be called before the first import of onnxruntime."""
    os.environ.update(NO_TELEMETRY)
