"""Scans in .npz files: stacks of frames, and HEXRD's frame caches.

A stack is loaded whole, refused above `MAX_LOADED_BYTES` by its declared size before anything is allocated. The frames
of a frame cache are made one by one.
"""

import bz2
import io
import math
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from edge.scanraw import EXPECTED, MAX_LOADED_BYTES, POSITIONS, Array, RawScan, ScanFileError, choose, in_memory, stack


def read_npz(path: Path, dataset: str | None) -> RawScan:
    """Frames, positions and probe of an .npz file."""
    file = path.open("rb")
    try:
        return _npz_scan(file, dataset)
    except BaseException:
        file.close()
        raise


def read_npz_bz2(path: Path, dataset: str | None) -> RawScan:
    """The same, compressed as a whole."""
    with bz2.open(path) as file:
        content = file.read(MAX_LOADED_BYTES + 1)
    if len(content) > MAX_LOADED_BYTES:
        raise ScanFileError(f"it unpacks to more than {MAX_LOADED_BYTES} bytes; expected less (use HDF5)")
    return _npz_scan(io.BytesIO(content), dataset)


def _npz_scan(file: BinaryIO, dataset: str | None) -> RawScan:
    archive = zipfile.ZipFile(file)
    if dataset is None and _CACHE.issubset(archive.namelist()):
        return _frame_cache(archive, file)
    with file:
        return _npz_members(archive, dataset)


def _npz_members(archive: zipfile.ZipFile, dataset: str | None) -> RawScan:
    heads = {
        name.removesuffix(".npy"): _npy_head(archive, name) for name in archive.namelist() if name.endswith(".npy")
    }
    key = choose(heads, dataset)
    frames = stack(_npy_member(archive, key), key)
    if key == "reciprocal":
        frames = _unwrapped(frames)
    positions, units = None, None
    for name, unit in POSITIONS.items():
        if name in heads:
            positions, units = _npy_member(archive, name), unit
            positions = positions.reshape(-1, positions.shape[-1]) if positions.ndim else positions
            break
    probe = _npy_member(archive, "probe") if "probe" in heads else None
    return in_memory("npz", frames, positions, units, probe)


def _unwrapped(frames: Array) -> Array:
    """APS 2-ID-D: counts of 16 bits that were read as signed, and then stored as int32. 40000 is there as -25536."""
    if frames.dtype != np.int32:
        return frames
    least, most = int(frames.min()), int(frames.max())
    return frames.astype(np.uint16) if -(2**15) <= least < 0 and most < 2**15 else frames


_CACHE = {"shape.npy", "nframes.npy", "dtype.npy", "0_row.npy", "0_col.npy", "0_data.npy"}
"""What every frame cache of HEXRD has (hexrd.imageseries, "frame-cache" in .npz)."""


def _frame_cache(archive: zipfile.ZipFile, file: BinaryIO) -> RawScan:
    """HEXRD's frame cache: of every frame the rows, columns and counts of the pixels above a threshold.

    The frames are made one by one: all together a scan has 34 GB.
    """
    height, width = (int(length) for length in _small(archive, "shape", 2))
    (count,) = (int(number) for number in _small(archive, "nframes", 1))
    dtype = _dtype(_small(archive, "dtype", 1)[0])
    if height < 1 or width < 1 or dtype.kind not in "uif" or height * width * dtype.itemsize > MAX_LOADED_BYTES:
        raise ScanFileError(f"its frames are {dtype}[{height}, {width}]; {EXPECTED}")
    names = set(archive.namelist())
    if count < 1 or count > len(names) or f"{count - 1}_data.npy" not in names:
        raise ScanFileError(f"it announces {count} frames and does not hold so many; the file is cut short")

    def read(index: int) -> Array:
        frame = np.zeros((height, width), dtype)
        rows, columns, counts = (_pixels(archive, f"{index}_{part}") for part in ("row", "col", "data"))
        if not rows.size == columns.size == counts.size or not np.can_cast(counts.dtype, dtype, "same_kind"):
            raise ScanFileError(f"frame {index} has {rows.size} rows, {columns.size} columns, {counts.size} counts")
        for name, places, length in (("row", rows, height), ("column", columns, width)):
            if places.dtype.kind not in "ui" or (places.size and not 0 <= places.min() <= places.max() < length):
                raise ScanFileError(f"frame {index} has a {name} outside of its {length}")
        frame[rows, columns] = counts
        return frame

    def close() -> None:
        archive.close()
        file.close()

    return RawScan("hexrd", count, (height, width), dtype, read, close, as_sent=True)


def _small(archive: zipfile.ZipFile, key: str, length: int) -> Array:
    """A member of a few values."""
    shape, _ = _npy_head(archive, f"{key}.npy")
    if math.prod(shape) != length:
        raise ScanFileError(f"{key} has the shape {list(shape)}; expected {length} values")
    return np.ravel(_npy_member(archive, key))


def _dtype(value: Any) -> np.dtype[Any]:
    name = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    try:
        return np.dtype(name)
    except TypeError:
        raise ScanFileError(f"its frames are of the type {name[:40]!r}; {EXPECTED}") from None


def _pixels(archive: zipfile.ZipFile, key: str) -> Array:
    _npy_head(archive, f"{key}.npy")
    return np.ravel(_npy_member(archive, key))


def _npy_head(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of one member; its size is checked before anybody allocates it."""
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        if version not in ((1, 0), (2, 0)):
            raise ScanFileError(f"{name} is of .npy version {version}; expected 1.0 or 2.0")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_LOADED_BYTES:
        raise ScanFileError(f"{name} holds {size} bytes; expected at most {MAX_LOADED_BYTES} (use .npy or HDF5)")
    if not dtype.hasobject and size > archive.getinfo(name).file_size:
        raise ScanFileError(f"{name} is cut short; {EXPECTED}")
    return shape, dtype


def _npy_member(archive: zipfile.ZipFile, key: str) -> Array:
    with archive.open(f"{key}.npy") as member:
        return np.lib.format.read_array(member, allow_pickle=False)
