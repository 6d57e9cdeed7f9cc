# pyright: reportMissingImports=false
"""Makes the probabilities of `peaks` true ones: of those listed at 0.8 four in five are spots."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from edge.physics.peak_judging import pairs
from edge.training.peak_frames import SPOT, UNSURE, PeakSet
from edge.training.peak_list import ServedPeaks, apart, distances
from edge.training.peak_network import PeakNet

LEAST_LOGIT = -6.0
"""Of the candidates that the fit looks at."""

TRIES = 50


def calibrated(net: PeakNet, apart: PeakSet) -> tuple[ServedPeaks, dict[str, float]]:
    """The whole graph with logits scaled and shifted to fit the scenes `apart`, and what was done."""
    logit, truth = outcomes(net, apart)
    scale, shift = fitted(logit, truth)
    told = {"logit_scale": scale, "logit_shift": shift, "calibrated_on": float(len(truth))}
    return ServedPeaks(net, scale, shift).eval(), told


def outcomes(net: PeakNet, apart_from: PeakSet) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits of the candidates in the scenes, and whether a spot is there (1 or 0); doubtful ones are left out."""
    graph = ServedPeaks(net).eval()
    logits: list[NDArray[np.float64]] = []
    truths: list[NDArray[np.bool_]] = []
    for image, places, states in zip(apart_from.images, apart_from.places, apart_from.states, strict=True):
        found, logit = _candidates(graph, image)
        hits = pairs(found, places[states == SPOT].astype(np.float64))[:, 0]
        doubtful = np.setdiff1d(pairs(found, places[states == UNSURE].astype(np.float64))[:, 0], hits)
        sure = ~np.isin(np.arange(len(found)), doubtful)
        logits.append(logit[sure])
        truths.append(np.isin(np.arange(len(found)), hits)[sure])
    return np.concatenate(logits), np.concatenate(truths).astype(np.float64)


def _candidates(graph: ServedPeaks, image: NDArray[np.uint16]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places [n, 2] and logits [n] of those that no surer one is near."""
    with torch.no_grad():
        _, found, _, logit, down, right = graph.judged(torch.from_numpy(image[None].astype(np.float32)))
        places = found.row.float() + down, found.column.float() + right
        kept = (apart(logit, distances(*places)) * (logit > LEAST_LOGIT))[0].bool().numpy()
    both = torch.stack(places, dim=2)[0].numpy()[kept]
    return both.astype(np.float64), logit[0].numpy()[kept].astype(np.float64)


def fitted(logit: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[float, float]:
    """Scale and shift of the logits [n] that make the outcomes [n] (1 or 0) most probable (Platt, in Advances in Large
    Margin Classifiers, 1999), by Newton's method. One and zero where the outcomes are all the same."""
    scale, shift = 1.0, 0.0
    if len(truth) < 2 or truth.min() == truth.max():
        return scale, shift
    design = np.stack([logit, np.ones_like(logit)], axis=1)
    for _ in range(TRIES):
        chance = 1 / (1 + np.exp(-(design @ (scale, shift))))
        slope = design.T @ (chance - truth)
        curve = (design * (chance * (1 - chance))[:, None]).T @ design + 1e-6 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        scale, shift = scale - float(step[0]), shift - float(step[1])
        if math.hypot(*step) < 1e-9:
            break
    return scale, shift
