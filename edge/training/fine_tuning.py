# pyright: reportMissingImports=false
"""A version of a ptychography model that goes on learning from a scan of its own instrument.

The probe is found anew from the scan's training frames, starting from the version's own: a beam drifts. The network
goes on from the version's weights, with simulated objects under the new probe and with the measured frames, which
teach without a truth (`edge.training.fit`).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.inference.cards import card_of
from edge.models.card import Card, Span, Validity
from edge.models.ptycho import GEOMETRY
from edge.physics.arrays import Complex
from edge.physics.probe import flux, load_probe, save_probe
from edge.physics.rpie import Settings, reconstruct
from edge.scanfiles import Scan
from edge.training.fit import LEAST_SHARE, USUAL_SHARE, batches, loss
from edge.training.frames import FLUX_RANGE, simulated_set
from edge.training.loop import Schedule
from edge.training.network import PatchNet
from edge.training.ptycho import FOUND_PROBE_FILE, PROBE_FILE, finish, probe_sha256
from edge.training.run import WEIGHTS_FILE, TrainingRun, Written, load_weights
from edge.training.scan_block import Block, block_of
from edge.training.scan_deviance import VersionError
from edge.training.scan_probe import MARGIN_PX, STEP, pixel_positions

SIMULATED = 4000
PEAK_RATE = 5e-4
"""A quarter of a first training's: what was learned is to be kept."""

PROBE_ITERATIONS = 40


def fine_tuned(run: TrainingRun, start: Path, scan: Scan, chosen: NDArray[np.intp], simulated: int = SIMULATED) -> Card:
    """Writes a version to the run's folder that goes on from the version folder `start` with `chosen` frames of `scan`.

    Raises ScanError where the scan has no positions, OSError where the version lacks its weights or its probe,
    VersionError where they are damaged or of another network, TrainingError where the fit comes to nothing.
    """
    geometry = GEOMETRY[run.spec.name]
    block = block_of(scan, chosen)
    try:
        before = load_probe(start / PROBE_FILE)
        load_weights(start / WEIGHTS_FILE, PatchNet(before, geometry))  # before all that takes long
    except ValueError as error:
        raise VersionError(str(error)) from error
    modes = _probe(run, before, block, pixel_positions(scan)[chosen])
    net = PatchNet(modes, geometry)
    load_weights(start / WEIGHTS_FILE, net)
    data = simulated_set(modes, geometry, simulated, run.data_rng, run.doing("simulated frames", simulated))
    draw = batches(data, block.cropped(geometry.crop_px))
    schedule = Schedule(run.recipe.steps, PEAK_RATE, seconds=run.recipe.budget_s)
    net = run.fit(net, lambda net, rng: loss(net, draw(rng)), schedule, figure="phase error, rad")
    save_probe(run.out / PROBE_FILE, modes)
    (run.out / FOUND_PROBE_FILE).unlink()
    return finish(run, net, data, block, _told(start, block, modes, simulated))


def _probe(run: TrainingRun, before: Complex, block: Block, positions: NDArray[np.float64]) -> NDArray[np.complex64]:
    """The probe of the block's frames; kept in the run's folder: a run that was stopped need not find it again."""
    kept = run.out / FOUND_PROBE_FILE
    if kept.exists():
        return load_probe(kept)
    positions = positions - np.floor(positions.min(axis=0)) + MARGIN_PX
    size = block.frames.shape[-1]
    shape = np.ceil(positions.max(axis=0)).astype(int) + MARGIN_PX + size
    counts = np.where(block.good, block.frames, np.nan).astype(np.float32)
    heard, modes = run.doing("probe", PROBE_ITERATIONS), before
    settings, image = Settings(PROBE_ITERATIONS, step=STEP), np.ones(tuple(shape), dtype=np.complex64)
    for done, state in enumerate(reconstruct(counts, positions, before, image, settings, run.data_rng), start=1):
        heard(done)
        modes = state.modes
    aside = kept.with_name("new_probe.npy")
    save_probe(aside, modes)
    aside.replace(kept)
    return load_probe(kept)


def _told(start: Path, block: Block, modes: Complex, simulated: int) -> Written:
    """What the card says; energy and object pixel are those of the version before, for it is the same instrument."""
    before = card_of(start)
    known = Validity() if before is None else before.valid
    counts = block.frames.sum(axis=(1, 2), dtype=np.int64)
    size = block.frames.shape[-1]
    return Written(
        data=(
            f"all that version {start.name} learned from",
            f"{len(block.frames)} frames of a scan, which gave the probe, and teach without any truth",
            f"{simulated} simulated frames under that probe",
        ),
        split="held-out lines of the scan, a patch or more from the lines of those frames",
        valid=Validity(
            frame_shape=(size, size),
            counts_per_frame=Span(float(LEAST_SHARE * counts.min()), float(USUAL_SHARE * FLUX_RANGE[1] * flux(modes))),
            energy_ev=known.energy_ev,
            object_pixel_m=known.object_pixel_m,
            probe_sha256=probe_sha256(modes),
        ),
        recipe={"simulated": simulated, "peak_rate": PEAK_RATE, "from_version": start.name},
    )
