"""Hit or blank: simulated frames of serial crystallography told apart by what is found in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.physics.bootstrap import bootstrap
from edge.physics.calibration import auc, kept_at
from edge.physics.peak_judging import Found
from edge.physics.serial import serial_frame
from edge.training.evaluate_peaks_finders import SHAPE, model_found
from edge.training.figures import Lines, Run
from edge.training.judged import Bar, Judged
from edge.training.rivals.peakfinder8 import Settings, find

SERIAL_SEED = 4006
HIT_RECALL = 0.99
TOLD = Bar("at least", 0.99)
GROUP = 8
"""Frames that are in memory together."""


@dataclass(frozen=True)
class Told:
    """Scores [frames] by method, and which frames are hits [frames]."""

    scores: dict[str, NDArray[np.float64]]
    hits: NDArray[np.bool_]


def told(run: Run, count: int, rival: tuple[Path, Settings] | None) -> Told:
    """`count` hits and as many blanks. Raises RivalError."""
    rng = np.random.default_rng(SERIAL_SEED)
    hits = np.arange(2 * count) % 2 == 0
    ours: list[Found] = []
    theirs: list[Found] = []
    for start in range(0, len(hits), GROUP):
        made = [serial_frame(SHAPE, bool(hit), rng) for hit in hits[start : start + GROUP]]
        ours += [model_found(run(frame.image)) for frame in made]
        if rival is not None:
            answers, _ = find(rival[0], [(frame.image, frame.beam) for frame in made], [rival[1]])
            theirs += answers[0]
    scores = {"count and score": np.array([count_and_score(one) for one in ours])}
    scores |= {"count": _counts(ours), "score": np.array([one.scores.sum() for one in ours])}
    if rival is not None:
        scores["peakfinder8's count, tuned on the sweep"] = _counts(theirs)
    return Told(scores, hits)


def count_and_score(found: Found) -> float:
    """The number of peaks, and among equal numbers the mean probability (below one)."""
    return len(found.scores) + 0.999 * float(np.mean(found.scores)) if len(found.scores) else 0.0


def serial_lines(seen: Told) -> Lines:
    """By method: how well hits are told from blanks, and what is kept at 99 % of the hits."""
    rows = []
    for method, scores in seen.scores.items():
        hits, blanks = kept_at(HIT_RECALL, scores, seen.hits)
        kept = {"hits kept": hits, "blanks kept": blanks, "kept of 1 hit in 10": 0.1 * hits + 0.9 * blanks}
        rows.append({"told by": method, "frames": len(seen.hits), "AUC": auc(scores, seen.hits), **kept})
    return rows


def serial_rows(seen: Told) -> list[Judged]:
    """Area under the curve, and the share of the data kept at 99 % of the hits."""
    scores = seen.scores["count and score"]

    def kept(drawn: NDArray[np.intp] | slice) -> float:
        hits, blanks = kept_at(HIT_RECALL, scores[drawn], seen.hits[drawn])
        return 0.1 * hits + 0.9 * blanks

    share = kept(slice(None))
    known = np.isfinite(share)
    few = "not run: so few hits that none may be lost, give more --frames; "
    frames = f"{len(seen.hits)} simulated frames of 1024 x 1024, half of them hits"
    return [
        Judged(
            "peaks_hit_auc",
            auc(scores, seen.hits),
            interval=bootstrap(lambda drawn: auc(scores[drawn], seen.hits[drawn]), len(scores)),
            what=f"by count, then probability; {frames}",
            bars=(TOLD,),
        ),
        Judged(
            "peaks_hit_data_kept",
            share if known else None,
            interval=bootstrap(kept, len(scores)) if known else None,
            what=("" if known else few)
            + f"share of a run with one hit in ten, {100 * HIT_RECALL:g} % of the hits kept; {frames}",
        ),
    ]


def _counts(found: Sequence[Found]) -> NDArray[np.float64]:
    return np.array([len(one.places) for one in found], dtype=np.float64)
