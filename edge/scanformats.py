"""The file formats of measured scans: each function reads one, without interpreting its numbers.

Nothing is unpickled. HDF5, TIFF and .npy files are read frame by frame; what has to be loaded whole (.npz) is
refused above `MAX_LOADED_BYTES`, by its declared size, before anything is allocated.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile

from edge.scanarchives import read_npz, read_npz_bz2
from edge.scanraw import EXPECTED, MAX_LOADED_BYTES, POSITIONS, Array, RawScan, ScanFileError, choose, in_memory, stack


def read_file(path: Path, dataset: str | None) -> RawScan:
    """Open a file by its ending; `dataset` names the frames in it and overrides the search.

    Raises:
        ScanFileError: the ending is not known, or the content is no scan.
        OSError, ValueError, EOFError, KeyError: from the libraries, for damaged files.
    """
    name = path.name.lower()
    for endings, reader in READERS.items():
        if name.endswith(endings):
            return reader(path, dataset)
    known = ", ".join(ending for endings in READERS for ending in endings)
    raise ScanFileError(f"no format is known by that ending; expected one of {known}")


def _npy(path: Path, dataset: str | None) -> RawScan:
    if dataset is not None:
        raise ScanFileError(f"a .npy file has no datasets, so none named {dataset!r}; expected no --dataset")
    frames = np.load(path, mmap_mode="r", allow_pickle=False)
    return in_memory("npy", stack(frames, "the array"))


def _hdf5(path: Path, dataset: str | None) -> RawScan:
    import hdf5plugin  # noqa: F401  registers the filters of detectors' files with HDF5

    file = h5py.File(path, "r")
    try:
        return _hdf5_scan(file, dataset)
    except BaseException:
        file.close()
        raise


def _hdf5_scan(file: h5py.File, dataset: str | None) -> RawScan:
    found = _datasets(file)
    name = "cxi" if "cxi_version" in file else "hdf5"
    if dataset is not None and dataset.strip("/") not in found and isinstance(file.get(dataset), h5py.Dataset):
        found[dataset.strip("/")] = file[dataset]  # behind a link, where the search does not go
    pieces = _detector_pieces(file) if dataset is None else []
    if not pieces:
        heads = {key: (value.shape, value.dtype) for key, value in found.items()}
        pieces = [found[choose(heads, dataset and dataset.strip("/"))]]
    count, shape, read = _joined(pieces)
    positions, units = _hdf5_positions(found, name)
    return RawScan(name, count, shape, pieces[0].dtype, read, file.close, positions, units)


def _datasets(file: h5py.File) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            found[name] = item

    file.visititems(visit)
    return found


def _detector_pieces(file: h5py.File) -> list[Any]:
    """The linked files of a DECTRIS master file: /entry/data/data_000001, data_000002, ..."""
    group: Any = file.get("entry/data")
    if not isinstance(group, h5py.Group):
        return []
    names = sorted(name for name in map(str, group) if name.startswith("data_") and name[5:].isdigit())
    pieces: list[Any] = []
    for name in names:
        try:
            pieces.append(group[name])
        except (KeyError, OSError):
            raise ScanFileError(f"/entry/data/{name} links to a file that is missing; expected it beside") from None
    return pieces


def _joined(pieces: list[Any]) -> tuple[int, tuple[int, int], Callable[[int], Array]]:
    """Count, shape and access by index over datasets that follow each other."""
    index: list[tuple[Any, tuple[int, ...]]] = []
    for piece in pieces:
        leading = piece.shape[:-2]
        if piece.ndim < 2 or piece.dtype.kind not in "biuf" or 0 in piece.shape or math.prod(leading[:-1]) != 1:
            raise ScanFileError(f"{piece.name} is {piece.dtype}{list(piece.shape)}; {EXPECTED}")
        if piece.shape[-2:] != pieces[0].shape[-2:] or piece.dtype != pieces[0].dtype:
            raise ScanFileError(f"{piece.name} differs in shape or type from {pieces[0].name}; {EXPECTED}")
        before = (0,) * (len(leading) - 1)
        index += [(piece, (*before, number) if leading else ()) for number in range(math.prod(leading[-1:]))]

    def read(number: int) -> Array:
        piece, at = index[number]
        return piece[at] if at else piece[()]

    height, width = pieces[0].shape[-2:]
    return len(index), (height, width), read


def _hdf5_positions(found: Mapping[str, Any], name: str) -> tuple[Array | None, str | None]:
    """Positions in (row, col). CXI 1.6 stores (x, y, z) in metres: row is y, column is x, signs as stored."""
    for key in sorted(found):
        last = key.rsplit("/", 1)[-1]
        item = found[key]
        if last not in POSITIONS or item.ndim != 2 or item.dtype.kind not in "iuf":
            continue
        if name == "cxi" and item.shape[1] == 3:
            return item[:, :2][:, ::-1], "m"
        if item.shape[1] == 2:
            return item[()], POSITIONS[last]
    return None, None


def _tiff(path: Path, dataset: str | None) -> RawScan:
    if dataset is not None:
        raise ScanFileError(f"a TIFF file has no datasets, so none named {dataset!r}; expected no --dataset")
    file = tifffile.TiffFile(path)
    try:
        series = file.series[0]
        shape, count = series.shape, len(series.pages)
        if len(shape) in (2, 3) and count == (shape[0] if len(shape) == 3 else 1):
            pages = series.pages
            head = stack(_page(pages, 0), "a page")
            height, width = head.shape[-2:]
            return RawScan("tiff", count, (height, width), head.dtype, lambda i: _page(pages, i), file.close)
        if series.nbytes > MAX_LOADED_BYTES:
            raise ScanFileError(f"its stack of {series.nbytes} bytes is not split into pages; expected pages")
        frames = stack(series.asarray(), "the stack")
        file.close()
        return in_memory("tiff", frames)
    except BaseException:
        file.close()
        raise


def _page(pages: Any, number: int) -> Array:
    return pages[number].asarray()


READERS: Mapping[tuple[str, ...], Callable[[Path, str | None], RawScan]] = {
    (".npz.bz2",): read_npz_bz2,
    (".npz",): read_npz,
    (".npy",): _npy,
    (".h5", ".hdf5", ".hdf", ".nxs", ".cxi"): _hdf5,
    (".tif", ".tiff"): _tiff,
}
"""File endings and what reads them."""
