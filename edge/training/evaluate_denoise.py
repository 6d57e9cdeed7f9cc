"""How good the served denoiser is: `edge evaluate denoise [--scan FILE [--reference FILE]]`.

Simulated Bragg frames are judged by their true expectation. Measured frames have none, so they are thinned: a tenth of
the photons, drawn by chance, must predict the other nine tenths, which are independent of it. With a reference
reconstruction also what the ptychography model makes of such frames. Needs no torch.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import click
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from edge.inference.repository import version_folder
from edge.models.ptycho import OFFSET_PX, PATCH_PX
from edge.physics.arrays import Bool, Float
from edge.physics.bragg import bragg_sample, camera
from edge.physics.judging import PatchJudge, mean_errors
from edge.physics.probe import load_probe, probe_mask
from edge.reference import Reference, load_reference
from edge.scanfiles import Scan, ScanFileError, open_scan
from edge.training.evaluate_ptycho import session_predict
from edge.training.figures import TIME, Figures, Lines, Run, graph_run, median_ms, publish
from edge.training.scan_probe import ScanError, pixel_positions
from edge.training.split import block_split

THINNED = 0.1
FLOOR = 0.01
"""Least prediction in counts: the deviance of a count from a prediction of nothing has no end."""

SIGMAS = (0.7, 1.0, 1.5)
SHAPE = (256, 256)
EXPOSURE_S = 0.025
_UNITS = {
    "mean square error": "counts^2",
    "flux bias %": "%",
    "mean absolute error": "counts",
    "mean truth": "counts",
    "ms": "ms",
    "phase error rad": "rad",
}


class Case(NamedTuple):
    """One frame and what a prediction is compared with; arrays [height, width]."""

    image: NDArray[np.uint16]
    wanted: Float  # counts
    good: Bool


Method: TypeAlias = Callable[[NDArray[np.uint16]], Float]


def methods(run: Run) -> dict[str, Method]:
    """The model and its rivals; each maps an image to expected counts."""

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


def judged(cases: list[Case], ways: dict[str, Method]) -> Lines:
    """Errors on the good pixels: mean square, Poisson deviance a pixel, and of the sum of all counts."""
    rows = []
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


def poisson_deviance(predicted: Float, wanted: Float) -> Float:
    """2 (mu - y + y log(y / mu)) of each pixel; zero where both are equal."""
    return 2 * (predicted - wanted + wanted * np.log(np.where(wanted > 0, wanted, 1.0) / predicted))


def bragg_cases(count: int = 30, seed: int = 100) -> list[Case]:
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


def hidden(cases: list[Case], ways: dict[str, Method]) -> Lines:
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


def thinned_cases(frames: Iterable[NDArray[np.uint16]], seed: int = 0) -> list[Case]:
    """A tenth of each frame's photons; wanted is the rest, scaled to a tenth."""
    rng = np.random.default_rng(seed)
    cases = []
    for frame in frames:
        part = rng.binomial(frame.astype(np.int64), THINNED).astype(np.uint16)
        rest = (frame.astype(np.float64) - part) * THINNED / (1 - THINNED)
        cases.append(Case(part, rest, np.ones(frame.shape, dtype=bool)))
    return cases


def unseen_frames(scan: Scan) -> NDArray[np.intp]:
    """Indices of the frames of which no training has seen anything. Raises ScanError without positions."""
    return block_split(pixel_positions(scan), scan.shape[0]).test


def downstream(cases: list[Case], positions: Float, reference: Reference, ways: dict[str, Method]) -> Lines:
    """Error of the phase that `ptycho` sees in the thinned frames as each method leaves them; `positions` [n, 2]."""
    folder, inside = version_folder("ptycho"), slice(OFFSET_PX, OFFSET_PX + PATCH_PX)
    predict = session_predict(folder / "model.onnx")
    judge = PatchJudge(reference.image, probe_mask(load_probe(folder / "probe.npy"))[inside, inside], OFFSET_PX)
    rows = []
    for name, way in ways.items():
        images = [np.rint(way(case.image) / THINNED).astype(np.uint16) for case in cases]
        errors = mean_errors(judge(*predict(image), at) for image, at in zip(images, positions, strict=True))
        rows.append({"method": name, "phase error rad": errors.phase_mae_rad})
    return rows


@click.command("denoise")
@click.option("--scan", "scan_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Measured.")
@click.option("--reference", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its reconstruction.")
@click.option("--model", type=click.Path(exists=True, file_okay=False, path_type=Path), help="[default: as shipped]")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write the rows here.")
def evaluate_denoise(
    scan_file: Path | None, reference: Path | None, model: Path | None, json_file: Path | None
) -> None:
    """Judge the denoiser on simulated Bragg frames, and on a measured scan where one is named."""
    run = graph_run((model or version_folder("denoise")) / "model.onnx")
    try:
        publish(_tables(run, scan_file, reference), json_file)
    except (ScanError, ScanFileError) as error:
        raise click.ClickException(str(error)) from error


def _tables(run: Run, scan_file: Path | None, reference: Path | None) -> Iterator[Figures]:
    ways, cases = methods(run), bragg_cases()
    title = f"Bragg scene, {len(cases)} frames of {1e3 * EXPOSURE_S:g} ms, against the truth"
    yield Figures("bragg", title, judged(cases, ways), _UNITS)
    yield Figures("flagged", "The same, flagged pixels", hidden(cases, ways), _UNITS)
    yield Figures("time", TIME, [{"frame": "256 x 256", "ms": median_ms(run, cases[0].image)}], _UNITS)
    if scan_file is None:
        return
    with open_scan(scan_file) as scan:
        chosen = unseen_frames(scan)
        measured = thinned_cases(scan.frame(int(index)) for index in chosen)
    share = f"{THINNED:.0%} of the photons predict the rest (scaled alike)"
    yield Figures("measured", f"{scan_file.name}, {len(measured)} frames, {share}", judged(measured, ways), _UNITS)
    if reference is not None:
        truth = load_reference(reference)
        seen = downstream(measured, truth.positions[chosen], truth, ways)
        yield Figures("ptycho", "The same frames given to ptycho", seen, _UNITS)
