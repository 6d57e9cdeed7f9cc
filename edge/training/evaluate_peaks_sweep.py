"""What is found against how far spots stand out, by the model and by tuned rivals on the same frames."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Float
from edge.physics.bootstrap import bootstrap
from edge.physics.peak_judging import Found, Tally
from edge.physics.spots import SpotFrame
from edge.training.evaluate_peaks_finders import RATIOS, frames, judged, matched_filter, model_found, sweep_kind
from edge.training.figures import Run
from edge.training.judged import Bar, Judged
from edge.training.rivals.peakfinder8 import MISSING, Settings, best, find, grid

TUNING_SEED, TEST_SEED, OVERLAPPING_SEED = 4071, 4001, 4003
"""No model, and no setting of one, was ever chosen by frames of these seeds."""

TUNING_FRAMES, FIRST_FRAMES = 16, 4
"""For every ratio, of other seeds than those of the test. All settings are tried on the first few, the best on all."""

SHORT, SHORT_ONE = 24, 12
"""How many settings are tried on all tuning frames: the best at a ratio, and the best over the whole sweep."""

WORST, MEAN = Bar("at least", -0.005), Bar("above", 0.0)
MODEL, FILTER = "model", "matched filter"
PF8_EACH, PF8_ONE = "peakfinder8, tuned at each ratio", "peakfinder8, one setting"
PF8_BEST = "peakfinder8, best on these very frames"
"""Of the shorter list of settings, with the test frames' truth in hand: what better tuning could still give it."""


@dataclass(frozen=True)
class Tuned:
    """peakfinder8's settings with the best F1 on the tuning frames."""

    each: Sequence[Settings]  # one a ratio
    one: Settings  # for the whole sweep
    short: Sequence[Sequence[Settings]]  # by ratio, those that did best


@dataclass(frozen=True)
class Line:
    """One signal-to-noise ratio of the sweep."""

    ratio: float
    frames: Sequence[SpotFrame]
    found: Mapping[str, Sequence[Found]]  # by finder, a frame each

    def tallies(self, finder: str) -> list[Tally]:
        """A frame each."""
        return [judged(found, frame) for found, frame in zip(self.found[finder], self.frames, strict=True)]


def tune(python: Path) -> Tuned:
    """Tries all settings of peakfinder8's grid on frames of the same kind as the test's. Raises RivalError."""
    tried = grid()
    first = np.stack([_tallies(python, tried, at, FIRST_FRAMES) for at in range(len(RATIOS))], axis=1)
    for_all = ranking(first)[:SHORT_ONE]
    each, short = [], []
    overall = np.empty((len(for_all), len(RATIOS)), dtype=object)
    for at in range(len(RATIOS)):
        chosen = list(dict.fromkeys([*for_all, *ranking(first[:, at : at + 1])[:SHORT]]))
        settings = [tried[index] for index in chosen]
        found = _tallies(python, settings, at, TUNING_FRAMES)
        overall[:, at] = found[: len(for_all)]
        each.append(settings[best(found[:, None].tolist())])
        short.append(settings)
    return Tuned(each, tried[for_all[best(overall.tolist())]], short)


def ranking(tallies: NDArray[np.object_]) -> list[int]:
    """Indices of settings, the one with the highest mean F1 over `tallies` [settings, groups] first."""
    means = np.array([np.mean([one.f1 for one in groups]) for groups in tallies])
    return [int(at) for at in np.argsort(-means, kind="stable")]


def _tallies(python: Path, settings: Sequence[Settings], at: int, count: int) -> NDArray[np.object_]:
    """Of each of the settings [settings], all `count` tuning frames of one ratio together. Raises RivalError."""
    seen = list(frames(sweep_kind(RATIOS[at]), count, (TUNING_SEED, at)))
    answers, _ = find(python, [(frame.image, frame.beam) for frame in seen], settings)
    made = np.empty(len(settings), dtype=object)
    made[:] = [_total(found, seen) for found in answers]
    return made


