# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
"""BM3D (PyPI `bm3d`, for non-commercial use) on stabilised images; runs in an environment of its own.

FOLDER holds `images.npy` float64 [n, height, width] whose noise has a deviation of one. Writes `out_images.npy` of
the same shape, and `out_seconds.npy` [n]. Imports nothing of the project.
"""

import sys
import time
from pathlib import Path

import bm3d
import numpy as np


def main(folder: Path) -> None:
    images = np.load(folder / "images.npy", allow_pickle=False)
    filtered, seconds = np.empty_like(images), np.empty(len(images))
    for index, image in enumerate(images):
        begin = time.perf_counter()
        filtered[index] = bm3d.bm3d(image, sigma_psd=1.0)
        seconds[index] = time.perf_counter() - begin
    np.save(folder / "out_images.npy", filtered)
    np.save(folder / "out_seconds.npy", seconds)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
