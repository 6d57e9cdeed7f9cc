"""What denoising is good for: spots found in denoised frames, and phases that `ptycho` sees in them.

The same finder, or the same network, is given the same frames raw and denoised. Neither was trained for the second; the
settings of a finder are chosen for each of the two alike, on other frames.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.inference.repository import version_folder
from edge.models.spec import SENTINELS
from edge.physics.arrays import Float
from edge.physics.bootstrap import bootstrap
from edge.physics.diffraction import MAX_UINT16_COUNT
from edge.physics.judging import PatchJudge
from edge.physics.peak_judging import Found
from edge.physics.probe import load_probe, probe_mask
from edge.physics.recall import Ranked, matched_filter, ranked
from edge.physics.spots import FLAG, Kind, SpotFrame, random_spots, without
from edge.reference import Reference
from edge.training.figures import Run, graph_run
from edge.training.rivals import peakfinder8

FAINT = 2.0, 3.0
"""Signal to noise of a spot's whole intensity: at and below the faintest ones of `edge evaluate peaks`."""

PER_MEGAPIXEL = 200.0

BACKGROUNDS = 0.1, 1.0, 10.0
"""Photons a pixel: of three experiments, for each of which a finder is set anew."""

SHAPE = (256, 256)
FRAMES, TUNING_FRAMES = 24, 12  # of each
SEED, TUNING_SEED = 2700, 2701
LEAST_COUNTS = 0.0, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 6.0, 11.0, 12.0, 13.0, 15.0
RIVAL_SETTINGS = tuple(
    peakfinder8.Settings(minimum_snr=ratio, adc_threshold=least, min_pixel_count=pixels, local_bg_radius=radius)
    for least, ratio, pixels, radius in product(LEAST_COUNTS, (2.0, 2.5, 3.0, 4.0), (1, 2, 3), (3, 7))
)
"""Finer in counts, and wider around, than one would try for raw frames alone: denoised spots are smooth and wide. In
signal to noise and pixels what raw frames need, too."""

SIGMAS_PX = 0.5, 0.7, 1.0, 1.3, 1.7, 2.2, 3.0
SCALES = 1.0, 3.0, 10.0, 30.0
"""By which counts may be multiplied before a graph sees them, which takes whole numbers."""

Images: TypeAlias = Sequence[Float]  # [height, width] counts, each


@dataclass(frozen=True)
class Family:
    """One finder with all settings that it may have. `find` says by setting and frame what is found, given frames, of
    which it may look at the beam, and the images that stand for theirs."""

    settings: Sequence[Any]
    find: Callable[[Images, Sequence[SpotFrame], Sequence[Any]], list[list[Found]]]


class Gain(NamedTuple):
    """What one finder finds of faint spots, raw and denoised, with equally many false finds."""

    raw: float  # share
    denoised: float
    points: float  # gain of 100 times these
    interval: tuple[float, float]
    by_background: list[dict[str, Any]]  # as `BACKGROUNDS`, raw and denoised


class Pair(NamedTuple):
    """What was found of one experiment in raw and in denoised frames, and how many false ones each may have."""

    raw: Ranked
    denoised: Ranked
    false_per_frame: float
    settings: tuple[str, str]


def faint_frames(background: float, count: int, seed: int) -> list[SpotFrame]:
    """Frames of a perfect photon counter with faint spots alone."""
    rng = np.random.default_rng(seed)
    many = (PER_MEGAPIXEL, PER_MEGAPIXEL)
    kind = without(Kind((background, background), FAINT, (0.8, 2.5), many, rings=0.0))
    return [random_spots(SHAPE, kind, rng) for _ in range(count)]


def filter_family() -> Family:
    """Gaussian matched filters."""

    def find(images: Images, frames: Sequence[SpotFrame], settings: Sequence[Any]) -> list[list[Found]]:
        return [[matched_filter(image, sigma) for image in images] for sigma in settings]

    return Family(SIGMAS_PX, find)


def peaks_family() -> Family:
    """The served spot finder; its score is the probability, and nothing below its threshold is listed."""
    run = graph_run(version_folder("peaks") / "model.onnx")

    def find(images: Images, frames: Sequence[SpotFrame], settings: Sequence[Any]) -> list[list[Found]]:
        return [[_listed(run(_whole(image, scale))) for image in images] for scale in settings]

    return Family(SCALES, find)


def peakfinder8_family(python: Path) -> Family:
    """peakfinder8; `find` raises RivalError."""

    def find(images: Images, frames: Sequence[SpotFrame], settings: Sequence[Any]) -> list[list[Found]]:
        pairs: Any = [(np.asarray(image, np.float32), frame.beam) for image, frame in zip(images, frames, strict=True)]
        found, _ = peakfinder8.find(python, pairs, settings)
        return found

    return Family(RIVAL_SETTINGS, find)


def recall_gains(run: Run, families: Mapping[str, Family]) -> dict[str, Gain]:
    """What each finder gains by frames that the denoiser `run` has seen first. Raises RivalError."""
    pairs: dict[str, list[Pair]] = {name: [] for name in families}
    for background in BACKGROUNDS:
        tuning = faint_frames(background, TUNING_FRAMES, TUNING_SEED)
        frames = faint_frames(background, FRAMES, SEED)
        for name, family in families.items():
            pairs[name].append(compared(family, tuning, frames, run))
    return {name: gain(pairs[name]) for name in families}


