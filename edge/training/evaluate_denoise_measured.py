"""The denoiser on measured frames, which are thinned: a tenth of the photons, drawn by chance, predicts the rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from edge.physics.arrays import Bool, Float
from edge.physics.bootstrap import bootstrap, mean_interval, ratio_interval
from edge.physics.count_judging import FLOOR, GROUPS, count_groups, group_sums, pixel_groups, pulls, scores
from edge.scanfiles import Scan, open_scan
from edge.training.evaluate_denoise_cases import SEED, THINNED, thinned_cases
from edge.training.figures import Run
from edge.training.judged import Bar, Judged
from edge.training.rivals import bm3d
from edge.training.rivals.calling import interpreter_with, warn
from edge.training.scan_probe import pixel_positions
from edge.training.split import block_split

BIAS_PCT = 0.5
DEVIANCE = "denoise_vs_bm3d_deviance"
OTHER_FLOORS = 0.01, 3e-3, 1e-4
"""Counts: the deviance is of predictions of this at least. What is told must not hang on it."""

SEEDS = tuple(range(SEED, SEED + 6))
"""Of the thinnings by which the bias is judged; the first is that of everything else."""

TUNING_FRAMES = 24
"""Of the training block, for what has to be chosen before the test frames are looked at."""

FLAGGED = "not run: BM3D takes no flagged pixels, and the frames have some"
NO_BM3D = "not run: name a Python that has BM3D (PyPI bm3d, non-commercial) with --rival-python"


@dataclass(frozen=True)
class Thinned:
    """Measured frames, thinned, and what the model says of them; arrays [n, height, width]."""

    name: str
    images: NDArray[np.uint16]
    wanted: NDArray[np.float64]  # independent counts, scaled to the same exposure
    expected: NDArray[np.float64]
    variance: NDArray[np.float64]
    good: Bool  # where it is judged
    chosen: NDArray[np.intp]  # [n] indices into the scan
    rival: bm3d.Denoised | None = None


def unseen_frames(scan: Scan) -> NDArray[np.intp]:
    """Indices of the frames of which no training has seen anything. Raises ScanError without positions."""
    return block_split(pixel_positions(scan), scan.shape[0]).test


def thinned_scans(run: Run, scan_file: Path, count: int | None) -> list[Thinned]:
    """What the model says of `count` frames of the test block, evenly, or of all: a scan for each of the `SEEDS`.

    Raises ScanError, ScanFileError.
    """
    with open_scan(scan_file) as scan:
        chosen = unseen_frames(scan)
        if count is not None and count < len(chosen):
            chosen = chosen[np.linspace(0, len(chosen) - 1, count).astype(int)]
        frames = [scan.frame(int(index)) for index in chosen]
    return [thinned(run, scan_file.name, frames, chosen, seed) for seed in SEEDS]


def tuning_scan(run: Run, scan_file: Path) -> Thinned:
    """The same of some frames of the training block, where all settings are chosen. Raises ScanError, ScanFileError."""
    with open_scan(scan_file) as scan:
        seen = block_split(pixel_positions(scan), scan.shape[0]).training
        chosen = seen[np.linspace(0, len(seen) - 1, min(TUNING_FRAMES, len(seen))).astype(int)]
        frames = [scan.frame(int(index)) for index in chosen]
    return thinned(run, scan_file.name, frames, chosen, SEED)


def thinned(
    run: Run, name: str, frames: Sequence[NDArray[np.unsignedinteger]], chosen: NDArray[np.intp], seed: int
) -> Thinned:
    """The `frames` with the indices `chosen` of the scan `name`, thinned by `seed`, and what the model says of them."""
    cases = thinned_cases(frames, seed)
    said = [run(case.image) for case in cases]
    expected, variance = (np.stack([one[name] for one in said]).astype(np.float64) for name in ("expected", "variance"))
    images, wanted, good = (np.stack(arrays) for arrays in zip(*cases, strict=True))
    return Thinned(name, images, wanted, expected, variance, good, chosen)


def with_bm3d(seen: Thinned, pythons: tuple[Path, ...], work: Path | None) -> Thinned:
    """The same with what BM3D says, where one of `pythons` has it and no pixel is flagged. Raises RivalError."""
    python = interpreter_with(pythons, bm3d.MODULE, warn) if seen.good.all() else None
    if python is None:
        return seen
    with Console(stderr=True).status("BM3D") as status:

        def hear(done: int) -> None:
            status.update(f"BM3D, {done} of {len(seen.images)} frames")

        found = bm3d.denoised(seen.images, python, work, hear)
    return replace(seen, rival=found)


def against_bm3d(seen: Thinned) -> list[Judged]:
    """Errors of the model over those of BM3D, the same frames drawn together for the interval."""
    if seen.rival is None:
        why = NO_BM3D if seen.good.all() else FLAGGED
        return [Judged(f"denoise_vs_bm3d_{name}", None, what=why) for name in ("mse", "deviance")]
    ours, theirs = (scores(counts, seen.wanted, good=seen.good) for counts in (seen.expected, seen.rival.counts))
    below = [Bar("below", 1.0, "high")]
    found = [
        _over("denoise_vs_bm3d_mse", "mean square error", ours.square, theirs.square, below),
        _over(DEVIANCE, f"Poisson deviance a pixel, floor {FLOOR:g} counts", ours.deviance, theirs.deviance, below),
    ]
    for floor in OTHER_FLOORS:
        ours, theirs = (scores(counts, seen.wanted, floor, seen.good) for counts in (seen.expected, seen.rival.counts))
        what = f"the same, floor {floor:g} counts"
        found.append(_over(f"{DEVIANCE}/floor {floor:g}", what, ours.deviance, theirs.deviance, []))
    return found


def _over(name: str, what: str, above: Float, below: Float, bars: Sequence[Bar]) -> Judged:
    told = f"{what}, {above.mean():.4g} against {below.mean():.4g}; {len(above)} frames"
    return Judged(name, float(above.sum() / below.sum()), "1", ratio_interval(above, below), told, bars)


def bias(scans: Sequence[Thinned]) -> list[Judged]:
    """Of groups of pixels, dim to bright by what is predicted, the one that is most off: over all thinnings together,
    and beside it of each alone. "Count decile" may be read in two ways, and both are held to the bar."""
    kinds = (
        ("denoise_bias_pct", count_groups, "ten groups with equal shares of the predicted counts"),
        ("denoise_bias_pct/equal pixels", pixel_groups, "ten groups with equal numbers of pixels, so most are dark"),
    )
    return [_bias(name, group, what, scans) for name, group, what in kinds]


def _bias(name: str, group: Callable[[Float], NDArray[np.intp]], what: str, scans: Sequence[Thinned]) -> Judged:
    parts = [_group_counts(one, group) for one in scans]  # [2, frames, groups] each
    said, was = np.sum(parts, axis=0)
    off = _percent(said.sum(axis=0), was.sum(axis=0))
    worst = int(np.nanargmax(np.abs(off)))
    interval = bootstrap(
        lambda drawn: float(_percent(said[drawn, worst].sum(), was[drawn, worst].sum())), len(said), draws=1000
    )
    alone = [_percent(one[0].sum(axis=0), one[1].sum(axis=0)) for one in parts]
    each = [float(one[np.nanargmax(np.abs(one))]) for one in alone]
    # A share THINNED / (1 - THINNED) of the rest's counts is in `wanted`; thinnings of one frame share its photons.
    noise = 100 / np.sqrt(np.maximum(was.sum(axis=0) / len(scans) * (1 - THINNED) / THINNED, 1))
    told = (
        f"the worst of {what}: group {worst + 1}, counting noise {noise[worst]:.2f} %; {len(scans)} thinnings together,"
        f" the worst of each alone {', '.join(f'{one:+.2f}' for one in each)}"
    )
    more = {"groups": [float(one) for one in off], "counting noise": [float(one) for one in noise], "each": each}
    return Judged(
        name, float(off[worst]), "%", interval, told, [Bar("at least", -BIAS_PCT), Bar("at most", BIAS_PCT)], more
    )


def _group_counts(seen: Thinned, group: Callable[[Float], NDArray[np.intp]]) -> NDArray[np.float64]:
    """Predicted and independent counts [2, frames, groups] of the good pixels, the groups from these alone."""
    groups = np.zeros(seen.expected.shape, dtype=np.intp)
    groups[seen.good] = group(seen.expected[seen.good])
    return np.array([group_sums(values * seen.good, groups) for values in (seen.expected, seen.wanted)])


def _percent(said: Float, was: Float) -> NDArray[np.float64]:
    """By how much it is more; not-a-number of a group that holds nothing, as one bright pixel may leave them."""
    said, was = np.asarray(said), np.asarray(was)
    return 100 * (np.where(was > 0, said, np.nan) / np.where(was > 0, was, 1.0) - 1)


def calibration(seen: Thinned) -> Judged:
    """Deviation of the errors in units of what the model says it is; 1 is right."""
    noise = seen.expected * THINNED / (1 - THINNED)
    square = pulls(seen.expected, seen.variance, seen.wanted, noise) ** 2
    a_frame = square.mean(axis=(1, 2), where=seen.good)
    low, high = mean_interval(a_frame)
    groups = count_groups(seen.expected[seen.good])
    share = np.bincount(groups, square[seen.good], GROUPS) / np.maximum(np.bincount(groups, minlength=GROUPS), 1)
    told = "deviation of (counts - expected) / sqrt(variance + counting noise), all good pixels"
    more = {"by tenths of the counts": [float(one) for one in np.sqrt(share)]}
    interval = float(np.sqrt(low)), float(np.sqrt(high))
    return Judged("denoise_pull", float(np.sqrt(a_frame.mean())), "1", interval, told, more=more)
