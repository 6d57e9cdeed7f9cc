"""How far the model's patches and its stitched image are from the reference, beside what users would have instead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Bool, Complex
from edge.physics.frc import RingCorrelation, ring_correlation, soft_window
from edge.physics.image_judging import image_errors, without_slope
from edge.physics.judging import Errors, aligned
from edge.physics.rpie import Settings
from edge.training.evaluate_ptycho_case import Case
from edge.training.evaluate_ptycho_intervals import mean_row
from edge.training.evaluate_ptycho_opponents import Opponents
from edge.training.evaluate_ptycho_rivals import EVEN, FIXED_PROBE, ODD, Image, Rival, cut, rpie, stitched
from edge.training.evaluate_ptycho_served import Answers
from edge.training.judged import Bar, Judged

PHASE_BAR_RAD = 0.10
OVER_FLOOR = 1.2
FLOOR = Settings(50, alpha=0.5, step=1.0, probe_from=FIXED_PROBE)
"""Of the reconstructions that are held against each other; with a probe of its own for each half the star gives the
same floor."""

LIT = "one constant a frame removed, probe at 25 % of its peak or more"
LEAST_WEIGHT = 0.25
_KINDS = (
    ("phase_mae_rad", "rad", True),
    ("phase_rmse_rad", "rad", False),
    ("amplitude_mae", "1", False),
    ("amplitude_rmse", "1", False),
)
"""Errors of a patch: name, unit, whether there is a bar."""


@dataclass(frozen=True)
class Joined:
    """Images of the whole test block in the coordinates of the reference."""

    images: Mapping[str, Image]  # "model", "rpie5", and "rpie5_models_probe" where the opponent has another one
    told: Mapping[str, str]  # what made them, in words
    weight: NDArray[np.float32]  # of the model's patches [rows, cols]
    halves: tuple[Image, Image]  # rPIE by `FLOOR` on disjoint halves of the scan

    @property
    def mask(self) -> Bool:
        """Pixels that are judged in stitched images."""
        return self.weight >= LEAST_WEIGHT


def joined(case: Case, answers: Answers, rivals: Opponents) -> Joined:
    """All images that are compared."""
    opponent, other = rivals.strongest, rivals.strongest_with_models_probe
    model, weight = stitched(case, answers, case.test.positions)
    made = {"rpie5": opponent, **({} if other is None else {"rpie5_models_probe": other})}
    images = {"model": model, **{name: rpie(case, case.test, one) for name, one in made.items()}}
    long = Rival(FLOOR, opponent.modes, opponent.probe)
    halves = rpie(case, case.whole.part(EVEN), long, 0), rpie(case, case.whole.part(ODD), long, 1)
    return Joined(images, {name: f"rPIE of the test block: {one}" for name, one in made.items()}, weight, halves)


def floor_rows(case: Case, made: Joined) -> list[Judged]:
    """What two reconstructions of the same object by disjoint frames differ by: no model is asked to do better."""
    one, other = made.halves
    moved, _, shift = aligned(one.values, other.values, made.mask)
    level, slope = without_slope(one.values, moved, made.mask)

    def off(image: Complex, reference: Complex) -> list[float]:
        patches = cut(case, Image(image.astype(np.complex64), case.modes), case.test.positions)
        against = Case(case.test, case.training, case.whole, reference.astype(np.complex64), case.modes, case.patch_px)
        return [error.phase_mae_rad for error in against.judged(patches, case.test.positions)]

    what = f"rPIE of even frames against odd ones, {FLOOR.iterations} iterations, test block; best shift, {LIT}"
    with_slope = (
        f"the same, a slope of ({slope[0]:.1e}, {slope[1]:.1e}) rad a pixel removed from the whole block as well"
    )
    return [
        mean_row(
            "ptycho_floor_mae_rad", off(one.values, moved), case.test, "rad", f"{what}; shift {np.hypot(*shift):.2f} px"
        ),
        mean_row(
            "ptycho_floor_unmoved_mae_rad",
            off(one.values, other.values),
            case.test,
            "rad",
            "the same without the shift",
        ),
        mean_row("ptycho_floor_level_mae_rad", off(level, moved), case.test, "rad", with_slope),
    ]


def patch_rows(case: Case, answers: Answers, made: Joined, floor: float) -> list[Judged]:
    """Single patches of the test block: the model, the constant guess and 5-iteration rPIE."""
    test, limit = case.test, max(PHASE_BAR_RAD, OVER_FLOOR * floor)
    model = case.judged(answers, test.positions)
    kept_apart = "of the test block, a patch or more from training; intervals: strips of neighbouring frames drawn anew"
    rows = [Judged("ptycho_test_frames", len(model), "1", what=kept_apart)]
    for name, unit, bars in _KINDS:
        guess = name.replace("_rad", "_constant_rad") if unit == "rad" else f"{name}_constant"
        bar = [Bar("at most", limit)] if bars else []
        rows += [
            mean_row(f"ptycho_{name}", _all(model, name), test, unit, LIT, *bar),
            mean_row(f"ptycho_{guess}", _all(model, guess), test, unit, "the best constant guess"),
        ]
        for rival, told in made.told.items():
            patches = cut(case, made.images[rival], test.positions)
            found = _all(case.judged(patches, test.positions), name)
            rows.append(mean_row(f"ptycho_{rival}_{name}", found, test, unit, told))
    return rows


def stitched_rows(case: Case, made: Joined) -> list[Judged]:
    """Whole images of the test block against the reference: errors, structure, signal to noise, correlation."""
    rows: list[Judged] = []
    flat = Image(np.ones(case.reference.shape, np.complex64), case.modes)
    for name, image in {**made.images, "constant": flat}.items():
        moved, inside = case.reference, made.mask
        if name != "constant":
            moved, inside, _ = aligned(image.values, case.reference, made.mask)
        found = image_errors(image.values, moved, inside)
        label = "ptycho_stitched" if name == "model" else f"ptycho_stitched_{name}"
        who = f"; {made.told[name]}" if name in made.told else ""
        what = f"test block as one image, best shift and one constant removed{who}"
        similar, range_ = f"structural similarity of the phase{who}", f"full scale: the reference's phase range{who}"
        rows += [
            Judged(f"{label}_phase_mae_rad", found.phase_mae_rad, "rad", what=what),
            Judged(f"{label}_phase_rmse_rad", found.phase_rmse_rad, "rad", what=what),
            Judged(f"{label}_phase_ssim", found.phase_ssim, "1", what=similar),
            Judged(f"{label}_phase_psnr_db", found.phase_psnr_db, "dB", what=range_),
            Judged(f"{label}_amplitude_mae", found.amplitude_mae, "1", what=what),
        ]
    return rows


def correlations(case: Case, made: Joined) -> dict[str, RingCorrelation]:
    """Fourier ring correlations over the test block, each pair aligned: with the reference, and of the two halves."""
    pairs = {name: (made.images[name].values, case.reference) for name in ("model", "rpie5")}
    pairs["floor"] = (made.halves[0].values, made.halves[1].values)
    found = {}
    for name, (one, other) in pairs.items():
        moved, inside, _ = aligned(one, other, made.mask)
        found[name] = ring_correlation(one, moved, soft_window(inside))
    return found


def correlation_rows(found: Mapping[str, RingCorrelation]) -> list[Judged]:
    """Where each curve falls: the finest full period in pixels of the object."""
    rows = []
    for name in ("model", "rpie5"):
        label = "ptycho" if name == "model" else f"ptycho_{name}"
        what = "Fourier ring correlation with the reference falls below 0.5: finest period (2 px: never)"
        rows.append(Judged(f"{label}_frc_period_px", 1 / found[name].reach(0.5), "px", what=what))
    halves = found["floor"]
    what = "the two halves of the floor against the half-bit curve"
    return [*rows, Judged("ptycho_floor_frc_period_px", 1 / halves.reach(halves.half_bit), "px", what=what)]


def _all(judged: Sequence[Errors], name: str) -> list[float]:
    return [getattr(one, name) for one in judged]
