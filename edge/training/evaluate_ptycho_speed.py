"""Frames a second of the served graph over those of 5-iteration rPIE, in alternating rounds on the same frames."""

import time

import numpy as np

from edge.training.evaluate_ptycho_case import Case
from edge.training.evaluate_ptycho_rivals import Rival, rpie
from edge.training.evaluate_ptycho_served import BATCH, Serve
from edge.training.judged import Bar, Judged

ROUNDS = 5
TEN_TIMES = (Bar("at least", 10.0),)


def speed_rows(case: Case, served: Serve, opponent: Rival) -> list[Judged]:
    """rPIE in its fastest form here: single precision, the probe kept and moved once to every frame's place.

    One thread each. Loading is not timed, nor is making counts of frames. An answer of the graph is there when its
    frame is; rPIE needs the whole block first.
    """
    frames = case.test.frames
    served(frames[:BATCH])
    ours, theirs = [], []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        served(frames)
        middle = time.perf_counter()
        rpie(case, case.test, opponent)
        ours.append((middle - begin) / len(frames))
        theirs.append((time.perf_counter() - middle) / len(frames))
    ratios = np.array(theirs) / np.array(ours)
    rounds = f"median of {ROUNDS} rounds in turn, {ratios.min():.3g} to {ratios.max():.3g}"
    return [
        Judged("ptycho_speed_vs_rpie5", float(np.median(ratios)), "1", None, f"{rounds}; rPIE: {opponent}", TEN_TIMES),
        Judged("ptycho_ms", 1e3 * float(np.median(ours)), "ms", None, f"{_rounds(ours)}, batches of {BATCH}"),
        Judged("ptycho_rpie5_ms", 1e3 * float(np.median(theirs)), "ms", None, f"{_rounds(theirs)}; rPIE: {opponent}"),
    ]


def _rounds(seconds: list[float]) -> str:
    least, greatest = 1e3 * min(seconds), 1e3 * max(seconds)
    return f"a frame, one thread, rounds of {least:.3g} to {greatest:.3g} ms"
