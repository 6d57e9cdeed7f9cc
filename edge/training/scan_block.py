"""What of a measured scan a ptychography training may learn from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.models.ptycho import Geometry
from edge.models.spec import SENTINELS
from edge.physics.arrays import Complex
from edge.physics.coarser import cropped
from edge.physics.diffraction import MAX_UINT16_COUNT
from edge.physics.probe import flux, probe_intensity
from edge.scanfiles import Scan
from edge.training.scan_probe import ASK, ScanError, file_guess, pixel_positions
from edge.training.split import Split, block_split

MOST_OFF = 2.0
"""Between the photons of a probe and of the frames: weak absorption and a drifting current explain less."""


@dataclass(frozen=True)
class Block:
    """What of a scan may be learned from."""

    frames: NDArray[np.uint16]  # [n, size, size] counts, 0 where flagged
    good: NDArray[np.bool_]  # [n, size, size]
    split: Split | None = None  # None: the scan tells no positions in pixels, and all frames were taken

    def cropped(self, size_px: int) -> "Block":
        """The middles of the frames, [n, size_px, size_px]."""
        return Block(cropped(self.frames, size_px), cropped(self.good, size_px), self.split)


def check_scan(scan: Scan, probe: Complex | None, geometry: Geometry) -> None:
    """Before anything is begun: raises ScanError where the scan, or the probe that was handed in, does not suit."""
    size = geometry.frame_px
    height, width = scan.shape
    if height != width or height % size:
        raise ScanError(
            f"the model takes frames of {size} x {size}, cropped from a multiple; these are {height} x {width}: cut "
            "such a part around the beam out of them, --size 64 takes the smallest"
        )
    if probe is None:
        _check_findable(scan)
        return
    if probe.shape[1:] not in (scan.shape, (size, size)):
        raise ScanError(
            f"the probe is {probe.shape[1:]}, the frames are {scan.shape} and the model takes {(size, size)}"
        )
    if not len(probe) or not np.isfinite(probe).all() or not probe.any():
        raise ScanError("the probe that was handed in is zero or not finite")
    intensity = probe_intensity(probe)
    if _middle(np.fft.fftshift(intensity)) > _middle(intensity):
        raise ScanError(
            "the probe lies in the corners of its array: bring it to the middle, as numpy.fft.fftshift does"
        )


def _check_findable(scan: Scan) -> None:
    if scan.positions is None:
        raise ScanError(f"the scan holds no positions, without which its probe cannot be found: {ASK}")
    if scan.position_units != "px":
        raise ScanError(
            "the scan holds positions in metres and does not tell how large a pixel of the object is: give "
            "--object-pixel NM, wavelength x distance / (pixels of a frame as served x pixel of the detector)"
        )
    file_guess(scan)


def _middle(image: NDArray[np.float32]) -> float:
    height, width = image.shape
    return float(image[height // 4 : -(height // 4), width // 4 : -(width // 4)].sum(dtype=np.float64))


def in_counts(probe: Complex, block: Block) -> tuple[NDArray[np.complex64], str]:
    """The probe in the roots of the counts of the block's frames, and what was done in words ("" if nothing).

    Left as it is where its photons are the frames' within `MOST_OFF`. Raises ScanError for frames without counts and
    for a probe whose far field is not where theirs is.
    """
    frames = cropped(block.frames, probe.shape[-1]).astype(np.float64)
    counts, given = float(frames.sum() / len(frames)), flux(probe)
    if not counts > 0:
        raise ScanError("the frames hold no counts")
    _check_centred(probe, frames.mean(axis=0))
    if 1 / MOST_OFF <= given / counts <= MOST_OFF:
        return probe.astype(np.complex64), ""
    scaled = (probe * np.sqrt(counts / given)).astype(np.complex64)
    return scaled, f"the probe gives {given:.3g} photons a frame and the frames hold {counts:.3g}: scaled to those"


def _check_centred(probe: Complex, mean: NDArray[np.float64]) -> None:
    field = np.sqrt(probe_intensity(np.fft.fftshift(np.fft.fft2(probe, norm="ortho"), axes=(1, 2))))
    seen = np.sqrt(mean)
    match = np.fft.ifft2(np.fft.fft2(seen - seen.mean()) * np.fft.fft2(field - field.mean()).conj()).real
    size = len(mean)
    shift = (np.array(np.unravel_index(np.argmax(match), match.shape)) + size // 2) % size - size // 2
    if np.abs(shift).max() > size // 8:
        raise ScanError(
            f"the far field of the probe lies {-shift[0]}, {-shift[1]} pixels (row, col) from that of the frames: "
            "centre the beam of both, or turn the probe as the frames are"
        )


def training_block(scan: Scan, probe_known: bool) -> Block:
    """Frames of the training block; all frames where there are no positions to split by and the probe is known.

    Raises ScanError where the probe must be found and positions are missing.
    """
    split = None
    if not probe_known or scan.position_units == "px":
        try:
            split = block_split(pixel_positions(scan), max(scan.shape))
        except ValueError as error:
            if not probe_known:
                raise ScanError(f"{error}; {ASK}, and all frames are taken") from error
    return block_of(scan, np.arange(scan.count) if split is None else split.training, split)


def block_of(scan: Scan, chosen: NDArray[np.intp], split: Split | None = None) -> Block:
    """The `chosen` frames."""
    frames, good = [], []
    for index in chosen:
        frame = scan.frame(int(index))
        good.append(frame < SENTINELS[frame.dtype.itemsize])
        frames.append(np.where(good[-1], np.minimum(frame, MAX_UINT16_COUNT), 0).astype(np.uint16))
    return Block(np.stack(frames), np.stack(good), split)
