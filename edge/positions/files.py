"""Positions in files: .npy, .npz, HDF5 or CSV, a row an image.

A column is named by

* CSV: the title in its first line (separated by commas, tabs or spaces);
* .npz, HDF5: the array, `NAME` where it has one axis, `NAME:COLUMN` (from 0) where it has two;
* .npy: the column, `0`, or the field of a structured array.

Nothing is unpickled.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from edge.confined import inside
from edge.positions.settings import varying_part
from edge.unreadable import UNREADABLE
from streams.positions.headers import AxisOf
from streams.positions.table import PositionTable

MAX_BYTES = 1024**3
"""Largest file, or member of one, that is read."""

Column = Callable[[str], NDArray[Any]]


class PositionFileError(ValueError):
    """The file holds no positions that can be used; one line says what is wrong, where, and what to do."""


def file_of(pattern: str, series_id: int, series_uid: str, source: str) -> Path:
    """The file of one series. Its unique id comes from the wire: it chooses among the files of the folder only.

    The folder is what `pattern` names before its first field; links in it that lead out of it are not followed.

    Raises:
        PositionFileError: the name would be another folder's, or could not be any file's.
    """
    names = {"series_uid": series_uid.replace("/", "_"), "source": source.replace("/", "_")}
    varying = varying_part(pattern)
    folder = Path(pattern.removesuffix(varying).format())
    try:
        filled = varying.format(series_id=series_id, **names)
        return inside(folder, filled) if varying else folder
    except ValueError as error:
        raise PositionFileError(f"{error}; `file` of [source.positions] says what is read") from error


def load(path: Path, axes: Sequence[AxisOf], ids: str = "") -> PositionTable:
    """Read the positions of one series.

    Args:
        path: the file; its ending names the format.
        axes: which column gives which axis.
        ids: the column of image ids; empty: row i is image i.

    Raises:
        PositionFileError: it cannot be read, or lacks a column.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise PositionFileError(f"{path}: no format is known by that ending; use one of {', '.join(READERS)}")
    names = [axis.path[0] for axis in axes] + ([ids] if ids else [])
    try:
        found = READERS[suffix](path, names)
        columns = {axis.name: _numbers(axis.path[0], found[axis.path[0]]) for axis in axes}
        return PositionTable(axes, columns, _whole(ids, found[ids]) if ids else None)
    except UNREADABLE as error:
        raise PositionFileError(f"{path}: {error}; `file` and `axes` of [source.positions] say what is read") from error


def _npy(path: Path, names: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.names:
        return {name: _columns(_field(array, name), name) for name in names}
    return {name: _columns(array, f"the array:{name}") for name in names}


def _npz(path: Path, names: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.file_size > MAX_BYTES:
                raise ValueError(f"{info.filename} holds {info.file_size} bytes, at most {MAX_BYTES} are read")
    with np.load(path, allow_pickle=False) as archive:
        return {name: _columns(_member(archive, name), name) for name in names}


def _hdf5(path: Path, names: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    with h5py.File(path, "r") as file:
        return {name: _columns(_member(file, name), name) for name in names}


def _csv(path: Path, names: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    with path.open() as file:
        head = file.readline().lstrip("\ufeff# ").strip()
        separator = next((mark for mark in (",", ";", "\t") if mark in head), None)
        titles = [title.strip().strip('"') for title in head.split(separator)]
        for name in names:
            if titles.count(name) != 1:
                raise ValueError(f"no single column {name!r}, the first line has {', '.join(titles[:20])}")
        rows = np.loadtxt(file, delimiter=separator, usecols=[titles.index(name) for name in names], ndmin=2)
    return {name: rows[:, at] for at, name in enumerate(names)}


READERS: Mapping[str, Callable[[Path, Sequence[str]], Mapping[str, NDArray[Any]]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".nxs": _hdf5,
    ".csv": _csv,
    ".txt": _csv,
}
"""By ending."""


def _member(file: Any, name: str) -> Any:
    key = name if name in file else name.rpartition(":")[0]
    if not key or key not in file:
        raise ValueError(f"no array {key or name!r}")
    found = file[key]
    if not hasattr(found, "dtype"):
        raise ValueError(f"{key!r} is a group")
    return found


def _columns(array: Any, name: str) -> NDArray[Any]:
    """The array where it has one axis, else the column that `name` ends with."""
    if array.nbytes > MAX_BYTES:
        raise ValueError(f"{name} holds {array.nbytes} bytes, at most {MAX_BYTES} are read")
    _, _, column = name.rpartition(":")
    if array.ndim == 1:
        return np.asarray(array[:])
    if array.ndim != 2 or not column.isascii() or not column.isdigit() or int(column) >= array.shape[1]:
        raise ValueError(f"{name!r} names no column of an array {list(array.shape)}; write NAME:COLUMN, from 0")
    return np.asarray(array[:, int(column)])


def _field(array: Any, name: str) -> Any:
    if name not in array.dtype.names:
        raise ValueError(f"no field {name!r}, there are {', '.join(array.dtype.names)}")
    return array[name]


def _numbers(name: str, column: NDArray[Any]) -> NDArray[np.float64]:
    if column.dtype.kind not in "iuf" or column.ndim != 1:
        raise ValueError(f"column {name!r} is {column.dtype} {list(column.shape)}, not a list of numbers")
    return column.astype(np.float64)


def _whole(name: str, column: NDArray[Any]) -> NDArray[np.int64]:
    numbers = _numbers(name, column)
    if not np.all(np.isfinite(numbers)) or np.any(numbers != np.rint(numbers)) or np.any(np.abs(numbers) > 2**53):
        raise ValueError(f"column {name!r} holds numbers that are no image ids")
    return numbers.astype(np.int64)
