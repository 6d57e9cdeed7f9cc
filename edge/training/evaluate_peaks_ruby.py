"""Measured Bragg spots of ruby, against the list of HEXRD's spot finder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Float
from edge.physics.bootstrap import bootstrap
from edge.physics.peak_judging import Tally, pairs, tally
from edge.training.evaluate_peaks_finders import model_found
from edge.training.evaluate_peaks_places import percentiles
from edge.training.figures import Lines, Run
from edge.training.judged import Bar, Judged
from edge.training.measured_frames import RUBY_CUT, SEEN_BEFORE, RubyFrame, ruby_frames

LEVELS = (10.0, 40.0, 100.0)
"""Backgrounds in counts a pixel; of the highest, five deviations reach the cut."""

BACKGROUND_SEED = 4009
RECALL, PRECISION = Bar("at least", 0.95), Bar("at least", 0.90)
MISSING = "not run: --data names the folder with `ruby_hedm/ruby_ff1.npz`"
BY_PIXELS, BY_LENGTH = "3 pixels or more", "3 px long or more"


@dataclass(frozen=True)
class Seen:
    """One frame's result."""

    level: float
    tallies: dict[str, Tally]  # by how the list was cut
    errors: NDArray[np.float64]  # px [hits]


def with_background(frame: RubyFrame, level: float, rng: np.random.Generator) -> NDArray[np.uint16]:
    """The image with Poisson counts of mean `level` where the file holds nothing: below its cut."""
    noise = np.minimum(rng.poisson(level, frame.image.shape), RUBY_CUT).astype(np.uint16)
    return np.where(frame.image == 0, noise, frame.image)


def ruby(run: Run, folder: Path, count: int) -> list[Seen]:
    """`count` frames evenly over the scan; the levels take turns."""
    rng = np.random.default_rng(BACKGROUND_SEED)
    seen = []
    for index, frame in enumerate(ruby_frames(folder, count)):
        level = LEVELS[index % len(LEVELS)]
        found = model_found(run(with_background(frame, level, rng))).places
        cuts = {BY_PIXELS: frame.pixels >= 3, BY_LENGTH: frame.length >= 3}
        tallies = {name: tally(found, frame.places[sure], frame.places[~sure]) for name, sure in cuts.items()}
        spots = frame.places[cuts[BY_PIXELS]]
        matched = pairs(found, spots)
        seen.append(Seen(level, tallies, np.hypot(*(found[matched[:, 0]] - spots[matched[:, 1]]).T)))
    return seen


def ruby_lines(seen: Sequence[Seen]) -> Lines:
    """By background and by how the list is cut."""
    rows = []
    for name in (BY_PIXELS, BY_LENGTH):
        for level in sorted({one.level for one in seen}):
            chosen = [one for one in seen if one.level == level]
            total = sum((one.tallies[name] for one in chosen), Tally())
            rows.append(
                {
                    "list, background": f"{name}, {level:g} counts",
                    "frames": len(chosen),
                    "spots": total.hits + total.missed,
                    "found": total.hits,
                    "false": total.false,
                    "recall": total.recall,
                    "precision": total.precision,
                    "px 50/75/95 %": percentiles(np.concatenate([one.errors for one in chosen])),
                }
            )
    return rows


def ruby_rows(seen: Sequence[Seen]) -> list[Judged]:
    """Recall and precision on HEXRD's spots of 3 pixels or more; beside them those 3 px long or more."""
    return [*_rows(seen, BY_PIXELS, "", (RECALL,), (PRECISION,)), *_rows(seen, BY_LENGTH, "_long", (), ())]


def not_run() -> list[Judged]:
    """The rows where there is no such folder."""
    return [Judged(f"peaks_ruby_{word}", None, what=MISSING) for word in ("recall", "precision")]


def _rows(
    seen: Sequence[Seen], name: str, suffix: str, recall: Sequence[Bar], precision: Sequence[Bar]
) -> list[Judged]:
    each = [one.tallies[name] for one in seen]
    hits, false, missed = np.array([(one.hits, one.false, one.missed) for one in each], dtype=float).T
    total = sum(each, Tally())
    what = f"ruby, {len(seen)} frames, HEXRD's spots of {name}: {total.hits} of {total.hits + total.missed} found, "
    what += f"{total.false} false; {SEEN_BEFORE}"
    rows = (("recall", total.recall, hits + missed, recall), ("precision", total.precision, hits + false, precision))
    return [
        Judged(
            f"peaks_ruby_{word}{suffix}",
            value,
            interval=bootstrap(lambda drawn, of=of: _share(hits[drawn], of[drawn]), len(seen)),
            what=what,
            bars=bars,
        )
        for word, value, of, bars in rows
    ]


def _share(hits: Float, of: Float) -> float:
    return float(hits.sum() / of.sum()) if of.sum() else float("nan")
