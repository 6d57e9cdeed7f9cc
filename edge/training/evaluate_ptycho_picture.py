"""`edge evaluate ptycho --plot`: what was compared, to be looked at."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.physics.frc import RingCorrelation
from edge.physics.image_judging import phases
from edge.physics.judging import aligned
from edge.training.evaluate_ptycho_case import Case
from edge.training.evaluate_ptycho_errors import Joined

LABELS = {"model": "model", "rpie5": "rPIE, 5 iterations", "floor": "two halves of the scan, rPIE"}


def draw(path: Path, case: Case, made: Joined, curves: Mapping[str, RingCorrelation]) -> None:
    """Phases of the reference, the model and rPIE over the test block, how both differ, and the ring correlations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.5), layout="constrained")
    axes = figure.subplots(2, 3)
    rows, cols = np.nonzero(made.mask)
    box = (slice(rows.min(), rows.max() + 1), slice(cols.min(), cols.max() + 1))
    wanted: NDArray[np.float64] | None = None
    for column, name in enumerate(("model", "rpie5"), start=1):
        image = made.images[name].values
        moved, inside, _ = aligned(image, case.reference, made.mask)
        reference, off = phases(image, moved, inside)
        if wanted is None:
            wanted = np.where(inside, reference, np.nan)[box]
        span = float(np.nanmax(np.abs(wanted)))
        shown = axes[0, column].imshow(np.where(inside, reference + off, np.nan)[box], vmin=-span, vmax=span)
        axes[0, column].set_title(f"{LABELS[name]}: phase, rad")
        differs = axes[1, column].imshow(np.where(inside, off, np.nan)[box], vmin=-0.5, vmax=0.5, cmap="RdBu")
        mean = float(np.mean(np.abs(off[inside])))
        axes[1, column].set_title(f"{LABELS[name]} - reference, mean {mean:.3f} rad")
        figure.colorbar(shown, ax=axes[0, column], shrink=0.8)
        figure.colorbar(differs, ax=axes[1, column], shrink=0.8)
        axes[0, 0].imshow(wanted, vmin=-span, vmax=span)
    axes[0, 0].set_title("reference (not the truth): phase, rad")
    for one in (*axes[0], *axes[1, 1:]):
        one.set(xticks=[], yticks=[])
    for name, curve in curves.items():
        label = LABELS[name] if name == "floor" else f"{LABELS[name]}, with the reference"
        axes[1, 0].plot(curve.frequency, curve.correlation, label=label)
    axes[1, 0].plot(curves["floor"].frequency, curves["floor"].half_bit, "k:", label="half bit")
    axes[1, 0].axhline(0.5, color="k", linewidth=0.5)
    axes[1, 0].set(xlabel="cycles a pixel", ylabel="Fourier ring correlation", ylim=(0, 1.02), xlim=(0, 0.5))
    axes[1, 0].legend(fontsize="small")
    figure.savefig(path, dpi=110)
