"""The account of a series in its file: `/entry/account`, and plain values as HDF5 keeps them."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import h5py
import msgspec
import numpy as np

from edge.results.channel import Channel, Status
from edge.results.columns import LARGEST
from edge.results.names import safe_name
from edge.results.survey import Survey
from edge.results.verdict import expected_images, file_verdict, rows_of
from streams.codecs.results import SeriesEnded

MAX_INTERVALS = 10_000
MAX_ATTRIBUTE_CHARS = 1000
"""HDF5 keeps attributes below 64 KiB."""

MAX_DEPTH = 4


def write_account(group: h5py.Group, found: Survey, names: Mapping[str, str]) -> None:
    """What became of every image: in `file` what this file holds, beside it what edge serve said at the end.

    Args:
        names: of the channels' groups, by channel.
    """
    group["verdict"] = file_verdict(found)
    file = {
        "stored": sum(channel.stored for channel in found.channels.values()),
        "images": expected_images(found),
        "refused": dict(found.refused),
        "damaged_bytes": found.damaged_bytes,
        "torn_bytes": found.torn_bytes,
        "starts": len(found.origins),
    }
    _put(group, "file", file)
    without = _collection(group, "without_result")
    for channel in found.channels.values():
        holes = without_result(channel, rows_of(channel, found), found.first_image)
        without.create_dataset(names[channel.name], data=holes, dtype=np.int64)
    ended = found.ended
    if ended is None:
        return
    group["served_verdict"], group["reason"] = text(ended.verdict), text(ended.reason)
    _put(group, "arrivals", ended.arrivals)
    _put(group, "account", ended.account)
    _put(group, "positions", ended.positions)
    _put(group, "detector", detector_told(ended))
    if ended.suspicion is not None:
        group["suspicion"] = text(ended.suspicion.text)
    latency = _put(group, "latency", ended.latency_ms)
    for dataset in latency.values():
        dataset.attrs["units"] = "ms"
    missing = _collection(group, "missing")
    for channel, intervals in ended.missing.items():
        missing.create_dataset(safe_name(channel, missing), data=_bounds(intervals), dtype=np.int64)


def without_result(channel: Channel, images: int, first_image: int) -> np.ndarray:
    """The first `MAX_INTERVALS` runs of images without a result in the file, int64 [n, 2]: image ids [start, stop)."""
    status = np.zeros(images + 2, np.uint8)
    rows = channel.rows(first_image)
    status[1 : len(rows) + 1] = np.frombuffer(rows, np.uint8)
    absent = status != Status.PUBLISHED
    absent[0] = absent[-1] = False
    edges = np.flatnonzero(absent[1:] != absent[:-1])
    return first_image + edges.reshape(-1, 2)[:MAX_INTERVALS].astype(np.int64)


def detector_told(ended: SeriesEnded) -> dict[str, int]:
    """What the detector says it dropped, and what of the missing images that explains; empty where it was not asked."""
    if ended.detector_dropped is None or ended.reconciled is None:
        return {}
    return {"dropped": ended.detector_dropped, **msgspec.structs.asdict(ended.reconciled)}


def text(value: str) -> str:
    """`value` as HDF5 can hold it: strings there end at a NUL."""
    return value.replace("\0", "\ufffd")


def attribute(value: str) -> str:
    """`value` short enough for an attribute."""
    return text(value)[:MAX_ATTRIBUTE_CHARS]


def as_json(value: Any) -> str:
    """Free-form data of the detector as JSON; what JSON has no word for as Python writes it."""
    return text(json.dumps(value, default=str, skipkeys=True))


def iso(wall_ns: int) -> str:
    """ISO 8601 in UTC; empty for what is no date."""
    try:
        return datetime.fromtimestamp(wall_ns / 1e9, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return ""


def _collection(parent: h5py.Group, name: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = "NXcollection"
    return group


def _put(parent: h5py.Group, name: str, values: Mapping[str, Any], depth: int = MAX_DEPTH) -> h5py.Group:
    """Scalars as datasets, mappings as groups; None, which is "not told", is left out."""
    group = _collection(parent, name)
    for key, value in values.items():
        safe = safe_name(str(key), group)
        if isinstance(value, Mapping) and depth:
            _put(group, safe, value, depth - 1)
        elif isinstance(value, str):
            group[safe] = text(value)
        elif isinstance(value, int | float):
            group[safe] = value
    return group


def _bounds(intervals: Iterable[tuple[int, int]]) -> np.ndarray:
    clipped = [[min(max(bound, 0), LARGEST) for bound in interval] for interval in intervals]
    return np.array(clipped, np.int64).reshape(-1, 2)
