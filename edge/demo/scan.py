"""What a ptychography demo streams: a simulated scan, or a measured one with the reference that belongs to it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.inference.repository import version_folder
from edge.models.card import CARD_FILE, parse_card
from edge.models.ptycho import FRAME_PX, OFFSET_PX, PATCH_PX
from edge.physics.demo_scene import demo_scan
from edge.physics.judging import PatchJudge, mean_errors, stitched_errors
from edge.physics.probe import load_probe, probe_intensity, probe_mask
from edge.physics.stitching import Canvas, canvas_for
from edge.reference import load_reference
from edge.scanfiles import open_scan
from edge.training.split import block_split, fingerprint

SIMULATED_FRAMES = 400
REFERENCE_NAME = "reference_rpie_3modes.npz"
"""A reconstruction that lies beside a measured scan under this name is compared with (`edge.reference`)."""

INSIDE = slice(OFFSET_PX, OFFSET_PX + PATCH_PX)


class ScanError(ValueError):
    """The scan cannot be shown by this demo; the text says why."""


@dataclass(frozen=True)
class Truth:
    """What the object is known, or believed, to look like."""

    image: NDArray[np.complex64]  # [rows, cols]
    positions: NDArray[np.float64]  # [n, 2] (row, col) of the frames in it, pixels
    judged: NDArray[np.intp]  # frames that the model has seen nothing of


@dataclass(frozen=True)
class PtychoScan:
    """Frames, where they were taken, and how to judge what comes out."""

    name: str
    count: int
    shape: tuple[int, int]  # (height, width) of a frame
    dtype: str
    frame: Callable[[int], NDArray[Any]]
    positions: NDArray[np.float64]  # [n, 2] (row, col) pixels of each full patch's first pixel
    probe: NDArray[np.complex64]  # [modes, height, width]
    reference: Truth | None

    @property
    def canvas(self) -> Canvas:
        """Where the patches are stitched."""
        return canvas_for(self.positions + OFFSET_PX, PATCH_PX)

    @property
    def patch_weight(self) -> NDArray[np.float32]:
        """How much light each pixel of an output patch had: [PATCH_PX, PATCH_PX]."""
        return probe_intensity(self.probe)[INSIDE, INSIDE]


def simulated(seed: int, frames: int | None) -> PtychoScan:
    """A scan of a made-up object with the probe and the flux that the model was trained for."""
    probe = _shipped_probe()
    scan = demo_scan(probe, SIMULATED_FRAMES, np.random.default_rng(seed))
    count = min(frames or len(scan.frames), len(scan.frames))
    positions = scan.positions[:count]
    reference = Truth(scan.truth, positions, np.arange(count))
    name = f"a simulated scan (seed {seed})"
    return PtychoScan(name, count, (FRAME_PX, FRAME_PX), "uint16", scan.frames.__getitem__, positions, probe, reference)


def measured(path: Path, reference: Path | None, frames: int | None) -> PtychoScan:
    """The first `frames` of the scan in `path`, with `reference` or the one that lies beside it.

    Raises:
        ScanFileError: a file cannot be read.
        ScanError: it is a scan, but none that the model can take.
    """
    with open_scan(path) as scan:
        if scan.shape != (FRAME_PX, FRAME_PX):
            height, width = scan.shape
            raise ScanError(
                f"{path} has frames of {height} x {width} pixels; the model takes {FRAME_PX} x {FRAME_PX}: "
                "cutting or binning them gives another probe or field, so train one: edge train ptycho --scan FILE"
            )
        if scan.positions is None or scan.position_units != "px":
            found = f"positions in {scan.position_units}" if scan.positions is not None else "no positions"
            raise ScanError(f"{path} has {found}; stitching needs them in pixels of the reconstruction")
        count = min(frames or scan.count, scan.count)
        images = np.stack([scan.frame(at) for at in range(count)])
        positions = scan.positions
    beside = path.parent / REFERENCE_NAME
    known = reference or (beside if beside.exists() else None)
    return PtychoScan(
        name=path.name,
        count=count,
        shape=(FRAME_PX, FRAME_PX),
        dtype=images.dtype.name,
        frame=images.__getitem__,
        positions=positions[:count],
        probe=_shipped_probe(),
        reference=_read_reference(known, positions, count) if known else None,
    )


def judge(scan: PtychoScan, phases: dict[int, np.ndarray], amplitudes: dict[int, np.ndarray]) -> dict[str, Any]:
    """Errors of single patches by image id, on frames that the model has seen nothing of; empty without any."""
    reference = scan.reference
    held_out = [at for at in reference.judged if int(at) in phases] if reference else []
    if reference is None or not held_out:
        return {}
    mask = probe_mask(scan.probe)[INSIDE, INSIDE]
    patch = PatchJudge(reference.image, mask, OFFSET_PX)
    errors = mean_errors(patch(amplitudes[int(at)], phases[int(at)], reference.positions[at]) for at in held_out)
    return {
        "judged_frames": len(held_out),
        "phase_mae_rad": errors.phase_mae_rad,
        "phase_mae_constant_rad": errors.phase_mae_constant_rad,
        "amplitude_mae": errors.amplitude_mae,
        "amplitude_mae_constant": errors.amplitude_mae_constant,
    }


def judge_stitched(scan: PtychoScan, amplitude: np.ndarray, phase: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    """Errors of the stitched image against the reference; empty without one."""
    truth = reference_on_canvas(scan)
    if truth is None:
        return {}
    errors = stitched_errors(amplitude, phase, weight, truth).errors
    return {
        "stitched_phase_mae_rad": errors.phase_mae_rad,
        "stitched_phase_mae_constant_rad": errors.phase_mae_constant_rad,
    }


def reference_on_canvas(scan: PtychoScan) -> NDArray[np.complex64] | None:
    """The part of the reference that the stitched image shows; None without a reference that covers it."""
    if scan.reference is None:
        return None
    offset = np.round((scan.reference.positions - scan.positions[: len(scan.reference.positions)]).mean(axis=0))
    canvas = scan.canvas
    origin = (canvas.origin[0] + int(offset[0]), canvas.origin[1] + int(offset[1]))
    try:
        return Canvas(canvas.shape, origin).cut(scan.reference.image)
    except ValueError:
        return None


def _shipped_probe() -> NDArray[np.complex64]:
    return load_probe(version_folder("ptycho") / "probe.npy")


def _read_reference(path: Path, positions: NDArray[np.float64], count: int) -> Truth:
    reference = load_reference(path)
    if reference.positions.shape != positions.shape:
        raise ScanError(f"{path} is a reference of {len(reference.positions)} frames, the scan has {len(positions)}")
    judged = _held_out(positions)
    return Truth(reference.image, reference.positions[:count], judged[judged < count])


def _held_out(positions: NDArray[np.float64]) -> NDArray[np.intp]:
    """Frames that share no pixel with those that gave the shipped probe and taught: all, of any other scan."""
    known = parse_card((version_folder("ptycho") / CARD_FILE).read_bytes()).extra.get("probe_scan")
    if known is None or fingerprint(positions) != known["positions_sha256"]:
        return np.arange(len(positions))
    return block_split(positions, known["patch_px"], known["test_fraction"]).test