def _total(found: Sequence[Found], seen: Sequence[SpotFrame]) -> Tally:
    return sum((judged(*pair) for pair in zip(found, seen, strict=True)), Tally())


def line(run: Run, at: int, count: int, rival: tuple[Path, Tuned] | None, overlapping: float = 0.0) -> Line:
    """All finders on `count` frames of the ratio with the index `at`. Raises RivalError."""
    seed = (OVERLAPPING_SEED if overlapping else TEST_SEED, at)
    # What was expected is not needed, and many frames of it would fill a memory.
    seen = [replace(one, expected=np.empty((0, 0))) for one in frames(sweep_kind(RATIOS[at], overlapping), count, seed)]
    found = {
        MODEL: [model_found(run(frame.image)) for frame in seen],
        FILTER: [matched_filter(frame.image) for frame in seen],
    }
    if rival is not None:
        python, tuned = rival
        asked = [tuned.each[at], tuned.one, *tuned.short[at]]
        answers, _ = find(python, [(frame.image, frame.beam) for frame in seen], asked)
        highest = best([[_total(one, seen)] for one in answers])
        found |= {PF8_EACH: answers[0], PF8_ONE: answers[1], PF8_BEST: answers[highest]}
    return Line(RATIOS[at], seen, found)


def f1_line(line: Line) -> dict[str, str | float]:
    """Its line of the table."""
    sums = {finder: sum(line.tallies(finder), Tally()) for finder in line.found}
    ours = sums[MODEL]
    row: dict[str, str | float] = {
        "signal to noise": line.ratio,
        "spots": ours.hits + ours.missed,
        "precision": ours.precision,
        "recall": ours.recall,
        "F1": ours.f1,
    }
    return row | {f"F1 of {finder}": total.f1 for finder, total in sums.items() if finder != MODEL}


def f1_rows(lines: Sequence[Line]) -> list[Judged]:
    """The model's F1 less peakfinder8's. Held to the bars against its strongest form, tuned anew at each ratio, though
    the model has one threshold for all; beside it like against like, one setting each, and what it could reach with the
    test frames' truth."""
    names = ("peaks_f1_worst", WORST), ("peaks_f1_mean", MEAN)
    if PF8_EACH not in lines[0].found:
        return [Judged(name, None, what=MISSING) for name, _ in names]
    rows = []
    for suffix, rival in (("", PF8_EACH), ("_one_setting", PF8_ONE), ("_best_of_test", PF8_BEST)):
        less = _less(_counts(lines, MODEL), _counts(lines, rival))
        count = len(lines[0].frames)
        every = less(np.arange(count))
        tuned = "" if rival == PF8_BEST else f" on {TUNING_FRAMES} other frames a ratio"
        what = f"model less {rival}{tuned}; {len(lines)} ratios, {count} frames of 1024 x 1024 each"
        each = {f"{line.ratio:g}": round(float(value), 4) for line, value in zip(lines, every, strict=True)}
        for (name, bar), of in zip(names, (np.min, np.mean), strict=True):
            interval = bootstrap(lambda drawn, less=less, of=of: float(of(less(drawn))), count)
            bars = () if suffix else (bar,)
            rows.append(Judged(name + suffix, float(of(every)), "1", interval, what, bars, {"by ratio": each}))
    return rows


def _less(ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> Callable[[NDArray[np.intp]], NDArray[np.float64]]:
    """Indices of frames -> difference of the F1 of just those [ratios]."""
    return lambda drawn: _f1(ours[:, drawn]) - _f1(theirs[:, drawn])


def _counts(lines: Sequence[Line], finder: str) -> NDArray[np.int64]:
    """Hits, false and missed [ratios, frames, 3]."""
    return np.array([[(one.hits, one.false, one.missed) for one in line.tallies(finder)] for line in lines])


def _f1(counts: Float) -> NDArray[np.float64]:
    """F1 [ratios] of all frames together."""
    hits, false, missed = counts.sum(axis=1).T
    return 2 * hits / np.maximum(2 * hits + false + missed, 1)
