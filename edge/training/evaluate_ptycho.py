"""How good the served graph is on measured frames that its training never saw.

    edge evaluate ptycho --scan FILE --reference FILE

Runs `model.onnx` itself, with ONNX Runtime, on the frames of the test block (`split`), and judges every patch and the
stitched image against a reference reconstruction of the whole scan. Beside it: the training block, and a beam that
is off centre. Needs no torch.
"""

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edge.inference.repository import version_folder
from edge.inference.telemetry import disable_telemetry
from edge.models.ptycho import FRAME_PX, OFFSET_PX, PATCH_PX
from edge.physics.arrays import Complex, Float
from edge.physics.judging import Errors, PatchJudge, mean_errors, stitched_errors
from edge.physics.probe import load_probe, probe_intensity, probe_mask
from edge.physics.stitching import Stitcher, canvas_for
from edge.reference import Reference, load_reference
from edge.scanfiles import Scan, ScanFileError, open_scan
from edge.training.scan_probe import ScanError, pixel_positions
from edge.training.split import block_split

Predict: TypeAlias = Callable[[NDArray[np.uint16]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Frame [128, 128] -> amplitude, phase [80, 80]."""

REFINE_SWEEPS = 30


class Row(TypedDict):
    name: str
    value: float
    unit: str
    spread: float | None  # standard deviation over frames
    detail: str


def session_predict(path: Path) -> Predict:
    """The graph in `path` on one thread, frame by frame."""
    disable_telemetry()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def predict(frame: NDArray[np.uint16]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        image = np.ascontiguousarray(frame, dtype="<u2").view(np.uint8).reshape(1, FRAME_PX, FRAME_PX, 2)
        answer: Any = session.run(["amplitude", "phase"], {"frame": image})
        return answer[0][0], answer[1][0]

    return predict


def evaluate(
    frames: NDArray[np.uint16], positions: Float, predict: Predict, modes: Complex, reference: Complex
) -> list[Row]:
    """Judges the frames [n, 128, 128] of `positions` [n, 2] in `reference`; rows for a table."""
    inside = slice(OFFSET_PX, OFFSET_PX + PATCH_PX)
    judge = PatchJudge(reference, probe_mask(modes)[inside, inside], OFFSET_PX)
    canvas = canvas_for(positions + OFFSET_PX, PATCH_PX)
    stitcher = Stitcher(canvas.shape, PATCH_PX, probe_intensity(modes)[inside, inside], refinable=True)
    judged, seconds = [], []
    for frame, position in zip(frames, positions, strict=True):
        begin = time.perf_counter()
        amplitude, phase = predict(frame)
        seconds.append(time.perf_counter() - begin)
        judged.append(judge(amplitude, phase, position))
        stitcher.add(amplitude, phase, canvas.place(position + OFFSET_PX))
    live = stitched_errors(*stitcher.image(), canvas.cut(reference)).errors
    stitcher.refine(REFINE_SWEEPS)
    refined = stitched_errors(*stitcher.image(), canvas.cut(reference)).errors
    mean = mean_errors(judged)
    spread = float(np.std([one.phase_mae_rad for one in judged]))
    lit = "one constant a frame removed, probe at 25 % of its peak or more"
    return [
        {"name": "test_frames", "value": len(frames), "unit": "1", "spread": None, "detail": "block split"},
        _row("phase_mae_rad", mean.phase_mae_rad, "rad", lit, spread),
        _row("phase_mae_constant_rad", mean.phase_mae_constant_rad, "rad", "the best constant guess"),
        _row("amplitude_mae", mean.amplitude_mae, "1", lit),
        _row("amplitude_mae_constant", mean.amplitude_mae_constant, "1", "the best constant guess"),
        _row("stitched_phase_mae_rad", refined.phase_mae_rad, "rad", f"whatever the order, {REFINE_SWEEPS} sweeps"),
        _row("stitched_live_phase_mae_rad", live.phase_mae_rad, "rad", "as stitched on arrival"),
        _row("stitched_phase_mae_constant_rad", live.phase_mae_constant_rad, "rad", "the best constant guess"),
        _row("inference_ms", 1e3 * float(np.median(seconds)), "ms", "median a frame, ONNX Runtime, one thread"),
    ]


@click.command("ptycho")
@click.option("--scan", "scan_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--reference", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--model", type=click.Path(exists=True, file_okay=False, path_type=Path), help="[default: as shipped]")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write the rows here.")
def evaluate_ptycho(scan_file: Path, reference: Path, model: Path | None, json_file: Path | None) -> None:
    """Judge the ptychography model on the test block of a measured scan."""
    try:
        with open_scan(scan_file) as scan:
            rows = _evaluate_scan(scan, load_reference(reference), model or version_folder("ptycho"))
    except (ScanError, ScanFileError) as error:
        raise click.ClickException(str(error)) from error
    table = Table("figure", "value", "unit", "spread", "detail")
    for row in rows:
        spread = "" if row["spread"] is None else f"{row['spread']:.4g}"
        table.add_row(row["name"], f"{row['value']:.4g}", row["unit"], spread, row["detail"])
    Console().print(table)
    if json_file is not None:
        command = shlex.join(["edge", *sys.argv[1:]])
        facts = {"machine": _machine(), "command": command, "rows": rows}
        json_file.write_text(json.dumps(facts, indent=2) + "\n")


def _evaluate_scan(scan: Scan, reference: Reference, model: Path) -> list[Row]:
    split = block_split(pixel_positions(scan), FRAME_PX)
    modes, predict = load_probe(model / "probe.npy"), session_predict(model / "model.onnx")
    test = _frames(scan, split.test)
    rows = evaluate(test, reference.positions[split.test], predict, modes, reference.image)

    def judged(name: str, frames: NDArray[np.uint16], chosen: NDArray[np.intp], detail: str) -> list[Row]:
        errors = _judge(frames, reference.positions[chosen], predict, modes, reference.image)
        constant = _row(f"{name}_constant_rad", errors.phase_mae_constant_rad, "rad", "the best constant guess")
        return [_row(f"{name}_rad", errors.phase_mae_rad, "rad", detail), constant]

    off_centre = np.roll(test, 1, axis=1)
    rows += judged("off_centre_phase_mae", off_centre, split.test, "test frames, the beam one pixel off in rows")
    training = _frames(scan, split.training)
    return rows + judged("training_block_phase_mae", training, split.training, "the frames that the probe came from")


def _judge(
    frames: NDArray[np.uint16], positions: Float, predict: Predict, modes: Complex, reference: Complex
) -> Errors:
    inside = slice(OFFSET_PX, OFFSET_PX + PATCH_PX)
    judge = PatchJudge(reference, probe_mask(modes)[inside, inside], OFFSET_PX)
    return mean_errors(judge(*predict(frame), at) for frame, at in zip(frames, positions, strict=True))


def _frames(scan: Scan, chosen: NDArray[np.intp]) -> NDArray[np.uint16]:
    return np.stack([scan.frame(int(index)) for index in chosen])


def _row(name: str, value: float, unit: str, detail: str, spread: float | None = None) -> Row:
    return {"name": name, "value": value, "unit": unit, "spread": spread, "detail": detail}


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, no GPU used, Python {platform.python_version()}"
