"""Masks, maps and geometries out of files: .npy, .npz, HDF5 (`FILE:/dataset`), TIFF, .geom."""

import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
from numpy.typing import NDArray

from edge.conditioning.errors import ConditioningError
from edge.conditioning.geom import Geometry, GeometryError, parse
from edge.unreadable import UNREADABLE

MAX_BYTES = 8 << 30
"""Largest array that is read; the gain maps of a JUNGFRAU 16M have 384 MB."""

MAX_GEOMETRY_BYTES = 64 << 20


def split(where: str) -> tuple[Path, str]:
    """File and dataset of `FILE` or `FILE:DATASET`, e.g. "mask.h5:/entry/mask"."""
    file, colon, dataset = where.rpartition(":")
    return (Path(file), dataset) if colon and file and not Path(where).is_file() else (Path(where), "")


def read_array(where: str, setting: str) -> NDArray[Any]:
    """An array of numbers or truth values.

    Args:
        where: `FILE`, or `FILE:DATASET` where a file holds several.
        setting: for which; named in errors.

    Raises:
        ConditioningError: it cannot be read.
    """
    path, dataset = split(where)
    try:
        if h5py.is_hdf5(path):
            array = _from_hdf5(path, dataset, setting)
        elif path.suffix.lower() in (".tif", ".tiff"):
            array = _from_tiff(path)
        else:
            array = _from_numpy(path, dataset, setting)
    except OSError as error:
        raise ConditioningError(f"{setting}: cannot read {path}: {error.strerror or error}") from error
    except UNREADABLE as error:
        if isinstance(error, ConditioningError):
            raise
        raise ConditioningError(
            f"{setting}: {path} is no array that can be read ({error}); there are .npy, .npz, HDF5 and TIFF"
        ) from error
    if array.dtype.kind not in "buif" or not 2 <= array.ndim <= 4:
        raise ConditioningError(f"{setting}: {where} holds {array.dtype}{list(array.shape)}, not images of numbers")
    return array


def _from_hdf5(path: Path, dataset: str, setting: str) -> NDArray[Any]:
    with h5py.File(path, "r") as file:
        item = file.get(dataset) if dataset else _only_dataset(file, path, setting)
        if not isinstance(item, h5py.Dataset):
            raise ConditioningError(f"{setting}: {path} has no dataset {dataset!r}; there are {_names(file)}")
        if item.nbytes > MAX_BYTES:
            raise ConditioningError(f"{setting}: {path}:{dataset} has {item.nbytes >> 20} MiB; that is no map")
        return item[()]


def _only_dataset(file: h5py.File, path: Path, setting: str) -> Any:
    names = _datasets(file)
    if len(names) != 1:
        raise ConditioningError(f"{setting}: name one dataset of {path} as FILE:DATASET; there are {_names(file)}")
    return file[names[0]]


def _datasets(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def _names(file: h5py.File) -> str:
    names = _datasets(file)
    return ", ".join(f"/{name}" for name in names[:10]) + (", ..." if len(names) > 10 else "") or "none"


def _from_tiff(path: Path) -> NDArray[Any]:
    try:
        return tifffile.imread(path)
    except (tifffile.TiffFileError, ArithmeticError, IndexError, TypeError, struct.error) as error:
        raise ValueError(f"no whole TIFF: {error}") from error


def _from_numpy(path: Path, dataset: str, setting: str) -> NDArray[Any]:
    with path.open("rb") as file:  # numpy does not close what it opens itself where that is damaged
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        if not dataset and len(loaded.files) == 1:
            dataset = loaded.files[0]
        if dataset not in loaded.files:
            raise ConditioningError(f"{setting}: name one array of {path} as FILE:NAME; there are {loaded.files[:10]}")
        return loaded[dataset]


def read_geometry(where: str, setting: str) -> Geometry:
    """A CrystFEL geometry file.

    Raises:
        ConditioningError: it cannot be read or used; the text names the line.
    """
    try:
        with Path(where).open("rb") as file:
            content = file.read(MAX_GEOMETRY_BYTES + 1)
    except OSError as error:
        raise ConditioningError(f"{setting}: cannot read {where}: {error.strerror}") from error
    try:
        if len(content) > MAX_GEOMETRY_BYTES:
            raise GeometryError(f"more than {MAX_GEOMETRY_BYTES >> 20} MiB")
        return parse(content.decode())
    except (GeometryError, UnicodeDecodeError) as error:
        raise ConditioningError(f"{setting}: {where}: {error}") from error


def masks_of(geometry: Geometry, setting: str) -> NDArray[np.uint32] | None:
    """The masks that a geometry keeps in files of their own, joined: 0 a good pixel, 2 a bad one.

    Raises:
        ConditioningError: one cannot be read, or they are of different shapes.
    """
    joined: NDArray[np.uint32] | None = None
    for mask in geometry.masks:
        bits = read_array(f"{mask.file}:{mask.dataset}", f"{setting}: its mask").astype(np.uint32)
        bad = ((bits & mask.good_bits) != mask.good_bits) | ((bits & mask.bad_bits) != 0)
        if joined is not None and joined.shape != bad.shape:
            raise ConditioningError(f"{setting}: its masks have shapes {list(joined.shape)} and {list(bad.shape)}")
        flags = np.where(bad, 2, 0).astype(np.uint32)
        joined = flags if joined is None else joined | flags
    return joined
