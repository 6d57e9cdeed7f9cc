"""What is found where there is no Bragg spot: on rings of ice, salt and powders, simulated and measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.physics.bootstrap import mean_interval
from edge.physics.peak_judging import Found, deviations, on_rings
from edge.physics.ring_frames import SUBSTANCES, ring_frame
from edge.training.evaluate_peaks_finders import SHAPE, good_pixels, matched_filter, model_found
from edge.training.figures import Lines, Run
from edge.training.judged import Bar, Judged
from edge.training.measured_frames import CERIA_CENTRE, SEEN_BEFORE, ceria_frame
from edge.training.rivals.peakfinder8 import Settings, find

RING_SEED = 4005
SILENT = Bar("at most", 0.1)
CERIA = "ceria, measured"
MODEL = "model"
FAR_OUT = 8.0


@dataclass(frozen=True)
class Silent:
    """Frames of one kind without Bragg spots."""

    name: str
    images: Sequence[NDArray[np.uint16]]
    beams: Sequence[tuple[float, float]]
    found: Mapping[str, Sequence[Found]]  # by finder, a frame each


def ring_frames(run: Run, count: int, rival: tuple[Path, Settings] | None) -> list[Silent]:
    """`count` simulated frames of each substance. Raises RivalError."""
    made = []
    for at, substance in enumerate(SUBSTANCES):
        rng = np.random.default_rng([RING_SEED, at])
        seen = [ring_frame(SHAPE, substance, rng) for _ in range(count)]
        made.append(_searched(run, substance, [one.image for one in seen], [one.beam for one in seen], rival))
    return made


def ceria(run: Run, folder: Path, rival: tuple[Path, Settings] | None) -> Silent:
    """The measured powder frame. Raises RivalError."""
    return _searched(run, CERIA, [ceria_frame(folder)], [CERIA_CENTRE], rival)


def silent_lines(kinds: Sequence[Silent]) -> Lines:
    """False peaks a frame of every finder; of the model's, how many lie on a ring, and how many hold something compact
    that stands far out: on a measured frame those are there, whatever they are."""
    rows = []
    for kind in kinds:
        row: dict[str, str | float] = {"rings": kind.name, "frames": len(kind.images)}
        row |= {finder: float(np.mean(_counts(found))) for finder, found in kind.found.items()}
        on, out = np.zeros(len(kind.images)), np.zeros(len(kind.images))
        for at, (image, beam, found) in enumerate(zip(kind.images, kind.beams, kind.found[MODEL], strict=True)):
            ring = on_rings(image, good_pixels(image), found.places, beam)
            far = deviations(image, good_pixels(image), found.places) >= FAR_OUT
            on[at], out[at] = ring.sum(), (far & ~ring).sum()
        rows.append(row | {"model's on a ring": on.mean(), f"beside, {FAR_OUT:g} deviations up": out.mean()})
    return rows


def silent_row(kinds: Sequence[Silent]) -> Judged:
    """False peaks a frame where there are most: every kind has to be silent."""
    counts = {kind.name: _counts(kind.found[MODEL]) for kind in kinds}
    worst = max(counts, key=lambda name: float(np.mean(counts[name])))
    each = {name: round(float(np.mean(values)), 3) for name, values in counts.items()}
    return Judged(
        "peaks_ring_false",
        each[worst],
        "1/frame",
        interval=mean_interval(counts[worst]) if len(counts[worst]) > 1 else None,
        what=f"where there are most: {worst}; "
        + ", ".join(f"{name} {value:g}" for name, value in each.items())
        + (f"; {SEEN_BEFORE}" if CERIA in counts else ""),
        bars=(SILENT,),
        more={"by kind": each, "measured frame": CERIA in counts},
    )


def _searched(
    run: Run,
    name: str,
    images: Sequence[NDArray[np.uint16]],
    beams: Sequence[tuple[float, float]],
    rival: tuple[Path, Settings] | None,
) -> Silent:
    found = {
        MODEL: [model_found(run(image)) for image in images],
        "matched filter": [matched_filter(image) for image in images],
    }
    if rival is not None:
        answers, _ = find(rival[0], list(zip(images, beams, strict=True)), [rival[1]])
        found["peakfinder8, tuned on the sweep"] = answers[0]
    return Silent(name, images, beams, found)


def _counts(found: Sequence[Found]) -> NDArray[np.float64]:
    return np.array([len(one.places) for one in found], dtype=np.float64)
