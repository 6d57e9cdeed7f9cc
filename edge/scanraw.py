"""What a reader of scan files gives, and how it finds the frames among the arrays of a file."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

MAX_LOADED_BYTES = 4 * 1024**3
"""Largest array that is read into memory whole."""

FRAMES = ("data", "reciprocal", "frames", "diffraction", "images")
"""Names of frame arrays, the usual one first. Any other name does where it is the only candidate."""

POSITIONS = {"scan": "px", "position": "m", "positions": "m", "translation": "m"}
"""Names of position arrays and their units."""

EXPECTED = "expected frames [n, height, width] of numbers"


class ScanFileError(ValueError):
    """The file is no scan that can be read; one line says what was found and what is expected."""


@dataclass(frozen=True)
class RawScan:
    """What a file holds, numbers as they are stored."""

    format: str
    count: int
    shape: tuple[int, int]  # (height, width)
    dtype: np.dtype[Any]
    read: Callable[[int], Array]  # the frame of an index, [height, width]
    close: Callable[[], None]
    positions: Array | None = None  # [n, 2] in (row, col)
    position_units: str | None = None  # "px" or "m"
    probe: Array | None = None  # [..., modes, height, width] complex
    as_sent: bool = False  # the frames lie as the detector sent them, whatever they look like


def in_memory(
    name: str,
    frames: Array,
    positions: Array | None = None,
    units: str | None = None,
    probe: Array | None = None,
) -> RawScan:
    """A scan of frames [n, height, width] that were read."""
    count, height, width = frames.shape
    read: Callable[[int], Array] = frames.__getitem__
    return RawScan(name, count, (height, width), frames.dtype, read, lambda: None, positions, units, probe)


def stack(frames: Array, name: str) -> Array:
    """The frames as [n, height, width]: leading axes of length 1 go, a single image becomes a stack of one."""
    while frames.ndim > 3 and frames.shape[0] == 1:
        frames = frames[0]
    if frames.ndim == 2:
        frames = frames[np.newaxis]
    if frames.ndim != 3 or frames.dtype.kind not in "biuf" or 0 in frames.shape:
        raise ScanFileError(f"{name} is {frames.dtype}{list(frames.shape)}; {EXPECTED}")
    return frames


def choose(heads: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]], dataset: str | None) -> str:
    """The name of the frames among arrays of known (shape, type)."""
    if dataset is not None:
        if dataset not in heads:
            raise ScanFileError(f"it has no dataset {dataset!r}; expected one of {_some(heads)}")
        return dataset
    stacks = [
        key
        for key, (shape, dtype) in heads.items()
        if len(shape) >= 3 and math.prod(shape[:-3]) == 1 and dtype.kind in "biuf"
    ]
    for name in FRAMES:
        named = [key for key in stacks if key.rsplit("/", 1)[-1] == name]
        if named:
            return max(named, key=lambda key: math.prod(heads[key][0]))
    if len(stacks) == 1:
        return stacks[0]
    if not stacks:
        raise ScanFileError(f"it holds {_some(heads)}; {EXPECTED}")
    raise ScanFileError(f"it holds several stacks ({_some(stacks)}); expected --dataset to name one")


def _some(names: Mapping[str, Any] | Sequence[str]) -> str:
    shown = sorted(names)[:8]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "") or "nothing"
