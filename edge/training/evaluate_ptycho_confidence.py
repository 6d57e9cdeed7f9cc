"""What the label-free deviance of an answer says about its error, and what it cannot say."""

import numpy as np
from numpy.typing import NDArray

from edge.models.ptycho import GEOMETRY
from edge.physics.arrays import Complex, Float
from edge.physics.bootstrap import bootstrap
from edge.physics.deviance import frame_deviance
from edge.physics.diffraction import counted, lit_patch, mean_counts
from edge.physics.judging import errors
from edge.physics.objects import random_object
from edge.training.evaluate_ptycho_case import Block, Case
from edge.training.evaluate_ptycho_intervals import strip_interval
from edge.training.evaluate_ptycho_rivals import patch_deviance
from edge.training.evaluate_ptycho_served import Answers, Serve
from edge.training.judged import Bar, Judged

SIMULATED = 240
FLUX = 0.05, 2.0
"""Exposure of simulated frames, times the probe's own flux."""

OFF_CENTRE_PX = 1.5
PHASE_SCALE = 0.3, 1.6
CROPS = {one.frame_px: one.crop_px for one in GEOMETRY.values()}
"""Width of the part of a frame that the graph judges itself by, by the frame's."""

ENOUGH = (Bar("at least", 0.5),)


def confidence_rows(case: Case, served: Serve, answers: Answers) -> list[Judged]:
    """Rank correlation of deviance and true phase error over measured and over simulated frames."""
    measured = np.array([one.phase_mae_rad for one in case.judged(answers, case.test.positions)])
    given = "the graph's own deviance" if answers.deviance is not None else "the deviance computed outside the graph"
    drawn, truths = mixed_frames(case.modes, SIMULATED, np.random.default_rng(1234))
    replies = served(drawn.frames)
    wrong = np.array(
        [
            errors(amplitude, phase, truth[case.inside, case.inside], case.mask).phase_mae_rad
            for amplitude, phase, truth in zip(replies.amplitude, replies.phase, truths, strict=True)
        ]
    )
    mixed = f"{SIMULATED} simulated frames, {FLUX[0]:g} to {FLUX[1]:g} of the flux, beam up to {OFF_CENTRE_PX:g} px off"
    rows = [
        rank_row("ptycho_confidence_spearman", deviances(case, case.test, answers), measured, given, case.test),
        rank_row("ptycho_confidence_simulated_spearman", deviances(case, drawn, replies), wrong, f"{mixed}; {given}"),
    ]
    if answers.deviance is not None:
        crop = CROPS.get(case.frame_px)
        outside = patch_deviance(case, case.test, answers.patches, crop)
        same = float(np.median(np.abs(answers.deviance / outside - 1)))
        what = (
            f"median relative difference of the graph's deviance from ours over the same {crop or case.frame_px} pixels"
        )
        rows.append(Judged("ptycho_deviance_graph_difference", same, "1", what=what))
    return rows


def deviances(case: Case, block: Block, answers: Answers) -> NDArray[np.float64]:
    """Deviance of each answer [n]: the graph's output where it has one."""
    return answers.deviance if answers.deviance is not None else patch_deviance(case, block, answers.patches)


def rank_row(
    name: str,
    confidence: NDArray[np.float64],
    wrong: NDArray[np.float64],
    what: str,
    block: Block | None = None,
) -> Judged:
    """Spearman's rank correlation with its interval: over strips of the measured `block`, else over frames."""

    def rank(drawn: NDArray[np.intp]) -> float:
        return rank_correlation(confidence[drawn], wrong[drawn])

    everything = np.arange(len(wrong))
    interval = bootstrap(rank, len(wrong)) if block is None else strip_interval(rank, block)
    told = f"rank correlation, {'' if block is None else 'test frames; '}{what}"
    return Judged(name, rank(everything), "1", interval, told, ENOUGH)


def rank_correlation(one: Float, other: Float) -> float:
    """Spearman's: the correlation of ranks, those of equal values being their mean."""
    ranks = np.stack([_ranks(one), _ranks(other)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    return float(ranks[0] @ ranks[1] / np.sqrt(np.prod(np.sum(ranks**2, axis=1))))


def _ranks(values: Float) -> NDArray[np.float64]:
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2


def mixed_frames(modes: Complex, count: int, rng: np.random.Generator) -> tuple[Block, list[NDArray[np.complex64]]]:
    """`count` frames of unequal difficulty and the full patches [n, n] behind them.

    The flux, the range of the phase and, in every other frame, the place of the beam vary. Positions are zero.
    """
    size = modes.shape[-1]
    row, col = np.meshgrid(*(np.arange(size) / size,) * 2, indexing="ij")
    frames, truths = np.empty((count, size, size), np.uint16), []
    for index, frame in enumerate(frames):
        drawn = random_object((size, size), rng)
        truth = np.abs(drawn) * np.exp(1j * rng.uniform(*PHASE_SCALE) * np.angle(drawn))
        off = rng.uniform(-OFF_CENTRE_PX, OFF_CENTRE_PX, 2) * (index % 2)
        beam = modes * np.exp(2j * np.pi * (off[0] * row + off[1] * col))
        frame[:] = counted(np.exp(rng.uniform(*np.log(FLUX))) * mean_counts(beam, truth), rng)
        truths.append(truth.astype(np.complex64))
    return Block(frames, np.zeros((count, 2))), truths


def blind_rows(case: Case) -> list[Judged]:
    """What no deviance can see, shown on the reference at the test frames: its twin, and its scale.

    The far field of conj(O(-r)) under the probe conj(P(-r)) is that of O under P. A probe that is known tells them
    apart, unless it is its own twin.
    """
    ratios, errors_rad, known, scaled = [], [], [], []
    image = case.reference.astype(np.complex128)
    for frame, at, good in zip(case.test.frames[::8], case.test.positions[::8], case.test.measured[::8], strict=True):
        modes, patch = lit_patch(case.modes.astype(np.complex128), image, at)
        own = frame_deviance(frame, modes, patch, good)
        ratios.append(frame_deviance(frame, twin(modes), twin(patch), good) / own)
        known.append(frame_deviance(frame, modes, twin(patch), good) / own)
        scaled.append(frame_deviance(frame, modes, 0.8 * patch, good) / own)
        inner = twin(patch)[case.inside, case.inside]
        truth = patch[case.inside, case.inside]
        errors_rad.append(errors(np.abs(inner), np.angle(inner), truth, case.mask).phase_mae_rad)
    shown = f"reference at {len(ratios)} test frames"
    return [
        Judged("ptycho_blind_twin_deviance_ratio", float(np.mean(ratios)), "1", what=f"{shown}: twin of both over own"),
        Judged("ptycho_blind_twin_phase_mae_rad", float(np.mean(errors_rad)), "rad", what="how wrong that twin is"),
        Judged("ptycho_known_probe_twin_deviance_ratio", float(np.mean(known)), "1", what="twin of the object alone"),
        Judged("ptycho_blind_scale_deviance_ratio", float(np.mean(scaled)), "1", what="object's amplitude times 0.8"),
    ]


def twin(values: Complex) -> Complex:
    """conj(f(-r)) of [..., n, n], periodic: its Fourier transform is the conjugate of that of f."""
    return np.roll(values[..., ::-1, ::-1], 1, axis=(-2, -1)).conj()
