"""The model where it is harder: the beam off centre, and a tenth of the dose, beside rPIE that is told of the dose."""

import numpy as np

from edge.training.evaluate_ptycho_case import Block, Case, off_centre, thinned
from edge.training.evaluate_ptycho_intervals import mean_row
from edge.training.evaluate_ptycho_opponents import Opponents, faint_opponents
from edge.training.evaluate_ptycho_rivals import cut, rpie
from edge.training.evaluate_ptycho_served import Answers, Serve
from edge.training.judged import Judged

LOW_DOSE = 0.1


def harder_rows(case: Case, served: Serve, rivals: Opponents) -> list[Judged]:
    """The same frames with the beam off centre, and with a tenth of the dose; and the block that gave the probe."""
    moved = off_centre(case.test)
    made = "the block that gave the probe; it taught too, without a truth"
    return [
        _row(case, "ptycho_off_centre_phase_mae_rad", served(moved.frames), moved, "beam 1 px too low"),
        *_low_dose_rows(case, served, rivals),
        _row(case, "ptycho_training_block_phase_mae_rad", served(case.training.frames), case.training, made),
    ]


def _low_dose_rows(case: Case, served: Serve, rivals: Opponents) -> list[Judged]:
    """rPIE's probe is as dim as the frames, its settings picked on the training block thinned in the same way."""
    faint = thinned(case.test, LOW_DOSE, np.random.default_rng(0))
    seen = f"test frames thinned to {LOW_DOSE:.0%} of the dose"
    rows = [_row(case, "ptycho_low_dose_phase_mae_rad", served(faint.frames), faint, seen)]
    names = ("ptycho_low_dose_rpie5_phase_mae_rad", "ptycho_low_dose_other_rpie5_phase_mae_rad")
    found = faint_opponents(case, rivals.probes, LOW_DOSE, np.random.default_rng(1))
    for name, rival in zip(names, found, strict=False):
        answers = cut(case, rpie(case, faint, rival), faint.positions)
        rows.append(_row(case, name, answers, faint, f"{seen}; rPIE, as dim a probe, settings of that dose: {rival}"))
    return rows


def _row(case: Case, name: str, answers: Answers, block: Block, what: str) -> Judged:
    wrong = [error.phase_mae_rad for error in case.judged(answers, block.positions)]
    return mean_row(name, wrong, block, "rad", what)
