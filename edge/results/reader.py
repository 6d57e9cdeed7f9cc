"""Reads a result file: its summary, and the values that a picture shows. Believes nothing that it has not found."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from edge.results.channel import Status
from edge.results.columns import OWN_NAMES
from edge.results.errors import ResultFileError
from edge.results.hdf import dataset_at, group_at, last_name
from edge.results.nexus import FORMAT
from edge.results.summary import MOST_HOLES, ChannelSummary, DatasetSummary, RawSummary, Summary, Untrained, value_range

BLOCK_BYTES = 4 << 20
MOST_LINKS = 10_000
RAW = "entry/instrument/detector/raw"


@contextmanager
def open_result_file(path: Path) -> Iterator[h5py.File]:
    """A result file, open for reading.

    Raises:
        ResultFileError: no HDF5, not ours, truncated, damaged, of another version; also from the block's own reading.
    """
    try:
        with h5py.File(path, "r") as file:
            version = file.attrs.get("edge_results")
            if version is None:
                raise ResultFileError(f"{path} is an HDF5 file, but no result file of edge serve")
            if int(version) != FORMAT:
                raise ResultFileError(f"{path} has layout version {version}; this program reads {FORMAT}, update it")
            yield file
    except FileNotFoundError as error:
        raise ResultFileError(f"there is no {path}") from error
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        if isinstance(error, ResultFileError):
            raise
        raise ResultFileError(
            f"cannot read {path}: {error}. A result file is HDF5 and moved into place whole: copy it again, or build "
            "it again from its log where that is still there"
        ) from error


def summarise_file(path: Path, *, statistics: bool = True) -> Summary:
    """The summary of a result file; with `statistics` every value is read, and so every checksum tested.

    Raises:
        ResultFileError: see `open_result_file`.
    """
    with open_result_file(path) as file:
        entry = group_at(file, "entry")
        account, process = group_at(entry, "account"), _default(entry)
        groups = [group for group in process.values() if isinstance(group, h5py.Group)]
        held = _plain(account["file"])
        return Summary(
            file=str(path),
            kind="file",
            source=_text(entry, "instrument/detector/local_name"),
            series_id=int(dataset_at(entry, "series_id")[()]),
            series_uid=_text(entry, "entry_identifier"),
            route=_text(entry, "route"),
            model=_text(process, "model"),
            model_version=_text(process, "model_version"),
            model_sha256=_text(process, "model_sha256"),
            start=_text(entry, "start_time"),
            end=_text(entry, "end_time"),
            verdict=_text(account, "verdict"),
            served_verdict=_text(account, "served_verdict"),
            reason=_text(account, "reason"),
            images=held.get("images"),
            stored=held["stored"],
            arrivals=_plain(account.get("arrivals")),
            account=_plain(account.get("account")),
            detector=_plain(account.get("detector")),
            positions=_plain(account.get("positions")),
            suspicion=_text(account, "suspicion"),
            untrained=_untrained(process),
            latency_ms=_plain(account.get("latency")),
            refused=held["refused"],
            damaged_bytes=held["damaged_bytes"],
            torn_bytes=held["torn_bytes"],
            starts=held["starts"],
            channels=[_channel(group, account) for group in groups],
            datasets=[one for group in groups for one in _datasets(group, statistics)],
            raw=_raw(file),
        )


def _untrained(process: h5py.Group) -> Untrained | None:
    if "untrained" not in process.attrs:
        return None
    reasons = np.atleast_1d(np.asarray(process.attrs["untrained"]))
    return Untrained(int(np.asarray(process.attrs["untrained_results"])), [str(reason) for reason in reasons])


def _text(group: h5py.Group, name: str) -> str:
    return str(dataset_at(group, name).asstr()[()]) if name in group else ""


def _default(group: h5py.Group) -> h5py.Group:
    """The group that NeXus calls the default below `group`."""
    return group_at(group, str(group.attrs["default"]))


def _plain(group: Any) -> dict[str, Any]:
    """Scalars and groups of scalars as Python's own types; empty for what is no group."""
    plain: dict[str, Any] = {}
    for name, value in group.items() if isinstance(group, h5py.Group) else ():
        if isinstance(value, h5py.Group):
            plain[name] = _plain(value)
        elif isinstance(value, h5py.Dataset):
            scalar = value[()]
            plain[name] = scalar.decode() if isinstance(scalar, bytes) else scalar.item()
    return plain