def compared(family: Family, tuning: Sequence[SpotFrame], frames: Sequence[SpotFrame], run: Run) -> Pair:
    """A finder on `frames`, raw and denoised, each with the settings that find most in the `tuning` frames.

    It may have as many false ones as on raw frames it has with the highest F1: as it is used.
    """

    def denoised(frame: SpotFrame) -> Float:
        return run(frame.image)["expected"].astype(np.float64)

    found = [
        [_ranked(one, tuning) for one in family.find([way(frame) for frame in tuning], tuning, family.settings)]
        for way in (_raw, denoised)
    ]
    _, false = max(one.best for one in found[0])
    settings = [family.settings[int(np.argmax([one.recall(false) for one in each]))] for each in found]
    raw, clean = (
        _ranked(family.find([way(frame) for frame in frames], frames, [setting])[0], frames)
        for way, setting in zip((_raw, denoised), settings, strict=True)
    )
    # Where one of the two has no more false ones, it would look worse for it.
    allowed = min(false, raw.false_per_frame, clean.false_per_frame)
    return Pair(raw, clean, allowed, (str(settings[0]), str(settings[1])))


def gain(pairs: Sequence[Pair]) -> Gain:
    """Of all experiments together; each has its own threshold, also where frames are drawn anew for the interval."""

    def recalls(drawn: NDArray[np.intp]) -> NDArray[np.float64]:
        sums, first = np.zeros((2, 2)), 0
        for pair in pairs:
            own = drawn[(drawn >= first) & (drawn < first + pair.raw.frames)] - first
            sums += [one.hits(pair.false_per_frame, own) for one in (pair.raw, pair.denoised)]
            first += pair.raw.frames
        return sums[:, 0] / sums[:, 1]

    whole = np.arange(sum(pair.raw.frames for pair in pairs))
    raw, denoised = (float(one) for one in recalls(whole))
    interval = bootstrap(lambda drawn: 100 * float(np.diff(recalls(drawn))[0]), len(whole))
    return Gain(raw, denoised, 100 * (denoised - raw), interval, [_told(pair) for pair in pairs])


def _told(pair: Pair) -> dict[str, Any]:
    """Of one experiment, in plain types; also with few false ones."""
    both = pair.raw, pair.denoised
    return {
        "false a frame": pair.false_per_frame,
        "recall": [one.recall(pair.false_per_frame) for one in both],
        "recall at one false a frame": [one.recall(1.0) for one in both],
        "settings": list(pair.settings),
    }


class PhaseGain(NamedTuple):
    """Mean phase errors in rad, and by what share the second is less."""

    raw: float
    denoised: float
    share: float
    interval: tuple[float, float]
    scales: tuple[float, float]  # by which both were multiplied


class Lit(NamedTuple):
    """Thinned frames, and where in a reference each patch begins."""

    raw: Float  # [n, height, width] counts
    denoised: Float  # the same
    positions: Float  # [n, 2] pixels


def phase_gain(test: Lit, tuning: Lit, reference: Reference, scales: Sequence[float]) -> PhaseGain:
    """What `ptycho` makes of the `test` frames, raw and denoised. Each kind is multiplied by the one of the `scales`
    that has the least error on the `tuning` frames."""
    folder = version_folder("ptycho")
    run = graph_run(folder / "model.onnx")
    patch_px = run(_whole(test.raw[0], 1.0))["phase"].shape[0]
    offset_px = (test.raw.shape[1] - patch_px) // 2
    inside = slice(offset_px, offset_px + patch_px)
    judge = PatchJudge(reference.image, probe_mask(load_probe(folder / "probe.npy"))[inside, inside], offset_px)

    def errors(frames: Float, positions: Float, scale: float) -> NDArray[np.float64]:
        found = []
        for image, at in zip(frames, positions, strict=True):
            said = run(_whole(image, scale))
            found.append(judge(said["amplitude"], said["phase"], at).phase_mae_rad)
        return np.array(found)

    chosen = [
        min(scales, key=lambda scale, frames=frames: float(errors(frames, tuning.positions, scale).mean()))
        for frames in (tuning.raw, tuning.denoised)
    ]
    before, after = (
        errors(frames, test.positions, scale) for frames, scale in zip((test.raw, test.denoised), chosen, strict=True)
    )

    def share(drawn: NDArray[np.intp]) -> float:
        return float(1 - after[drawn].mean() / before[drawn].mean())

    whole = np.arange(len(before))
    interval = bootstrap(share, len(before))
    return PhaseGain(float(before.mean()), float(after.mean()), share(whole), interval, (chosen[0], chosen[1]))


def _raw(frame: SpotFrame) -> Float:
    return frame.image.astype(np.float64)


def _ranked(found: Sequence[Found], frames: Sequence[SpotFrame]) -> Ranked:
    return ranked(found, [np.stack([frame.spots.row, frame.spots.col], axis=1) for frame in frames])


def _whole(image: Float, scale: float) -> NDArray[np.uint16]:
    """Counts times `scale` as the graphs take them; what is flagged stays so."""
    counts = np.minimum(np.rint(scale * image), MAX_UINT16_COUNT)
    flagged = (image == SENTINELS[2]) | (image == FLAG)
    return np.where(flagged, FLAG, counts).astype(np.uint16)


def _listed(outputs: Mapping[str, NDArray[Any]]) -> Found:
    count = int(outputs["count"][0])
    places = np.stack([outputs["row"][:count], outputs["column"][:count]], axis=1).astype(np.float64)
    return Found(places, outputs["probability"][:count].astype(np.float64))
