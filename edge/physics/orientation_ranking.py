"""Ranks the 64 turns of image and scan axes, and says what of the answer the measurement tells.

Three questions, each with a margin of its own:
  1. Which family of relative turns do the frames agree on where they overlap? The probe is improved as the object is,
     so a poor guess is enough. This is the verdict.
  2. Which of the two twins? The start decides which one the iterations find, so a guess with the right sign of the
     defocus tells.
  3. Which mirror image? The probe is held as it was given: told when it is good, and unlike its mirror images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.orientation import ORIENTATIONS, Orientation
from edge.physics.arrays import Complex, Float
from edge.physics.bootstrap import ratio_interval
from edge.physics.orientation import TURNS, Turn, family, members
from edge.physics.orientation_overlap import Fit, Neighbourhood, blurred_focus, fit, mean_frame, mean_misfits, residual
from edge.physics.rpie import Settings

FREE = Settings(6, alpha=0.5, step=0.5, probe_from=1)
QUICK = replace(FREE, iterations=4)
HELD = replace(FREE, iterations=4, probe_from=5)
"""Iterations that improve the probe, and those that hold it."""

QUICK_FRAMES = 32
"""Frames of the first neighbourhood on which all 64 turns are tried, learnt and held out."""

CLEAR = 1.1
"""The next family's misfit over the best one's must be above this with 97.5 % confidence, and so must that of
predicting each frame by the mean of others. On the measured star both are above 2; with its positions shuffled they
are 1.02 and 0.8."""

TOLD = 1.15
"""The same for twins and mirror images, where a wrong guess of the probe makes differences of its own."""

DIAMETERS = (0.15, 0.21, 0.3, 0.43, 0.6)
"""Sizes of probes to begin with where there is no guess, as parts of the field of view."""


@dataclass(frozen=True)
class Margin:
    """How many times worse the next is, with its 95 % interval over the frames."""

    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """What a turn makes of all neighbourhoods."""

    turn: Turn
    fits: tuple[Fit, ...]

    @property
    def residual(self) -> float:
        """Sum of (sqrt(counts) - modulus)**2 over sum of counts, of the frames held out."""
        return residual(self.fits)

    @property
    def misfits(self) -> NDArray[np.float64]:
        """Of each frame held out."""
        return np.concatenate([one.misfits for one in self.fits])


@dataclass(frozen=True)
class Ranking:
    """The answer."""

    relatives: tuple[Row, ...]  # the best of each of the 8 relative turns, best first
    survey: tuple[tuple[Turn, float], ...]  # all 64 on fewer frames, and their residuals, best first
    mirrors: tuple[Row, ...]  # members of the best relative turn with the probe held, best first; () without a guess
    mean_residual: float  # of predicting every frame by the mean of others
    over_mean: Margin  # of the mean over the best
    families: Margin  # of the best other family over the best
    twins: Margin  # of the twin over the best
    mirrored: Margin | None  # of the second mirror image over the best
    blind: bool  # started without a guess of the probe

    @property
    def clear(self) -> bool:
        """Whether the overlap of the frames says which family is right."""
        return min(self.families.low, self.over_mean.low) > CLEAR

    @property
    def twin_told(self) -> bool:
        """Whether the guess of the probe says which twin is right."""
        return not self.blind and self.twins.low > TOLD

    @property
    def mirror_told(self) -> bool:
        """Whether it says which mirror image is right."""
        return self.twin_told and self.mirrored is not None and self.mirrored.low > TOLD

    @property
    def equivalent(self) -> tuple[Turn, ...]:
        """The turns that fit the frames alike, as far as the probe does not tell; fewest changes first."""
        best = self.relatives[0].turn.relative
        if self.mirror_told:
            return (self.mirrors[0].turn,)
        alike = members((best,) if self.twin_told else family(best))
        return tuple(sorted(alike, key=lambda turn: (turn.changes, turn.relative != best)))

    @property
    def recommended(self) -> Turn:
        """The best; of equivalent ones that with the fewest changes: the scan axes stay if they can."""
        return self.equivalent[0]


def rank(
    hoods: Sequence[Neighbourhood],
    guess: Complex | None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Ranking:
    """Ranks all turns of `hoods`, starting from the probe `guess` [size, size], or from none.

    A guess that leads nowhere is given up for a blind start. `progress` hears the fits done and how many there are.
    Raises ValueError when there are too few frames.
    """
    if not hoods or min(len(hood.frames) for hood in hoods) < 4:
        raise ValueError("four frames or more must lie together: two to learn from, and two to predict")
    guided = 0 if guess is None else len(TURNS) + len(ORIENTATIONS) * (2 * len(hoods))
    unguided = len(ORIENTATIONS) * (len(DIAMETERS) + len(hoods))
    count = _Counter(progress, guided or unguided)
    if guess is not None:
        found = _guided(hoods, guess, count)
        if found.clear:
            return found
        count.total += unguided
        other = _blind(hoods, count)
        return replace(other, survey=found.survey) if other.clear else found
    return _blind(hoods, count)


def _guided(hoods: Sequence[Neighbourhood], guess: Complex, count: "_Counter") -> Ranking:
    """From a guess of the probe, which need not be the mirror image of itself: so all 64 are tried."""
    quick = hoods[0].part(QUICK_FRAMES)
    survey = [(turn, residual([count(fit(quick, turn, guess, QUICK))])) for turn in TURNS]
    survey.sort(key=lambda one: one[1])
    best = [next(turn for turn, _ in survey if turn.relative == relative) for relative in ORIENTATIONS]
    relatives = _rows(hoods, best, guess, FREE, count)
    mirrors = _rows(hoods, members((relatives[0].turn.relative,)), guess, HELD, count)
    return _ranking(hoods, relatives, tuple(survey), mirrors)


def _blind(hoods: Sequence[Neighbourhood], count: "_Counter") -> Ranking:
    """Without a guess: from round probes of several sizes, for which mirror images are all the same."""
    mean = np.mean([mean_frame(hood.frames) for hood in hoods], axis=0)
    quick = hoods[0].part(QUICK_FRAMES)
    turns = members_as_is(ORIENTATIONS)
    tried: list[tuple[float, Turn, Complex]] = []
    for share in DIAMETERS:
        start = blurred_focus(mean, share * len(mean))
        tried += [(residual([count(fit(quick, turn, start, QUICK))]), turn, start) for turn in turns]
    tried.sort(key=lambda one: one[0])
    survey = [next((turn, value) for value, turn, _ in tried if turn == wanted) for wanted in turns]
    relatives = _rows(hoods, turns, tried[0][2], FREE, count)
    return _ranking(hoods, relatives, tuple(sorted(survey, key=lambda one: one[1])), ())


def members_as_is(relatives: Sequence[Orientation]) -> tuple[Turn, ...]:
    """The turns of the image alone."""
    return tuple(Turn(image=relative) for relative in relatives)


def _rows(
    hoods: Sequence[Neighbourhood], turns: Sequence[Turn], guess: Complex, settings: Settings, count: "_Counter"
) -> tuple[Row, ...]:
    rows = [Row(turn, tuple(count(fit(hood, turn, guess, settings)) for hood in hoods)) for turn in turns]
    return tuple(sorted(rows, key=lambda row: row.residual))


def _ranking(
    hoods: Sequence[Neighbourhood],
    relatives: tuple[Row, ...],
    survey: tuple[tuple[Turn, float], ...],
    mirrors: tuple[Row, ...],
) -> Ranking:
    best, mine = relatives[0], family(relatives[0].turn.relative)
    other = next(row for row in relatives if row.turn.relative not in mine)
    twin = next(row for row in relatives[1:] if row.turn.relative in mine)
    mean = np.concatenate([mean_misfits(hood) for hood in hoods])
    return Ranking(
        relatives=relatives,
        survey=survey,
        mirrors=mirrors,
        mean_residual=float(mean.sum() / sum(one.counts.sum() for one in best.fits)),
        over_mean=_margin(mean, best.misfits),
        families=_margin(other.misfits, best.misfits),
        twins=_margin(twin.misfits, best.misfits),
        mirrored=_margin(mirrors[1].misfits, mirrors[0].misfits) if mirrors else None,
        blind=not mirrors,
    )


def _margin(worse: Float, better: Float) -> Margin:
    return Margin(float(worse.sum() / better.sum()), *ratio_interval(worse, better))


class _Counter:
    """Passes fits on, and tells how many there were."""

    def __init__(self, progress: Callable[[int, int], None], total: int) -> None:
        self._progress = progress
        self._done = 0
        self.total = total

    def __call__(self, one: Fit) -> Fit:
        self._done += 1
        self._progress(self._done, self.total)
        return one
