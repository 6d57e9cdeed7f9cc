"""`bragg` on simulated patches, whose truth is known: bias, pulls, distances, beside what users do instead."""

import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Float
from edge.physics.bootstrap import bootstrap
from edge.physics.patches import Patches, PatchKind, perfect, random_patches
from edge.physics.patches_fitted import known_counts, pseudo_voigt_fit
from edge.training.evaluate_bragg_answers import (
    BATCH,
    PERCENTILES,
    RIVALS,
    Answers,
    Run,
    deviation,
    distances,
    intensity_pulls,
    mean,
    place_pulls,
    places,
    width,
)
from edge.training.judged import Bar, Judged

SEED = 5000
"""No model was chosen, and nothing of one was set, by patches of this seed."""

FITTED_TOO = 300
"""Of the simulated patches a profile is fitted to so many; it takes its time."""

LEAST_SIGNAL = 8.0
"""Signal-to-noise ratio from which spots are integrated; of fainter ones the mean is shown beside."""

BANDS = (3.0, 8.0, 15.0, 30.0, 100.0, 600.0)
"""Of signal to noise. A training ends by setting the mean of all from `LEAST_SIGNAL` on right, on patches of the same
kind: what is left to see are the bands, in which errors of opposite sign do not cancel."""

OVERLAPPING = 0.01
"""Share of a neighbour's light where the spot has its own, from which they overlap."""


