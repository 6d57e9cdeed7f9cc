"""The file formats of measured scans: each function reads one, without interpreting its numbers.

Nothing is unpickled. HDF5, TIFF and .npy files are read frame by frame; what has to be loaded whole (.npz) is
refused above `MAX_LOADED_BYTES`, by its declared size, before anything is allocated.
"""

import bz2
import io
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import h5py
import numpy as np
import tifffile
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


def _npz(path: Path, dataset: str | None) -> RawScan:
    with path.open("rb") as file:
        return _npz_members(file, dataset)


def _npz_bz2(path: Path, dataset: str | None) -> RawScan:
    with bz2.open(path) as file:
        content = file.read(MAX_LOADED_BYTES + 1)
    if len(content) > MAX_LOADED_BYTES:
        raise ScanFileError(f"it unpacks to more than {MAX_LOADED_BYTES} bytes; expected less (use HDF5)")
    return _npz_members(io.BytesIO(content), dataset)


def _npz_members(file: BinaryIO, dataset: str | None) -> RawScan:
    with zipfile.ZipFile(file) as archive:
        heads = {
            name.removesuffix(".npy"): _npy_head(archive, name) for name in archive.namelist() if name.endswith(".npy")
        }
        key = _choose(heads, dataset)
        frames = _stack(_npy_member(archive, key), key)
        positions, units = None, None
        for name, unit in POSITIONS.items():
            if name in heads:
                positions, units = _npy_member(archive, name), unit
                positions = positions.reshape(-1, positions.shape[-1]) if positions.ndim else positions
                break
        probe = _npy_member(archive, "probe") if "probe" in heads else None
    return _in_memory("npz", frames, positions, units, probe)


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


def _npy(path: Path, dataset: str | None) -> RawScan:
    if dataset is not None:
        raise ScanFileError(f"a .npy file has no datasets, so none named {dataset!r}; expected no --dataset")
    frames = np.load(path, mmap_mode="r", allow_pickle=False)
    return _in_memory("npy", _stack(frames, "the array"))


def _in_memory(
    name: str,
    frames: Array,
    positions: Array | None = None,
    units: str | None = None,
    probe: Array | None = None,
) -> RawScan:
    count, height, width = frames.shape
    read: Callable[[int], Array] = frames.__getitem__
    return RawScan(name, count, (height, width), frames.dtype, read, lambda: None, positions, units, probe)


def _stack(frames: Array, name: str) -> Array:
    """The frames as [n, height, width]: leading axes of length 1 go, a single image becomes a stack of one."""
    while frames.ndim > 3 and frames.shape[0] == 1:
        frames = frames[0]
    if frames.ndim == 2:
        frames = frames[np.newaxis]
    if frames.ndim != 3 or frames.dtype.kind not in "biuf" or 0 in frames.shape:
        raise ScanFileError(f"{name} is {frames.dtype}{list(frames.shape)}; {EXPECTED}")
    return frames


def _choose(heads: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]], dataset: str | None) -> str:
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
        pieces = [found[_choose(heads, dataset and dataset.strip("/"))]]
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
            head = _stack(_page(pages, 0), "a page")
            height, width = head.shape[-2:]
            return RawScan("tiff", count, (height, width), head.dtype, lambda i: _page(pages, i), file.close)
        if series.nbytes > MAX_LOADED_BYTES:
            raise ScanFileError(f"its stack of {series.nbytes} bytes is not split into pages; expected pages")
        frames = _stack(series.asarray(), "the stack")
        file.close()
        return _in_memory("tiff", frames)
    except BaseException:
        file.close()
        raise


def _page(pages: Any, number: int) -> Array:
    return pages[number].asarray()


READERS: Mapping[tuple[str, ...], Callable[[Path, str | None], RawScan]] = {
    (".npz.bz2",): _npz_bz2,
    (".npz",): _npz,
    (".npy",): _npy,
    (".h5", ".hdf5", ".hdf", ".nxs", ".cxi"): _hdf5,
    (".tif", ".tiff"): _tiff,
}
"""File endings and what reads them."""
