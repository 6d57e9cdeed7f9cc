"""A watch whose versions are a few numbers: small enough to be killed at every step. Run as a module by its test."""

import sys
import time
from pathlib import Path

import numpy as np

from edge.scanfiles import Scan
from edge.training.watching import Place, watching

MODEL = "ptycho"
FILES = ("probe.npy", "weights.npz", "canary.npz", "model.onnx")
STEP_S = 0.02


def write_version(folder: Path, quality: float, step_s: float = 0.0) -> None:
    """Files one after the other, each in two pieces: `model.onnx`, by which a version is known, as the last."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        with (folder / name).open("w") as file:
            file.write(f"{quality}")
            time.sleep(step_s)
            file.write(" whole")
        time.sleep(step_s)


def quality(folder: Path) -> float:
    """Raises AssertionError where a file is not whole."""
    texts = {(folder / name).read_text() for name in FILES}
    assert len(texts) == 1, texts
    number, whole = texts.pop().split()
    assert whole == "whole"
    return float(number)


def tune(start: Path, scan: Scan, chosen: np.ndarray, out: Path) -> None:
    write_version(out, quality(start) - 0.1, STEP_S)


def judge(version: Path, scan: Scan, chosen: np.ndarray) -> np.ndarray:
    time.sleep(STEP_S)
    return quality(version) + 0.001 * np.arange(len(chosen))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with watching(Place(MODEL, folder / "scans", folder / "models"), tune, judge, 0.0, lambda _: None) as watch:
        while watch.turn():
            pass
