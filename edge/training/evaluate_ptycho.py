"""How good the served graph is on measured frames that its training never saw.

    edge evaluate ptycho --scan FILE --reference FILE [--golden FOLDER] [--plot evaluation.png]

Runs `model.onnx` itself, with ONNX Runtime, on the frames of the test block (`split`), and judges every patch and the
joined image against a reference reconstruction of the whole scan, and without one by how well they explain the counts.
What users would have instead runs in the same command on the same frames: the constant guess, and rPIE with the model's
own probe and settings picked on the training block. Needs no torch, but for `--golden`.
"""

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from edge.inference.repository import GRAPH_FILE, version_folder
from edge.physics.probe import load_probe
from edge.reference import load_reference
from edge.scanfiles import open_scan
from edge.training.evaluate_ptycho_case import Case, open_case
from edge.training.evaluate_ptycho_confidence import blind_rows, confidence_rows
from edge.training.evaluate_ptycho_errors import (
    correlation_rows,
    correlations,
    floor_rows,
    joined,
    patch_rows,
    stitched_rows,
)
from edge.training.evaluate_ptycho_explained import deviance_rows
from edge.training.evaluate_ptycho_harder import harder_rows
from edge.training.evaluate_ptycho_opponents import opponents
from edge.training.evaluate_ptycho_picture import draw
from edge.training.evaluate_ptycho_served import Serve, Served, session_predict
from edge.training.evaluate_ptycho_speed import speed_rows
from edge.training.golden import golden_rows
from edge.training.judged import Judged, conclude
from edge.training.scan_deviance import PROBE_FILE
from edge.training.scan_probe import ScanError

__all__ = ["evaluate", "evaluate_ptycho", "session_predict"]

MODELS = {"128": "ptycho", "64": "ptycho64"}


def evaluate(case: Case, served: Serve, plot: Path | None = None) -> list[Judged]:
    """All figures of a model on a case; draws them into `plot` where given."""
    answers = served(case.test.frames)
    rivals = opponents(case)
    made = joined(case, answers, rivals)
    curves = correlations(case, made)
    if plot is not None:
        draw(plot, case, made, curves)
    floor = floor_rows(case, made)
    assert floor[0].value is not None
    return [
        *floor,
        *patch_rows(case, answers, made, floor[0].value),
        *stitched_rows(case, made),
        *deviance_rows(case, answers, made.images, rivals),
        *correlation_rows(curves),
        *speed_rows(case, served, rivals.strongest),
        *confidence_rows(case, served, answers),
        *blind_rows(case),
        *harder_rows(case, served, rivals),
    ]


@click.command("ptycho")
@click.option("--scan", "scan_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--reference", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--size", type=click.Choice(list(MODELS)), default="128", show_default=True, help="Pixels: which model.")
@click.option("--model", type=click.Path(exists=True, file_okay=False, path_type=Path), help="[default: as shipped]")
@click.option("--golden", type=click.Path(exists=True, file_okay=False, path_type=Path), help="PtychoNN's publication.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Also draw images and curves here.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write the rows here.")
@click.option("--card", is_flag=True, help="Also write the figures into the model's card.")
def evaluate_ptycho(
    scan_file: Path,
    reference: Path,
    size: str,
    model: Path | None,
    golden: Path | None,
    plot: Path | None,
    json_file: Path | None,
    card: bool,
) -> None:
    """Judge a ptychography model on the test block of a measured scan."""
    folder = model or version_folder(MODELS[size])
    try:
        served, modes = _opened(folder)
        if model is not None and size != "128" and served.frame_px != int(size):
            raise ScanError(f"{folder} takes {served.frame_px} x {served.frame_px} pixels: leave out --size {size}")
        with open_scan(scan_file) as scan:
            case = open_case(scan, load_reference(reference), modes, served.patch_px)
        figures = [*evaluate(case, served, plot), *golden_rows(golden)]
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    conclude(figures, json_file, folder if card else None)


def _opened(folder: Path) -> tuple[Served, NDArray[np.complex64]]:
    """The graph and the probe of a version. Raises ValueError where one is missing or damaged, or they do not fit."""
    graph, probe = folder / GRAPH_FILE, folder / PROBE_FILE
    for one in (graph, probe):
        if not one.is_file():
            raise ScanError(f"{one} is missing: --model names the folder of a version, e.g. model_repo/ptycho/1")
    modes = load_probe(probe)
    served = Served(graph)
    if modes.shape[1:] != (served.frame_px, served.frame_px):
        raise ScanError(f"{probe} has {modes.shape[1:]} pixels, {graph} takes frames of {served.frame_px}")
    return served, modes
