"""How good the served graph is on measured frames that its training never saw.

    edge evaluate ptycho --scan FILE --reference FILE

Runs `model.onnx` itself, with ONNX Runtime, on the frames of the test block (`split`), and judges every patch and the
stitched image against a reference reconstruction of the whole scan. Beside it: the training block, and a beam that
is off centre. Needs no torch.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edge.bench.rows import Row, write
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
    off = float(np.std([one.phase_mae_rad for one in judged]))
    spread = (mean.phase_mae_rad - off, mean.phase_mae_rad + off)
    lit = "one constant a frame removed, probe at 25 % of its peak or more"
    return [
        Row("test_frames", len(frames), "1", detail="block split"),
        Row("phase_mae_rad", mean.phase_mae_rad, "rad", spread, f"{lit}; spread: a standard deviation over frames"),
        Row("phase_mae_constant_rad", mean.phase_mae_constant_rad, "rad", detail="the best constant guess"),
        Row("amplitude_mae", mean.amplitude_mae, "1", detail=lit),
        Row("amplitude_mae_constant", mean.amplitude_mae_constant, "1", detail="the best constant guess"),
        Row(
            "stitched_phase_mae_rad", refined.phase_mae_rad, "rad", detail=f"whatever the order, {REFINE_SWEEPS} sweeps"
        ),
        Row("stitched_live_phase_mae_rad", live.phase_mae_rad, "rad", detail="as stitched on arrival"),
        Row("stitched_phase_mae_constant_rad", live.phase_mae_constant_rad, "rad", detail="the best constant guess"),
        Row("inference_ms", 1e3 * float(np.median(seconds)), "ms", detail="median a frame, ONNX Runtime, one thread"),
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
        spread = f"{row.spread[0]:.4g}..{row.spread[1]:.4g}" if row.spread else ""
        table.add_row(row.name, f"{row.value:.4g}", row.unit, spread, row.detail)
    Console().print(table)
    if json_file is not None:
        write(json_file, rows)


def _evaluate_scan(scan: Scan, reference: Reference, model: Path) -> list[Row]:
    split = block_split(pixel_positions(scan), FRAME_PX)
    modes, predict = load_probe(model / "probe.npy"), session_predict(model / "model.onnx")
    test = _frames(scan, split.test)
    rows = evaluate(test, reference.positions[split.test], predict, modes, reference.image)

    def judged(name: str, frames: NDArray[np.uint16], chosen: NDArray[np.intp], detail: str) -> list[Row]:
        errors = _judge(frames, reference.positions[chosen], predict, modes, reference.image)
        constant = Row(f"{name}_constant_rad", errors.phase_mae_constant_rad, "rad", detail="the best constant guess")
        return [Row(f"{name}_rad", errors.phase_mae_rad, "rad", detail=detail), constant]

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
