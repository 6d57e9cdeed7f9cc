"""Frames a second of the model and of peakfinder8, alternating, on one core."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.physics.bootstrap import bootstrap
from edge.physics.spots import SpotFrame
from edge.training.figures import Lines, Run
from edge.training.judged import Bar, Judged
from edge.training.rivals.peakfinder8 import MISSING, Settings, find

ROUNDS = 5
FAST = Bar("at least", 1.0)


def rounds(run: Run, frames: Sequence[SpotFrame], rival: tuple[Path, Settings] | None) -> list[dict[str, float]]:
    """Median seconds a frame by finder, a dictionary a round; both see the same frames. Raises RivalError."""
    seen = []
    run(frames[0].image)
    for _ in range(ROUNDS):
        took = {"model": float(np.median([_seconds(run, frame) for frame in frames]))}
        if rival is not None:
            for name, fast in (("peakfinder8", False), ("peakfinder8, fast mode", True)):
                given = [(frame.image, frame.beam) for frame in frames]
                _, seconds = find(rival[0], given, [rival[1]], fast=fast, timed=True)
                took[name] = float(np.median(seconds))
        seen.append(took)
    return seen


def speed_lines(seen: Sequence[dict[str, float]]) -> Lines:
    """Milliseconds a frame."""
    return [
        {
            "finder": name,
            "rounds": len(seen),
            "ms": 1e3 * float(np.median([one[name] for one in seen])),
            "least ms": 1e3 * min(one[name] for one in seen),
            "frames/s": 1 / float(np.median([one[name] for one in seen])),
        }
        for name in seen[0]
    ]


def speed_rows(seen: Sequence[dict[str, float]]) -> list[Judged]:
    """The rounds' ratios of frames a second."""
    if "peakfinder8" not in seen[0]:
        return [Judged("peaks_speed_ratio", None, what=MISSING)]
    what = "frames/s over those of {}, one core, 1024 x 1024, {} alternating rounds; from bytes to list"
    rows = (
        ("peaks_speed_ratio", "peakfinder8", (FAST,)),
        ("peaks_speed_ratio_fast_mode", "peakfinder8, fast mode", ()),
    )
    made = []
    for name, rival, bars in rows:
        ratios = np.array([one[rival] / one["model"] for one in seen])
        interval = bootstrap(lambda drawn, ratios=ratios: float(np.median(ratios[drawn])), len(ratios))
        told = what.format(rival, len(seen))
        made.append(Judged(name, float(np.median(ratios)), interval=interval, what=told, bars=bars))
    return made


def _seconds(run: Run, frame: SpotFrame) -> float:
    begin = time.perf_counter()
    run(frame.image)
    return time.perf_counter() - begin
