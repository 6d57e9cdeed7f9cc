"""Which rPIE a model is held against.

It is as strong as it can fairly be. Its settings and its probe are picked on the training block: the model's probe or
one reconstructed for it from that block, with as many modes, kept as it is or refined on the way, whichever predicts
frames better that it was not given. For frames of a lower dose all that is done again at that dose.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.physics.rpie import Settings, first_modes
from edge.training.evaluate_ptycho_case import Block, Case, thinned
from edge.training.evaluate_ptycho_rivals import EVEN, FIXED_PROBE, ITERATIONS, ODD, Rival, image_deviance, rpie

Grid: TypeAlias = Sequence[tuple[int, Sequence[float], Sequence[float]]]

TRIED: Grid = (
    (FIXED_PROBE, (1.0, 1.4), (0.1, 0.2, 0.5)),
    (1, (0.2, 0.5), (0.2, 0.5)),  # both improve at once: half a step each is a whole one
)
"""First iteration that improves the probe, steps, alphas."""

FAINT_TRIED: Grid = ((FIXED_PROBE, (0.5, 1.0), (0.2, 0.5, 1.0)), (1, (0.2,), (0.5,)))
"""The same for frames of few photons, which ask for smaller steps."""

GENTLE = Settings(40, step=0.2)
"""Of the probe that the opponent may have for itself: with larger steps a probe learns its block's noise."""

MODELS_PROBE, OWN_PROBE = "the model's probe", "a probe of its own"
Probes: TypeAlias = Sequence[tuple[NDArray[np.complex64], str]]
"""Modes [modes, height, width] and where they are from; the model's first."""


@dataclass(frozen=True)
class Opponents:
    """rPIE with probe and settings picked on the training block."""

    kept: Rival  # the best of those that keep their probe
    refined: Rival  # the best of those that improve it
    kept_is_stronger: bool
    probes: Probes  # that were tried

    @property
    def ranked(self) -> tuple[Rival, Rival]:
        """The one that predicts the training block better, and the other."""
        return (self.kept, self.refined) if self.kept_is_stronger else (self.refined, self.kept)

    @property
    def strongest(self) -> Rival:
        """The one that the model is held against."""
        return self.ranked[0]

    @property
    def strongest_with_models_probe(self) -> Rival | None:
        """The same settings with the model's probe; None where that is the strongest itself."""
        best, (modes, name) = self.strongest, self.probes[0]
        return None if best.probe == name else Rival(best.settings, modes, name)


def opponents(case: Case) -> Opponents:
    """Those that predict the training block's odd frames best from its even ones."""
    own = own_probe(case)
    probes = [(case.modes, MODELS_PROBE), *([(own, OWN_PROBE)] if own is not None else [])]
    scores = _scores(case, case.training, rivals(probes, TRIED))
    kept = min((one for one in scores if not one.refines), key=scores.__getitem__)
    refined = min((one for one in scores if one.refines), key=scores.__getitem__)
    return Opponents(kept, refined, scores[kept] <= scores[refined], probes)


def faint_opponents(case: Case, probes: Probes, share: float, rng: np.random.Generator) -> list[Rival]:
    """The best for frames of a `share` of the dose with each of the probes, the strongest first.

    The training block is thinned alike; it says how dim the probes are made and which settings predict its odd frames
    best from its even ones.
    """
    faint = thinned(case.training, share, rng)
    counted = (np.nansum(block.counts, dtype=np.float64) for block in (faint, case.training))
    dimming = np.float32(np.sqrt(np.divide(*counted)))
    best = {}
    for modes, name in probes:
        scores = _scores(case, faint, rivals([(modes * dimming, name)], FAINT_TRIED))
        chosen = min(scores, key=scores.__getitem__)
        best[chosen] = scores[chosen]
    return sorted(best, key=best.__getitem__)


def rivals(probes: Probes, grid: Grid) -> list[Rival]:
    """Every probe with all settings of a grid."""
    settings = [
        Settings(ITERATIONS, alpha, 1.0, step, first)
        for first, steps, alphas in grid
        for step in steps
        for alpha in alphas
    ]
    return [Rival(one, modes, name) for one in settings for modes, name in probes]


def _scores(case: Case, block: Block, tried: Sequence[Rival]) -> dict[Rival, float]:
    """Mean deviance of the block's odd frames from the image of its even ones, for each of those tried."""
    even, odd = block.part(EVEN), block.part(ODD)
    return {one: float(np.mean(image_deviance(odd, rpie(case, even, one)))) for one in tried}


def own_probe(case: Case) -> NDArray[np.complex64] | None:
    """A probe for the rival from the training block alone, beginning with the scan file's guess; None without one."""
    if case.guess is None:
        return None
    counts, rng = case.training.counts, np.random.default_rng(0)
    total = float(np.nansum(counts, dtype=np.float64)) / len(counts)
    modes = first_modes(case.guess, len(case.modes), total, rng).astype(np.complex64)
    return rpie(case, case.training, Rival(GENTLE, modes, "")).modes
