"""How good the served spot finder is: `edge evaluate peaks [--data FOLDER]`.

Runs `model.onnx` itself, with ONNX Runtime, on simulated frames whose truth is known, on the Bragg scene whose map
the summed intensities must follow, and, where a folder with them is named, on measured frames. Needs no torch.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from edge.inference.repository import version_folder
from edge.models.peaks import MOST_PEAKS, bragg_intensity
from edge.physics.arrays import Float
from edge.physics.bragg import bragg_sample, camera
from edge.physics.peak_judging import Tally, brightest_pixel, centre_of_mass, on_rings, pairs, tally
from edge.physics.spots import Kind, SpotFrame, random_spots
from edge.training.figures import TIME, Figures, Lines, Percentiles, Run, graph_run, median_ms, publish
from edge.training.measured_frames import CERIA_CENTRE, ceria_frame, ruby_frames

RATIOS = (3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 25.0, 50.0, 100.0)
FRAMES = 20
SHAPE = (256, 256)
FILTER_SIGMA_PX, FILTER_LIMIT = 1.3, 5.0
EXPOSURE_S, FRAMES_A_POINT = 0.025, 4
_NOTHING = Percentiles(np.nan, np.nan, np.nan)
_PLACES = {"model": "px", "brightest pixel": "px", "centre of mass": "px"}
_SCENE = {
    "bias counts": "counts",
    "bias % of the brightest": "%",
    "spread counts": "counts",
    "stated sigma": "counts",
}
_MEASURED = {"px 50/75/95 %": "px"}


def places(outputs: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Rows and columns [n, 2] of the spots in the model's outputs."""
    count = int(outputs["count"][0])
    return np.stack([outputs["row"][:count], outputs["column"][:count]], axis=1).astype(np.float64)


