"""What the served `bragg` answers to patches, and how far that is from the truth: for `edge evaluate bragg`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.inference.canary import as_bytes
from edge.inference.requests import FRAME
from edge.inference.telemetry import disable_telemetry
from edge.physics.arrays import Float
from edge.physics.bootstrap import bootstrap
from edge.physics.patches_fitted import brightest_pixel, centre_of_mass, log_parabola
from edge.training.judged import Bar, Judged

Answers: TypeAlias = Mapping[str, NDArray[np.float64]]
"""Outputs of the model by name, [n] each."""

Run: TypeAlias = Callable[[NDArray[np.uint16]], Answers]
"""Patches [n, 11, 11] -> their answers."""

BATCH = 256

PERCENTILES = {50: 0.020, 75: 0.030, 95: 0.060}
"""Asked of the distances on measured patches, pixels."""

RIVALS: Mapping[str, Callable[[Float], Float]] = {
    "brightest pixel": brightest_pixel,
    "centre of mass": centre_of_mass,
    "log-parabola": log_parabola,
}


def graph_run(path: Path) -> Run:
    """The graph in `path` on one thread, in batches of `BATCH`."""
    disable_telemetry()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(images: NDArray[np.uint16]) -> Answers:
        parts: list[Any] = [
            session.run(names, {FRAME: as_bytes(images[start : start + BATCH])})
            for start in range(0, len(images), BATCH)
        ]
        return {
            name: np.concatenate([part[at][:, 0] for part in parts]).astype(np.float64) for at, name in enumerate(names)
        }

    return run


def places(answers: Answers) -> NDArray[np.float64]:
    """Rows and columns [n, 2]."""
    return np.stack([answers["row"], answers["column"]], axis=1)


def distances(found: Float, truth: Float) -> NDArray[np.float64]:
    """Pixels [n] between centres [n, 2]."""
    return np.hypot(*(found - truth).T)


def place_pulls(answers: Answers, truth: Float) -> NDArray[np.float64]:
    """Errors of rows and columns over their stated deviations [n, 2]."""
    sigma = np.stack([answers["row_sigma"], answers["column_sigma"]], axis=1)
    return (places(answers) - truth) / sigma


def intensity_pulls(answers: Answers, truth: Float) -> NDArray[np.float64]:
    """Errors of intensities over their stated deviations [n]."""
    return (answers["intensity"] - truth) / answers["intensity_sigma"]


def width(pulls: Float) -> float:
    """Half the width of the middle 68 %: one deviation of what is normal."""
    low, high = np.percentile(pulls, [15.865, 84.135])
    return float(high - low) / 2


def mean(name: str, values: Float, unit: str, what: str, bars: tuple[Bar, ...] = ()) -> Judged:
    """The mean of `values` [n] with its interval."""
    interval = bootstrap(lambda drawn: float(values[drawn].mean()), len(values))
    return Judged(name, float(values.mean()), unit, interval, what, bars, {"spots": len(values)})


def deviation(name: str, pulls: Float, what: str, bars: tuple[Bar, ...] = ()) -> Judged:
    """The standard deviation of `pulls` [n] or [n, several] with its interval; beside it their mean, which is 0 where
    nothing is off to one side, and which a deviation does not show."""
    interval = bootstrap(lambda drawn: float(pulls[drawn].std()), len(pulls), draws=500)
    told = f"{what}; mean {pulls.mean():+.3f}"
    return Judged(
        name, float(pulls.std()), "1", interval, told, bars, {"spots": len(pulls), "mean": float(pulls.mean())}
    )
