# pyright: reportMissingImports=false
"""peakfinder8 (Barty et al., J. Appl. Cryst. 47, 1118, 2014; PyPI `ondamonitor` with numpy 1, GPL) on given frames.

Runs in an environment of its own. FOLDER holds `images.npy` uint16 [n, height, width] (65534 and above: flagged),
`beams.npy` [n, 2] row and column of the beam, and settings.json {"settings": [{name of peakfinder8's parameter:
value}], "fast": bool, "timed": bool}. Writes for every setting and frame, in that order, `out_count.npy` int64
[settings, n] and `out_seconds.npy` [settings, n], and for all their peaks one after the other `out_place.npy`
[peaks, 2] row, column and `out_score.npy` [peaks] the signal to noise. Where "timed", each frame is searched once
before the clock runs. Imports nothing of the project.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from om.algorithms.crystallography import Peakfinder8PeakDetection

FIRST_FLAG = 65534
MOST_PEAKS = 8192


def main(folder: Path) -> None:
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    beams = np.load(folder / "beams.npy", allow_pickle=False)
    asked = json.loads((folder / "settings.json").read_text())
    count = np.zeros((len(asked["settings"]), len(images)), dtype=np.int64)
    seconds = np.zeros(count.shape)
    places, scores = {}, {}
    for frame, (image, beam) in enumerate(zip(images, beams, strict=True)):
        row, col = (np.arange(length) - centre for length, centre in zip(image.shape, beam, strict=True))
        radius = np.hypot(row[:, None], col[None, :]).astype(np.float32)
        good = (image < FIRST_FLAG).astype(np.int8)
        for index, setting in enumerate(asked["settings"]):
            finder = prepared(setting, radius, good, asked["fast"])
            if asked["timed"]:
                finder.find_peaks(data=image)
            begin = time.perf_counter()
            found = finder.find_peaks(data=image)
            seconds[index, frame] = time.perf_counter() - begin
            count[index, frame] = found["num_peaks"]
            places[index, frame] = np.stack([found["ss"], found["fs"]], axis=1).reshape(-1, 2)
            scores[index, frame] = np.asarray(found["snr"], dtype=np.float64)
    order = list(np.ndindex(count.shape))
    np.save(folder / "out_count.npy", count)
    np.save(folder / "out_seconds.npy", seconds)
    np.save(folder / "out_place.npy", np.concatenate([places[one] for one in order]).astype(np.float64))
    np.save(folder / "out_score.npy", np.concatenate([scores[one] for one in order]))


def prepared(setting: dict, radius: np.ndarray, good: np.ndarray, fast: bool) -> Peakfinder8PeakDetection:
    """The finder for frames with these radii and good pixels."""
    fixed = {"max_num_peaks": MOST_PEAKS, "min_res": 0, "max_res": 10**6, "fast_mode": fast}
    none = {"bad_pixel_map_filename": None, "bad_pixel_map_hdf5_path": None}
    height, width = radius.shape
    finder = Peakfinder8PeakDetection(
        radius_pixel_map=radius,
        layout_info={"asic_nx": width, "asic_ny": height, "nasics_x": 1, "nasics_y": 1},
        crystallography_parameters={**fixed, **none, **setting},
    )
    finder.set_bad_pixel_map(good)
    return finder


if __name__ == "__main__":
    main(Path(sys.argv[1]))