def matched_filter(image: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Rival: local maxima [n, 2] of the smoothed, stabilised image, five deviations above its surroundings."""
    good = image < 65534
    root = 2 * np.sqrt(np.where(good, image, 0) + 0.375)
    weight = np.maximum(ndimage.uniform_filter(good.astype(float), 21), 1e-6)
    flat = np.where(good, root - ndimage.uniform_filter(np.where(good, root, 0), 21) / weight, 0)
    smooth = ndimage.gaussian_filter(flat, FILTER_SIGMA_PX)
    noise = 1.4826 * np.median(np.abs(smooth[good] - np.median(smooth[good])))
    peak = (ndimage.maximum_filter(smooth, 5) == smooth) & (smooth > FILTER_LIMIT * max(noise, 1e-3))
    return np.argwhere(peak).astype(np.float64)


def sweep(run: Run, seed: int = 1) -> tuple[Lines, Lines]:
    """By signal-to-noise ratio: what is found, and how exactly (distance in pixels at 50/75/95 % of the spots)."""
    found_rows, place_rows = [], []
    for ratio in RATIOS:
        ours, theirs = Tally(), Tally()
        errors: dict[str, list[Float]] = {"model": [], "brightest pixel": [], "centre of mass": []}
        for frame in _frames(ratio, seed):
            truth, hidden = _seen(frame)
            found = places(run(frame.image))
            ours += tally(found, truth, hidden)
            theirs += tally(matched_filter(frame.image), truth, hidden)
            matched = pairs(found, truth)
            near = np.rint(found[matched[:, 0]])
            counts = np.where(frame.image < 65534, frame.image, 0)
            for name, guess in (
                ("model", found[matched[:, 0]]),
                ("brightest pixel", brightest_pixel(counts, near)),
                ("centre of mass", centre_of_mass(counts, near)),
            ):
                errors[name].append(np.hypot(*(guess - truth[matched[:, 1]]).T))
        row = {"signal to noise": ratio, "spots": ours.hits + ours.missed}
        row |= {"precision": ours.precision, "recall": ours.recall, "F1": ours.f1, "F1 of matched filter": theirs.f1}
        found_rows.append(row)
        places_at = {name: _percentiles(np.concatenate(each)) for name, each in errors.items()}
        place_rows.append({"signal to noise": ratio, **places_at})
    return found_rows, place_rows


def scene(run: Run, samples: int = 6, points: int = 40) -> Lines:
    """Summed intensities of the Bragg scene against the truth of the map, dim to bright."""
    truth, measured, sigma = [], [], []
    for seed in range(100, 100 + samples):
        rng = np.random.default_rng(seed)
        sample, detector = bragg_sample(seed), camera(SHAPE, seed)
        for x, y in rng.uniform(0, 1, (points, 2)):
            expected = sample.expected(x, y, SHAPE)
            sums = [
                bragg_intensity(run(detector.expose(expected, EXPOSURE_S, 1.0, rng))) for _ in range(FRAMES_A_POINT)
            ]
            truth.append(float(sample.total(x, y)) * EXPOSURE_S * FRAMES_A_POINT)
            measured.append(sum(one for one, _ in sums))
            sigma.append(np.sqrt(sum(variance for _, variance in sums)))
    order = np.argsort(truth)
    wanted, got, stated = (np.array(one)[order] for one in (truth, measured, sigma))
    full = wanted.max()
    rows = []
    for share in np.array_split(np.arange(len(wanted)), 5):
        off = got[share] - wanted[share]
        rows.append(
            {
                "true counts": f"{wanted[share[0]]:.0f}..{wanted[share[-1]]:.0f}",
                "points": len(share),
                "bias counts": float(np.mean(off)),
                "bias % of the brightest": 100 * float(np.mean(off)) / full,
                "spread counts": float(np.std(off)),
                "stated sigma": float(np.sqrt(np.mean(stated[share] ** 2))),
            }
        )
    return rows


def measured(run: Run, folder: Path, frames: int) -> Lines:
    """Ruby, against the list of HEXRD's spot finder."""
    total, frames_seen = Tally(), 0
    errors: list[Float] = []
    for image, truth, doubtful in ruby_frames(folder, frames):
        found = places(run(image))
        total += tally(found, truth, doubtful)
        matched = pairs(found, truth)
        errors.append(np.hypot(*(found[matched[:, 0]] - truth[matched[:, 1]]).T))
        frames_seen += 1
    return [
        {
            "frames": "ruby, 3888 x 3072",
            "looked at": frames_seen,
            "spots": total.hits + total.missed,
            "found": total.hits,
            "false": total.false,
            "recall": total.recall,
            "precision": total.precision,
            "px 50/75/95 %": _percentiles(np.concatenate(errors)),
        }
    ]


def powder(run: Run, folder: Path) -> Lines:
    """Ceria: what is found, and how much of it on the rings. The frame has faint compact spots beside them."""
    image = ceria_frame(folder)
    rows = []
    for name, found in (("model", places(run(image))), ("matched filter", matched_filter(image))):
        rings = on_rings(image, image < 65534, found, CERIA_CENTRE)
        rows.append({"method": name, "found": len(found), "on rings": int(rings.sum())})
    return rows


@click.command("peaks")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Measured frames.")
@click.option("--frames", default=24, show_default=True, help="Measured frames to look at, evenly over the scan.")
@click.option("--model", type=click.Path(exists=True, file_okay=False, path_type=Path), help="[default: as shipped]")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write the rows here.")
def evaluate_peaks(data: Path | None, frames: int, model: Path | None, json_file: Path | None) -> None:
    """Judge the spot finder on simulated frames, and on measured ones where a folder is named."""
    run = graph_run((model or version_folder("peaks")) / "model.onnx")
    publish(_tables(run, data, frames), json_file)


def _tables(run: Run, data: Path | None, frames: int) -> Iterator[Figures]:
    found, at = sweep(run)
    yield Figures("found", f"{FRAMES} simulated frames of 256 x 256 a line, matched within 2 px", found)
    yield Figures("places", "Their places: distance in px at 50/75/95 % of the spots", at, _PLACES)
    yield Figures(
        "scene", f"Bragg scene, {FRAMES_A_POINT} frames of {1e3 * EXPOSURE_S:g} ms a point", scene(run), _SCENE
    )
    image = next(_frames(20.0, 2)).image
    yield Figures("time", TIME, [{"frame": "256 x 256", "ms": median_ms(run, image)}], {"ms": "ms"})
    if data is not None:
        title = f"Powder rings of ceria, 1679 x 1475; the model lists {MOST_PEAKS} at most"
        yield Figures("measured", "Measured frames, matched within 2 px", measured(run, data, frames), _MEASURED)
        yield Figures("powder", title, powder(run, data))


def _frames(ratio: float, seed: int) -> Iterator[SpotFrame]:
    kind = Kind(
        background=(0.05, 30.0),
        signal_to_noise=(ratio, ratio),
        sigma_px=(0.8, 2.5),
        per_megapixel=(450.0, 450.0),
        integrating=0.0,
        thresholded=0.0,
    )
    rng = np.random.default_rng(seed)
    for _ in range(FRAMES):
        yield random_spots(SHAPE, kind, rng)


def _seen(frame: SpotFrame) -> tuple[Float, Float]:
    """Spots whose surroundings are on good pixels, and those that are partly hidden; [n, 2] each."""
    where = np.stack([frame.spots.row, frame.spots.col], axis=1)
    bad = np.pad((frame.image >= 65534).astype(float), 3, constant_values=1.0)
    cover = np.array([bad[int(r) : int(r) + 7, int(c) : int(c) + 7].mean() for r, c in np.rint(where)])
    return where[cover < 0.2], where[cover >= 0.2]


def _percentiles(errors: Float) -> Percentiles:
    return Percentiles(*(float(value) for value in np.percentile(errors, [50, 75, 95]))) if len(errors) else _NOTHING
