"""What a finder finds at a given number of false finds: for comparing finders whose settings mean different things."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from edge.physics.anscombe import anscombe
from edge.physics.arrays import Bool, Float
from edge.physics.peak_judging import WITHIN_PX, Found

AROUND_PX, APART_PX = 21, 5
FAINTEST = 2.0
"""Deviations; noise alone has a few such maxima in every thousand pixels."""


@dataclass(frozen=True)
class Ranked:
    """What was found in many frames, the surest first; arrays [found]."""

    frame: NDArray[np.intp]
    true: Bool
    spots: NDArray[np.intp]  # [frames] how many there are to find

    @property
    def frames(self) -> int:
        """How many there are, also such where nothing was found."""
        return len(self.spots)

    @property
    def false_per_frame(self) -> float:
        """Of all that was found."""
        return float(np.sum(~self.true)) / self.frames

    @property
    def best(self) -> tuple[float, float]:
        """The highest F1 of all thresholds, and how many are false a frame with that one."""
        hits, false = np.cumsum(self.true), np.cumsum(~self.true)
        f1 = 2 * hits / np.maximum(hits + false + self.spots.sum(), 1)
        if not len(f1):
            return 0.0, 0.0
        at = int(np.argmax(f1))
        return float(f1[at]), float(false[at]) / self.frames

    def hits(self, false_per_frame: float, drawn: NDArray[np.intp]) -> tuple[float, float]:
        """How many spots are found before there are more than so many false ones, and how many there are; `drawn` are
        indices of frames, with repeats."""
        weight = np.bincount(drawn, minlength=self.frames).astype(np.float64)
        of_each = weight[self.frame]
        within = np.cumsum(of_each * ~self.true) <= false_per_frame * len(drawn)
        return float((of_each * self.true * within).sum()), float(weight @ self.spots)

    def recall(self, false_per_frame: float) -> float:
        """Share of the spots that is found; NaN where there are none."""
        found, there = self.hits(false_per_frame, np.arange(self.frames))
        return found / there if there else float("nan")


def ranked(found: Sequence[Found], truth: Sequence[Float]) -> Ranked:
    """Judges what was `found` in each frame by the places `truth` [m, 2] of its spots.

    The surest takes the nearest spot within `WITHIN_PX` that is left; what gets none is false.
    """
    scores, frames, true = [], [], []
    for index, (one, places) in enumerate(zip(found, truth, strict=True)):
        left = np.ones(len(places), dtype=bool)
        for at in np.argsort(-one.scores, kind="stable"):
            away = np.where(left, np.hypot(*(places - one.places[at]).T), np.inf)
            best = int(np.argmin(away)) if len(away) else -1
            hit = best >= 0 and bool(away[best] <= WITHIN_PX)
            if hit:
                left[best] = False
            scores.append(one.scores[at])
            frames.append(index)
            true.append(hit)
    order = np.argsort(-np.array(scores, dtype=np.float64), kind="stable")
    spots = np.array([len(places) for places in truth], dtype=np.intp)
    return Ranked(np.array(frames, dtype=np.intp)[order], np.array(true, dtype=bool)[order], spots)


def matched_filter(image: Float, sigma_px: float) -> Found:
    """Local maxima of the stabilised image, smoothed over `sigma_px`; the score is in deviations of the whole image."""
    root = anscombe(image)
    smooth = ndimage.gaussian_filter(root - ndimage.uniform_filter(root, AROUND_PX), sigma_px)
    noise = 1.4826 * float(np.median(np.abs(smooth - np.median(smooth))))
    score = smooth / max(noise, 1e-9)
    places = np.argwhere((ndimage.maximum_filter(smooth, APART_PX) == smooth) & (score > FAINTEST))
    return Found(places.astype(np.float64), score[tuple(places.T)])