def _channel(group: h5py.Group, account: h5py.Group) -> ChannelSummary:
    without = dataset_at(group_at(account, "without_result"), last_name(group))
    holes = [(int(start), int(stop)) for start, stop in without[:MOST_HOLES]]
    status = dataset_at(group, "status")
    stored = sum(int(np.count_nonzero(block == Status.PUBLISHED)) for _, block in _blocks(status))
    return ChannelSummary(str(group.attrs["channel"]), len(status), stored, holes)


def _datasets(group: h5py.Group, statistics: bool) -> Iterator[DatasetSummary]:
    channel = str(group.attrs["channel"])
    for name, dataset in group.items():
        if name in OWN_NAMES or not isinstance(dataset, h5py.Dataset):
            continue
        numbers = _statistics(dataset, dataset_at(group, "status")) if statistics else (None, None, None)
        units = str(dataset.attrs.get("units", ""))
        yield DatasetSummary(channel, name, dataset.shape, dataset.dtype.name, units, *numbers)


def _statistics(dataset: h5py.Dataset, status: h5py.Dataset) -> tuple[float | None, float | None, float | None]:
    low, total, high, count = math.inf, 0.0, -math.inf, 0
    for first, block in _blocks(dataset):
        there = block[status[first : first + len(block)] == Status.PUBLISHED].astype(np.float64)
        finite = there[np.isfinite(there)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
            total, count = total + float(finite.sum()), count + finite.size
    return value_range(low, total, high, count)


def _blocks(dataset: h5py.Dataset) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, rows) a few MiB at a time."""
    row_bytes = max(1, math.prod(dataset.shape[1:]) * dataset.dtype.itemsize)
    step = max(1, BLOCK_BYTES // row_bytes)
    for first in range(0, len(dataset), step):
        yield first, dataset[first : first + step]


def _raw(file: h5py.File) -> RawSummary | None:
    link = file.get(RAW, getlink=True)
    if not isinstance(link, h5py.ExternalLink):
        return None
    linked = file.get(RAW)
    if linked is None:
        return RawSummary(link.filename, link.path, False)
    if not isinstance(linked, h5py.Group):
        return RawSummary(link.filename, link.path, True)
    names = [name for name, _ in zip(linked, range(MOST_LINKS), strict=False)]
    absent = sum(linked.get(name) is None for name in names)
    return RawSummary(link.filename, link.path, True, len(names), absent)


class Curve(NamedTuple):
    """The signal of a file over the images that have a result."""

    name: str
    units: str
    ids: np.ndarray  # int64 [n]
    values: np.ndarray  # float64 [n]: means over each image's values
    axes: dict[str, np.ndarray]  # positions float64 [n] by axis


def curve(path: Path) -> Curve:
    """What a picture of a file shows: the signal of its first channel.

    Raises:
        ResultFileError: see `open_result_file`; or there is nothing to show.
    """
    with open_result_file(path) as file:
        process = _default(group_at(file, "entry"))
        if "default" not in process.attrs or "signal" not in _default(process).attrs:
            raise ResultFileError(f"{path} holds no results to show")
        group = _default(process)
        name = str(group.attrs["signal"])
        signal, there = dataset_at(group, name), dataset_at(group, "status")[:] == Status.PUBLISHED
        means = np.full(len(signal), np.nan)
        for first, block in _blocks(signal):
            if block.size:
                means[first : first + len(block)] = block.reshape(len(block), -1).mean(axis=1, dtype=np.float64)
        datasets = [dataset for dataset in group.values() if isinstance(dataset, h5py.Dataset)]
        axes = {str(dataset.attrs["axis"]): dataset[:][there] for dataset in datasets if "axis" in dataset.attrs}
        ids = dataset_at(group, "image_id")[:]
        return Curve(name, str(signal.attrs.get("units", "")), ids[there], means[there], axes)