def simulated(run: Run, count: int) -> list[Judged]:
    """Bias and pulls, where the truth is known: a photon counter's patches, nearly half of them overlapping."""
    patches = counted_patches(count, PatchKind())
    answers = run(patches.images)
    found = bias_rows(patches, answers) + band_rows(patches, answers) + pull_rows(patches, answers)
    cut = counted_patches(count // 4, replace(PatchKind(), thresholded=1.0), cut=True)
    known = run(cut.images)
    error = known["intensity"] / cut.intensity - 1
    what = f"{len(cut)} simulated patches, all below a threshold set to zero"
    found.append(mean("bragg_intensity_bias_pct/thresholded", 100 * error, "%", what))
    found.append(deviation("bragg_pull_sigma/thresholded", all_pulls(known, cut), what))
    return found


def counted_patches(count: int, kind: PatchKind, cut: bool = False) -> Patches:
    """`count` patches of a photon counter without faults, none of them saturated; `cut`: thresholded."""
    kind = replace(perfect(kind), thresholded=1.0 if cut else 0.0)
    patches = random_patches(count, kind, np.random.default_rng(SEED))
    return patches.take(~patches.saturated)


def all_pulls(answers: Answers, patches: Patches) -> NDArray[np.float64]:
    """Of rows, columns and intensities [n, 3]."""
    pulls = place_pulls(answers, patches.centre), intensity_pulls(answers, patches.intensity)[:, None]
    return np.concatenate(pulls, axis=1)


def bias_rows(patches: Patches, answers: Answers) -> list[Judged]:
    """How far intensities are off in the mean."""
    strong = patches.signal_to_noise >= LEAST_SIGNAL
    overlapping = patches.overlap >= OVERLAPPING
    error = 100 * (answers["intensity"] / patches.intensity - 1)
    bars = (Bar("at least", -1.0), Bar("at most", 1.0))
    name = "bragg_intensity_bias_pct"
    of = f"mean error of single spots' intensities, signal to noise {LEAST_SIGNAL:g} to 600"
    why = "simulated truth, for published fits of measured patches are unsure by tens of per cent"
    rows = [mean(name, error[strong], "%", f"{of}, overlapping ones among them; {why}", bars)]
    for kind, chosen in (("overlapping", overlapping), ("apart", ~overlapping)):
        rows.append(mean(f"{name}/{kind}", error[strong & chosen], "%", f"the same, spots {kind}"))
    rows.append(mean(f"{name}/faint", error[~strong], "%", f"signal to noise 3 to {LEAST_SIGNAL:g}"))
    return rows


def band_rows(patches: Patches, answers: Answers) -> list[Judged]:
    """The same by signal to noise: the mean of the errors, and that of all light together, which bright spots make."""
    rows = []
    for least, most in pairwise(BANDS):
        chosen = (patches.signal_to_noise >= least) & (patches.signal_to_noise < most)
        found, true = answers["intensity"][chosen], patches.intensity[chosen]
        if len(true) < 2:
            continue
        rows += intensity_rows(
            f"{least:g} to {most:g}", found, true, f"signal to noise {least:g} to {most:g}, simulated"
        )
    return rows


def intensity_rows(suffix: str, found: Float, true: Float, what: str) -> list[Judged]:
    """Errors of intensities `found` [n] in three ways: mean, weighted by flux, and median."""
    error, name = 100 * (found / true - 1), f"bragg_intensity_bias_pct/{suffix}"
    low, high = (float(one) for one in np.percentile(error, [15.865, 84.135]))
    middle = bootstrap(lambda drawn: float(np.median(error[drawn])), len(error), draws=500)
    flux = bootstrap(lambda drawn: 100 * float(found[drawn].sum() / true[drawn].sum() - 1), len(error), draws=500)
    told = f"{what}, median; the middle 68 % {low:+.1f} to {high:+.1f}"
    return [
        mean(name, error, "%", f"{what}, mean"),
        Judged(f"{name}/flux", 100 * float(found.sum() / true.sum() - 1), "%", flux, f"{what}, of all light together"),
        Judged(f"{name}/median", float(np.median(error)), "%", middle, told),
    ]


def pull_rows(patches: Patches, answers: Answers) -> list[Judged]:
    """Whether the stated deviations are those of the errors."""
    pulls = all_pulls(answers, patches)
    overlapping = patches.overlap >= OVERLAPPING
    bars = (Bar("at least", 0.9), Bar("at most", 1.1))
    name, of = "bragg_pull_sigma", "deviation of error / stated sigma, simulated"
    rows = [
        deviation(name, pulls, f"{of}: rows, columns and intensities together", bars),
        deviation(f"{name}/place", pulls[:, :2], f"{of}: rows and columns"),
        deviation(f"{name}/intensity", pulls[:, 2:], f"{of}: intensities"),
        deviation(f"{name}/overlapping", pulls[overlapping], f"{of}: overlapping spots"),
    ]
    middle = bootstrap(lambda drawn: width(pulls[drawn]), len(pulls), draws=200)
    what = "half the width of the middle 68 % of the same: one, too, where errors are normal"
    return [*rows, Judged(f"{name}/middle", width(pulls), "1", middle, what)]


def beside_fits(run: Run, count: int) -> list[Judged]:
    """Distances to the truth and intensities on simulated patches, and times, of the model and of what else is done."""
    patches = counted_patches(count, PatchKind())
    counts, answers = known_counts(patches.images), run(patches.images)
    begin = time.perf_counter()
    fits = pseudo_voigt_fit(counts, np.isfinite(counts), True, (0.0, max(1.0, float(counts.max()))))
    fit_ms = 1e3 * (time.perf_counter() - begin) / len(patches)
    found = {"model": places(answers), "weighted fit": fits.centre} | {name: of(counts) for name, of in RIVALS.items()}
    rows = []
    for name, centre in found.items():
        p50, p75, p95 = np.percentile(distances(centre, patches.centre), list(PERCENTILES))
        what = f"from the truth, {len(patches)} simulated patches, signal to noise 3 to 600; 95 %: {p95:.3f}"
        rows.append(
            Judged(f"bragg_simulated_p50_px/{name}", float(p50), "px", None, what, more={"p75": p75, "p95": p95})
        )
    strong = patches.signal_to_noise >= LEAST_SIGNAL
    for name, light in (("model", answers["intensity"]), ("weighted fit", fits.intensity)):
        what = f"{name}, {int(strong.sum())} of the patches that are fitted, signal to noise {LEAST_SIGNAL:g} to 600"
        rows += intensity_rows(f"fitted, {name}", light[strong], patches.intensity[strong], what)
    begin = time.perf_counter()
    repeated = np.concatenate([patches.images] * -(-4 * BATCH // len(patches)))[: 4 * BATCH]
    run(repeated)
    model_ms = 1e3 * (time.perf_counter() - begin) / len(repeated)
    rows.append(Judged("bragg_ms", model_ms, "ms", None, f"a patch, one thread, batches of {BATCH}, ONNX Runtime"))
    rows.append(Judged("bragg_ms/weighted fit", fit_ms, "ms", None, "a patch, one thread, SciPy least squares"))
    return rows
