"""Settings of the embedded server."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

STOP_S = 2.0
"""Time for a server's clean exit before it is killed: requests in flight are answered by then. Triton itself would go
on unloading models for seconds, which frees nothing that killing it does not."""


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/detector-edge`, or `~/.cache/detector-edge`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "detector-edge"


@dataclass(frozen=True)
class ServerOptions:
    """How to run the embedded server."""

    python: Path = field(default_factory=lambda: Path(sys.executable))
    """Interpreter of the environment with nvidia-pytriton, onnxruntime and numpy < 2."""
    cache_dir: Path = field(default_factory=cache_folder)
    log_dir: Path | None = None
    """Folder of the server's log files; None is `logs` in the cache folder."""
    ort_threads: int = 1
    """Threads that ONNX Runtime uses within one operator."""
