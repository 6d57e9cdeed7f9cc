"""How well images and patches explain frames, beside rPIE: the masked Poisson deviance.

Every pixel that the detector measured counts, flagged ones do not; of each frame one factor is fitted (`deviance`).
"Held out" is so for both sides alike: an image is made of every other frame of the test block and judged by those
between, which neither the network's training nor the image has seen.
"""

from collections.abc import Mapping

import numpy as np

from edge.physics.deviance import noise_deviance
from edge.physics.diffraction import lit_patch, mean_counts
from edge.training.evaluate_ptycho_case import Case
from edge.training.evaluate_ptycho_intervals import mean_row, ratio_row
from edge.training.evaluate_ptycho_opponents import Opponents
from edge.training.evaluate_ptycho_rivals import (
    EVEN,
    ODD,
    Image,
    Rival,
    held_out,
    image_deviance,
    patch_deviance,
    rpie,
    some,
    stitched,
)
from edge.training.evaluate_ptycho_served import Answers
from edge.training.judged import Bar, Judged

NO_WORSE = Bar("at most", 1.0)


def deviance_rows(case: Case, answers: Answers, images: Mapping[str, Image], rivals: Opponents) -> list[Judged]:
    """Ratios to 5-iteration rPIE on the same frames, with equal modes, and what they are made of.

    `images` of the whole test block: "model", and "rpie5" by the strongest of `rivals`.
    """
    test = case.test
    unseen = held_out(test, _stitched_halves(case, answers))
    strong, weak = rivals.ranked
    strongest, weaker = (held_out(test, _rpie_halves(case, one)) for one in rivals.ranked)
    own, whole = patch_deviance(case, test, answers.patches), image_deviance(test, images["model"])
    seen = image_deviance(test, images["rpie5"])
    flat = image_deviance(test, Image(np.ones(case.reference.shape, np.complex64), case.modes))
    between = "each half of the test frames joined, judged by the other half"
    rows = [
        ratio_row("ptycho_deviance_vs_rpie5", unseen, strongest, test, f"{between}; rPIE: {strong}", NO_WORSE),
        ratio_row(
            "ptycho_deviance_single_vs_rpie5",
            own,
            seen,
            test,
            f"each frame by its own patch; rPIE has fitted the frame: {strong}",
            NO_WORSE,
        ),
        ratio_row(
            "ptycho_deviance_stitched_vs_rpie5",
            whole,
            seen,
            test,
            f"all test frames joined, judged by the same frames; rPIE: {strong}",
            NO_WORSE,
        ),
        ratio_row("ptycho_deviance_vs_other_rpie5", unseen, weaker, test, f"{between}; the weaker rPIE: {weak}"),
    ]
    for name, values, what in (
        ("ptycho_deviance_held_out", unseen, between),
        ("ptycho_rpie5_deviance_held_out", strongest, f"{between}; rPIE: {strong}"),
        ("ptycho_deviance_single", own, "each frame by its own patch"),
        ("ptycho_deviance_stitched", whole, "all test frames joined"),
        ("ptycho_rpie5_deviance", seen, f"all test frames; rPIE: {strong}"),
        ("ptycho_constant_deviance", flat, "an object of nothing, the model's probe"),
    ):
        rows.append(mean_row(name, values, test, "1", f"deviance a pixel: {what}"))
    return [*rows, _noise(case)]


def _stitched_halves(case: Case, answers: Answers) -> list[Image]:
    return [stitched(case, some(answers, half), case.test.positions[half])[0] for half in (EVEN, ODD)]


def _rpie_halves(case: Case, rival: Rival) -> list[Image]:
    return [rpie(case, case.test.part(half), rival) for half in (EVEN, ODD)]


def _noise(case: Case) -> Judged:
    """What counting statistics alone leave, for the brightness of these frames."""
    expected = mean_counts(*lit_patch(case.modes.astype(np.complex128), case.reference, case.test.positions[0]))
    scale = float(case.test.counts[0].sum()) / expected.sum()
    left = noise_deviance(scale * expected, np.random.default_rng(0))
    return Judged(
        "ptycho_noise_deviance",
        left,
        "1",
        what="of counts from their own expectation, one frame: no prediction gets below on average",
    )
