"""The datasets of one channel, and how results fill them: a row an image."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import h5py
import numpy as np

from edge.results.channel import Channel
from edge.results.names import safe_name
from edge.results.survey import Row

CHUNK_BYTES = 256 << 10
"""Of one HDF5 chunk before compression: an id far away from the others costs a chunk a dataset, no more."""

RUN_ROWS = 1024
RUN_BYTES = 16 << 20
"""Results held back to be written in order."""

FILTERS: Mapping[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
"""Filters that every HDF5 library has; fletcher32 tells a reader of bytes that changed since."""

LARGEST = 2**63 - 1
OWN_NAMES: tuple[str, ...] = ("image_id", "status", "received_time", "published_time")


@dataclass(frozen=True)
class Column:
    """One dataset [images, *shape]: `value` of a row goes to the row of its image; elsewhere is `fill`."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    value: Callable[[Row], Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    is_output: bool = False

    @property
    def fill(self) -> Any:
        """NaN where the dtype has one, else 0: `status` tells a missing 0 from a measured one."""
        return np.array(math.nan if self.dtype.kind == "f" else 0, self.dtype)[()]

    def stack(self, rows: list[Row]) -> np.ndarray:
        """The values of `rows`, [len(rows), *shape]."""
        return np.array([self.value(row) for row in rows], self.dtype).reshape(len(rows), *self.shape)

    def create(self, group: h5py.Group, images: int) -> h5py.Dataset:
        """The empty dataset; takes no room on the disk until something is written."""
        shape = (images, *self.shape)
        chunked: dict[str, Any] = {"chunks": chunks(shape, self.dtype.itemsize), **FILTERS} if math.prod(shape) else {}
        dataset = group.create_dataset(self.name, shape, self.dtype, fillvalue=self.fill, **chunked)
        dataset.attrs.update(self.attributes)
        return dataset


def columns(channel: Channel, position_units: Mapping[str, str]) -> list[Column]:
    """All datasets of a channel but `image_id` and `status`, outputs first.

    Args:
        position_units: by axis; the axes that it does not name get none.
    """
    taken: set[str] = set(OWN_NAMES)

    def named(name: str) -> str:
        safe = safe_name(name, taken)
        taken.add(safe)
        return safe

    def scalar(name: str, value: Callable[[Row], Any], **attributes: str) -> Column:
        return Column(name, np.dtype(np.float64), (), value, attributes)

    made = [
        Column(named(s.name), np.dtype(s.dtype), s.shape, _array(s.name), {"units": _short(s.units)}, True)
        for s in channel.specs
    ]
    made += [scalar(named(name), _value(name)) for name in channel.values]
    for axis in channel.axes:
        units = {"units": _short(position_units[axis])} if axis in position_units else {}
        made.append(scalar(named(f"position_{axis}"), _position(axis), axis=_short(axis), **units))
    clock = {"units": "ns", "start": "1970-01-01T00:00:00Z"}
    for name, wall_ns in (("received_time", _received), ("published_time", _published)):
        made.append(Column(name, np.dtype(np.int64), (), wall_ns, dict(clock)))
    return made


def chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Chunk of at most `CHUNK_BYTES` for a dataset of `shape` without a zero: part of an image, or several images."""
    chunk = list(shape[1:])
    for at in range(len(chunk)):
        others = itemsize * math.prod(chunk[:at] + chunk[at + 1 :])
        chunk[at] = max(1, min(chunk[at], CHUNK_BYTES // others))
    whole = tuple(chunk) == shape[1:]
    images = CHUNK_BYTES // (itemsize * math.prod(chunk)) if whole else 1
    return (max(1, min(shape[0], images)), *chunk)


class Run(NamedTuple):
    """Results of one channel with consecutive image ids from `first`."""

    channel: str
    first: int
    rows: list[Row]


def runs(rows: Iterable[Row]) -> Iterator[Run]:
    """`rows` in runs that can be written at once; holds back at most `RUN_ROWS` of them or `RUN_BYTES`."""
    waiting: list[Row] = []
    nbytes = 0
    for row in rows:
        waiting.append(row)
        nbytes += sum(array.nbytes for array in row.arrays.values())
        if len(waiting) >= RUN_ROWS or nbytes >= RUN_BYTES:
            yield from _in_order(waiting)
            waiting, nbytes = [], 0
    yield from _in_order(waiting)


def _in_order(rows: list[Row]) -> Iterator[Run]:
    run: Run | None = None
    for row in sorted(rows, key=lambda row: (row.channel.name, row.result.image_id)):
        if run and run.channel == row.channel.name and run.first + len(run.rows) == row.result.image_id:
            run.rows.append(row)
            continue
        if run:
            yield run
        run = Run(row.channel.name, row.result.image_id, [row])
    if run:
        yield run


def _array(name: str) -> Callable[[Row], Any]:
    return lambda row: row.arrays[name]


def _value(name: str) -> Callable[[Row], Any]:
    return lambda row: row.result.values.get(name, math.nan)


def _position(axis: str) -> Callable[[Row], Any]:
    return lambda row: (row.result.position or {}).get(axis, math.nan)


def _received(row: Row) -> int:
    return min(max(row.result.received_ns, 0), LARGEST)


def _published(row: Row) -> int:
    return min(max(row.result.published_ns, 0), LARGEST)


def _short(text: str) -> str:
    return text.replace("\0", "")[:64]
