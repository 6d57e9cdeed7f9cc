"""Frames to judge a denoiser by, what simple methods make of them, and how wrong each is."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from edge.models.spec import SENTINELS
from edge.physics.arrays import Bool, Float
from edge.physics.bragg import bragg_sample, camera
from edge.physics.count_judging import FLOOR, poisson_deviance
from edge.physics.diffraction import MAX_UINT16_COUNT
from edge.physics.spots import FLAG
from edge.training.figures import Lines, Run

SEED = 2610
"""Of what is judged here. No model was chosen by thinnings or frames of this seed, or of the next few."""

THINNED = 0.1
SIGMAS = (0.7, 1.0, 1.5)
SHAPE = (256, 256)
EXPOSURE_S = 0.025


class Case(NamedTuple):
    """One frame and what a prediction is compared with; arrays [height, width]."""

    image: NDArray[np.uint16]
    wanted: Float  # counts
    good: Bool


Method: TypeAlias = Callable[[NDArray[np.uint16]], Float]


def methods(run: Run) -> dict[str, Method]:
    """The model and simple rivals; each maps an image to expected counts."""

    def raw(image: NDArray[np.uint16]) -> Float:
        return np.where(image < 65534, image, 0).astype(np.float64)

    rivals: dict[str, Method] = {"raw counts": raw}
    for sigma in SIGMAS:
        rivals[f"gaussian {sigma:g} px"] = lambda image, sigma=sigma: smoothed(image, sigma)
    return {**rivals, "model": lambda image: run(image)["expected"].astype(np.float64)}


def smoothed(image: NDArray[np.uint16], sigma: float) -> Float:
    """Gaussian mean of the good pixels around each."""
    good = (image < 65534).astype(np.float64)
    weight = np.maximum(ndimage.gaussian_filter(good, sigma), 1e-9)
    return ndimage.gaussian_filter(np.where(good > 0, image, 0).astype(np.float64), sigma) / weight


def judged(cases: Iterable[Case], ways: Mapping[str, Method]) -> Lines:
    """Errors on the good pixels: mean square, Poisson deviance a pixel, and of the sum of all counts."""
    rows, cases = [], list(cases)
    for name, way in ways.items():
        square, deviance, sums = [], [], []
        for case in cases:
            predicted, wanted = way(case.image)[case.good], case.wanted[case.good]
            square.append(np.mean((predicted - wanted) ** 2))
            deviance.append(np.mean(poisson_deviance(np.maximum(predicted, FLOOR), wanted)))
            sums.append((predicted.sum(), wanted.sum()))
        flux = np.sum(sums, axis=0)
        rows.append(
            {
                "method": name,
                "mean square error": float(np.mean(square)),
                "Poisson deviance": float(np.mean(deviance)),
                "flux bias %": 100 * float(flux[0] / flux[1] - 1),
            }
        )
    return rows


def bragg_cases(count: int = 30, seed: int = SEED) -> list[Case]:
    """Frames of the Bragg scene at random places, and their true expectation; no unflagged hot pixel is judged."""
    rng = np.random.default_rng(seed)
    detector = camera(SHAPE, seed)
    good = (detector.mask == 0) & (detector.hot == 0)
    cases = []
    for index in range(count):
        x, y = rng.uniform(0, 1, 2)
        expected = bragg_sample(seed + index % 6).expected(x, y, SHAPE)
        cases.append(Case(detector.expose(expected, EXPOSURE_S, 1.0, rng), expected * EXPOSURE_S, good))
    return cases


def hidden(cases: list[Case], ways: Mapping[str, Method]) -> Lines:
    """Mean estimate on flagged pixels against the truth, which is not in the image."""
    rows = []
    for name, way in ways.items():
        off, wanted = [], []
        for case in cases:
            flagged = case.image == 65534
            off.append(np.abs(way(case.image)[flagged] - case.wanted[flagged]))
            wanted.append(case.wanted[flagged])
        rows.append(
            {
                "method": name,
                "mean absolute error": float(np.mean(np.concatenate(off))),
                "mean truth": float(np.mean(np.concatenate(wanted))),
            }
        )
    return rows


def thinned_cases(frames: Iterable[NDArray[np.unsignedinteger]], seed: int = SEED) -> list[Case]:
    """A tenth of each frame's photons, drawn by `seed`; wanted is the rest, scaled to a tenth. Frames may be of any
    item size; flagged pixels are not judged."""
    rng = np.random.default_rng(seed)
    cases = []
    for frame in frames:
        good = frame < SENTINELS[frame.dtype.itemsize]
        counts = np.where(good, frame, 0).astype(np.int64)
        part = np.minimum(rng.binomial(counts, THINNED), MAX_UINT16_COUNT)
        rest = (counts - part) * THINNED / (1 - THINNED)
        cases.append(Case(np.where(good, part, FLAG).astype(np.uint16), rest, good))
    return cases
