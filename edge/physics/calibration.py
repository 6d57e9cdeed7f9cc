"""Whether probabilities are true ones, and how well a score tells two kinds apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from edge.physics.arrays import Bool, Float
from edge.physics.bootstrap import bootstrap

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Arrays [bins] over equal steps of the stated probability from 0 to 1; NaN where nothing was stated."""

    stated: NDArray[np.float64]  # mean probability
    true: NDArray[np.float64]  # share that was right
    count: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: |stated - true|, averaged over all that was stated (Naeini et al., AAAI 2015)."""
        if not self.count.sum():
            return float("nan")
        filled = self.count > 0
        return float(np.average(np.abs(self.stated - self.true)[filled], weights=self.count[filled]))


def reliability(probability: Float, right: Bool, bins: int = BINS) -> Reliability:
    """Compares `probability` [n] with whether it came true [n]."""
    where = np.clip((np.asarray(probability) * bins).astype(int), 0, bins - 1)
    count = np.bincount(where, minlength=bins)
    with np.errstate(invalid="ignore"):
        stated = np.bincount(where, probability, bins) / count
        true = np.bincount(where, np.asarray(right, dtype=np.float64), bins) / count
    return Reliability(stated, true, count)


def error_interval(parts: Sequence[Reliability]) -> tuple[float, float]:
    """The interval of the expected calibration error of all `parts` together, one a frame, frames drawn anew.

    Raises ValueError for less than two.
    """
    sums = np.array([(np.nan_to_num(one.stated) * one.count, np.nan_to_num(one.true) * one.count) for one in parts])
    count = np.array([one.count for one in parts])

    def error(drawn: NDArray[np.intp]) -> float:
        stated, true = sums[drawn].sum(axis=0)
        there = count[drawn].sum()
        return float(np.abs(stated - true).sum() / there) if there else float("nan")

    return bootstrap(error, len(parts))


def auc(scores: Float, wanted: Bool) -> float:
    """Area under the curve of recall against false alarms: the chance that a wanted one scores higher than another,
    equal scores counting half. NaN where one of the kinds is missing."""
    wanted = np.asarray(wanted, dtype=bool)
    ours, others = int(wanted.sum()), int((~wanted).sum())
    if not ours or not others:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[wanted].sum() - ours * (ours + 1) / 2) / (ours * others))


def kept_at(recall: float, scores: Float, wanted: Bool) -> tuple[float, float]:
    """Shares of the wanted and of the others that score at least as high as the limit that keeps `recall` of the
    wanted; NaN of what there is none of, and where so few are wanted that none may be lost: then the faintest alone
    would set the limit."""
    wanted = np.asarray(wanted, dtype=bool)
    ours = np.sort(np.asarray(scores, dtype=np.float64)[wanted])
    lost = int(np.floor((1 - recall) * len(ours) + 1e-9))
    if not len(ours) or (recall < 1 and not lost):
        return float("nan"), float("nan")
    limit = ours[lost]
    kept = np.asarray(scores) >= limit
    others = kept[~wanted]
    return float(kept[wanted].mean()), float(others.mean()) if len(others) else float("nan")
