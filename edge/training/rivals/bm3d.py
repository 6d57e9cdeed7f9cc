"""BM3D as one would use it on counts: Anscombe transform, BM3D, exact unbiased inverse.

Dabov et al., IEEE Trans. Image Process. 16, 2080 (2007); Makinen et al., ibid. 29, 8339 (2020), whose authors' package
runs in an environment of its own. A frame takes seconds, so a folder keeps what was once computed.
"""

import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.physics.anscombe import anscombe, unbiased_inverse
from edge.training.rivals.calling import RivalError, call

MODULE = "bm3d"
SCRIPT = Path(__file__).with_name("bm3d_child.py")
CHUNK = 6
FRAME_S = 120.0
"""More than a frame of a few hundred pixels a side takes on any machine."""


class Denoised(NamedTuple):
    """Estimated counts [n, height, width], and how long each frame took in seconds [n]."""

    counts: NDArray[np.float64]
    seconds: NDArray[np.float64]


def denoised(
    images: NDArray[np.uint16], python: Path, kept: Path | None, progress: Callable[[int], None] = lambda done: None
) -> Denoised:
    """BM3D of `images` [n, height, width]; `kept` is a folder of earlier answers. Raises RivalError when it fails."""
    parts = []
    for start in range(0, len(images), CHUNK):
        parts.append(_chunk(np.ascontiguousarray(images[start : start + CHUNK]), python, kept))
        progress(min(start + CHUNK, len(images)))
    return Denoised(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _chunk(images: NDArray[np.uint16], python: Path, kept: Path | None) -> Denoised:
    name = hashlib.sha256(images.tobytes() + str(images.shape).encode() + SCRIPT.read_bytes()).hexdigest()[:24]
    file = None if kept is None else kept / f"bm3d-{name}.npz"
    found = None if file is None else _read(file)
    if found is None:
        answer = call(python, SCRIPT, {"images": anscombe(images)}, {}, 60.0 + FRAME_S * len(images))
        try:
            found = answer["images"], answer["seconds"]
        except KeyError as error:
            raise RivalError(f"{SCRIPT.name} under {python} answered nothing of {error}") from error
        if file is not None:
            _write(file, *found)
    filtered, seconds = found
    return Denoised(unbiased_inverse(filtered), seconds)


def _read(file: Path) -> tuple[NDArray[np.floating], NDArray[np.float64]] | None:
    """An earlier answer; None where there is none, or a broken one."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return stored["images"], stored["seconds"]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def _write(file: Path, filtered: NDArray[np.floating], seconds: NDArray[np.float64]) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with beside.open("wb") as stream:
            np.savez_compressed(stream, images=filtered.astype(np.float32), seconds=seconds)
        os.replace(beside, file)
    finally:
        beside.unlink(missing_ok=True)
