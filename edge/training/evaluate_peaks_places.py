"""How exact the places are, and how true the probabilities, on the frames of the sweep."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Bool, Float
from edge.physics.calibration import Reliability, error_interval, reliability
from edge.physics.patches_fitted import brightest_pixel, centre_of_mass, known_counts, log_parabola, pseudo_voigt_fit
from edge.physics.peak_judging import Found, pairs
from edge.physics.spots import FLAG, SpotFrame
from edge.training.evaluate_peaks_finders import truth
from edge.training.evaluate_peaks_sweep import MODEL, Line
from edge.training.figures import Lines, Percentiles
from edge.training.judged import Bar, Judged

PATCH_PX = 11
FITTED = 100
"""Spots a ratio to which profiles are fitted, and which the other places are compared on."""

BACKGROUND_LIMITS = (0.0, 1000.0)
"""Counts a pixel."""
CALIBRATED = Bar("at most", 0.05)


def place_lines(lines: Sequence[Line]) -> Lines:
    """Distance to the truth of the same spots, by signal to noise and by what says where they are."""
    rows = []
    for line in lines:
        patches, corners, said, drawn = _matched(line)
        if not len(patches):
            continue
        counts = known_counts(patches)
        fitted = pseudo_voigt_fit(counts, np.isfinite(counts), weighted=True, background=BACKGROUND_LIMITS)
        places = {"model": said} | {
            name: corners + local
            for name, local in (
                ("brightest pixel", brightest_pixel(counts)),
                ("centre of mass", centre_of_mass(counts)),
                ("log-parabola", log_parabola(counts)),
                ("pseudo-Voigt fit", fitted.centre),
            )
        }
        away = {name: percentiles(np.hypot(*(where - drawn).T)) for name, where in places.items()}
        rows.append({"signal to noise": line.ratio, "spots": len(drawn), **away})
    return rows


def calibration(frames: Sequence[SpotFrame], found: Sequence[Found]) -> tuple[NDArray[np.float64], Bool]:
    """Stated probabilities [n] of what was found, and whether it is a spot [n]; what is partly hidden is left out."""
    stated, right = [], []
    for frame, one in zip(frames, found, strict=True):
        seen, hidden = truth(frame)
        hit = np.zeros(len(one.places), dtype=bool)
        hit[pairs(one.places, seen)[:, 0]] = True
        doubtful = np.zeros(len(one.places), dtype=bool)
        doubtful[pairs(one.places, hidden)[:, 0]] = True
        stated.append(one.scores[hit | ~doubtful])
        right.append(hit[hit | ~doubtful])
    return np.concatenate(stated), np.concatenate(right)


def reliability_of(lines: Sequence[Line]) -> Reliability:
    """Of all that the model listed in the sweep."""
    parts = [calibration(line.frames, line.found[MODEL]) for line in lines]
    return reliability(np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts]))


def by_ratio_lines(lines: Sequence[Line]) -> Lines:
    """Of each signal-to-noise ratio alone: errors of opposite sign cancel where all are together."""
    rows = []
    for line in lines:
        stated, right = calibration(line.frames, line.found[MODEL])
        told = {"stated": float(np.mean(stated)), "true": float(np.mean(right))} if len(stated) else _UNSTATED
        error = reliability(stated, right).error
        rows.append({"signal to noise": line.ratio, "peaks": len(stated), **told, "calibration error": error})
    return rows


def reliability_lines(found: Reliability) -> Lines:
    """Its table."""
    bins = zip(found.stated, found.true, found.count, strict=True)
    return [
        {"probability": f"{at / len(found.count):.1f}", "peaks": int(count), "stated": stated, "true": true}
        for at, (stated, true, count) in enumerate(bins)
        if count
    ]


def calibration_row(lines: Sequence[Line]) -> Judged:
    """Expected calibration error of the whole sweep; beside it, in the row alone, of each ratio."""
    found = reliability_of(lines)
    frames = [
        reliability(*calibration([frame], [one]))
        for line in lines
        for frame, one in zip(line.frames, line.found[MODEL], strict=True)
    ]
    each = {f"{row['signal to noise']:g}": row["calibration error"] for row in by_ratio_lines(lines)}
    what = f"expected calibration error of {int(found.count.sum())} listed peaks of the sweep, {len(found.count)} bins"
    told = {"by signal to noise": each}
    return Judged("peaks_ece", found.error, "1", error_interval(frames), what, (CALIBRATED,), told)


def percentiles(errors: Float) -> Percentiles:
    """At 50, 75 and 95 %; NaN of nothing."""
    return Percentiles(*(float(one) for one in np.percentile(errors, [50, 75, 95]))) if len(errors) else _NOTHING


_UNSTATED = {"stated": np.nan, "true": np.nan}
_NOTHING = Percentiles(np.nan, np.nan, np.nan)


def _matched(line: Line) -> tuple[NDArray[np.uint16], Float, Float, Float]:
    """Of spots that the model found: patches [n, 11, 11], the places of their first pixels, what the model says and
    what was drawn, [n, 2] each."""
    patches, corners, said, drawn = [], [], [], []
    half = PATCH_PX // 2
    for frame, found in zip(line.frames, line.found[MODEL], strict=True):
        seen, _ = truth(frame)
        image = np.pad(frame.image, half, constant_values=FLAG)
        for ours, theirs in pairs(found.places, seen):
            row, col = np.rint(found.places[ours]).astype(int)
            patches.append(image[row : row + PATCH_PX, col : col + PATCH_PX])
            corners.append((row - half, col - half))
            said.append(found.places[ours])
            drawn.append(seen[theirs])
    # Evenly over the frames.
    chosen = np.unique(np.linspace(0, len(drawn) - 1, min(FITTED, len(drawn))).astype(int)) if drawn else []
    pick = [np.array([each[at] for at in chosen]) for each in (patches, corners, said, drawn)]
    return pick[0], pick[1], pick[2], pick[3]
