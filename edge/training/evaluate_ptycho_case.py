"""What a ptychography model is judged on: the test block of a measured scan, and a reference reconstruction of it."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.models.spec import SENTINELS
from edge.physics.arrays import Bool, Complex, Float
from edge.physics.coarser import cropped, decimated, narrowed
from edge.physics.judging import Errors, PatchJudge
from edge.physics.probe import probe_intensity, probe_mask
from edge.reference import Reference
from edge.scanfiles import Scan
from edge.training.evaluate_ptycho_served import Answers
from edge.training.scan_probe import ScanError, pixel_positions
from edge.training.split import block_split

FLAGGED_FROM = SENTINELS[2]


@dataclass(frozen=True)
class Block:
    """Frames of a part of a scan, and where they lie in the reference."""

    frames: NDArray[np.uint16]  # [n, height, width]
    positions: NDArray[np.float64]  # [n, 2] (row, col) of each full patch's first pixel in the reference

    def part(self, chosen: slice | NDArray[np.intp]) -> "Block":
        """Only some of the frames."""
        return Block(self.frames[chosen], self.positions[chosen])

    @property
    def counts(self) -> NDArray[np.float32]:
        """Counts [n, height, width], NaN where the detector gave a flag."""
        return np.where(self.frames < FLAGGED_FROM, self.frames, np.nan).astype(np.float32)

    @property
    def measured(self) -> Bool:
        """Pixels that hold counts, [n, height, width]: all that are not flagged."""
        return self.frames < FLAGGED_FROM


@dataclass(frozen=True)
class Case:
    """All that the judges need. `modes` are those that the model was trained with."""

    test: Block
    training: Block
    whole: Block  # of every frame of the scan
    reference: NDArray[np.complex64]  # [rows, cols]
    modes: NDArray[np.complex64]  # [modes, height, width]
    patch_px: int
    guess: NDArray[np.complex64] | None = None  # of the probe, in the scan's file [height, width]

    @property
    def frame_px(self) -> int:
        return self.modes.shape[-1]

    @property
    def offset_px(self) -> int:
        """From a frame's position to its patch's first pixel."""
        return (self.frame_px - self.patch_px) // 2

    @property
    def inside(self) -> slice:
        """The patch in the full one, in both directions."""
        return slice(self.offset_px, self.offset_px + self.patch_px)

    @property
    def weight(self) -> NDArray[np.float32]:
        """The probe's intensity on the patch [patch, patch]."""
        return probe_intensity(self.modes)[self.inside, self.inside]

    @property
    def mask(self) -> Bool:
        """Pixels of the patch that are judged: those with a quarter of the probe's peak intensity or more."""
        return probe_mask(self.modes)[self.inside, self.inside]

    def judged(self, answers: Answers, positions: Float) -> list[Errors]:
        """Errors of each patch, one constant a patch removed, against the reference at `positions` [n, 2]."""
        judge = PatchJudge(self.reference, self.mask, self.offset_px)
        return [judge(*one) for one in zip(answers.amplitude, answers.phase, positions, strict=True)]


def open_case(scan: Scan, reference: Reference, modes: Complex, patch_px: int) -> Case:
    """The case of a scan for a model with the probe `modes` [modes, n, n] and patches of `patch_px`.

    Where the scan has a whole multiple of the model's pixels, its frames are cropped around the beam and everything in
    the object becomes coarser by that factor, as in training. Blocks are split in the scan's own pixels, a patch apart.
    Raises ScanError where frames or positions do not fit.
    """
    frame_px = modes.shape[-1]
    factor = scan.shape[0] // frame_px
    if factor < 1 or scan.shape != (factor * frame_px, factor * frame_px):
        raise ScanError(
            f"the model takes {frame_px} x {frame_px} pixels or a whole multiple, the scan has {scan.shape}"
        )
    if len(reference.positions) != scan.count:
        raise ScanError(f"the reference is of {len(reference.positions)} frames, the scan has {scan.count}")
    split = block_split(pixel_positions(scan), scan.shape[0])
    frames = np.stack([scan.frame(index) for index in range(scan.count)])
    flagged = frames >= SENTINELS[frames.dtype.itemsize]
    frames = np.where(flagged, np.uint16(65535), np.minimum(frames, int(FLAGGED_FROM) - 1)).astype(np.uint16)
    whole = Block(cropped(frames, frame_px), reference.positions / factor)
    image = reference.image if factor == 1 else decimated(reference.image, factor)
    guess = None if scan.probe is None else narrowed(scan.probe.reshape(-1, *scan.shape)[0], frame_px)
    return Case(whole.part(split.test), whole.part(split.training), whole, image, modes, patch_px, guess)


def off_centre(block: Block, rows: int = 1) -> Block:
    """The same frames with the beam some pixels too low."""
    return replace(block, frames=np.roll(block.frames, rows, axis=1))


def thinned(block: Block, share: float, rng: np.random.Generator) -> Block:
    """The same frames as a `share` of the dose would have given them: each photon stays with that chance."""
    counts = np.where(block.measured, block.frames, 0).astype(np.int64)
    return replace(block, frames=np.where(block.measured, rng.binomial(counts, share), block.frames).astype(np.uint16))
