"""HDF5/NeXus of a survey. The layout is described in edge/results/README.md."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import h5py
import numpy as np

from edge.results.account import as_json, attribute, iso, text, write_account
from edge.results.channel import Channel, Status
from edge.results.columns import FILTERS, Column, chunks, columns, runs
from edge.results.hdf import dataset_at, group_at, last_name
from edge.results.names import safe_name
from edge.results.survey import Survey
from edge.results.verdict import rows_of

FORMAT = 1
"""Attribute `edge_results` of the file: version of this layout."""

ENTRY_NAMES = (
    *("title", "start_time", "end_time", "program_name", "entry_identifier", "series_id", "route"),
    *("user_data", "account", "instrument"),
)
PROCESS_NAMES = ("program", "version", "model", "model_version", "model_sha256")
BLOCK = 1 << 20


def write(into: h5py.File, found: Survey, name: str) -> None:
    """Fill an empty file with everything that `found` knows and with the results themselves, from its log.

    Args:
        name: of the file once it is in place.
    """
    into.attrs.update(
        NX_class="NXroot",
        default="entry",
        file_name=name,
        file_time=datetime.now(UTC).isoformat(),
        creator="edge",
        creator_version=version("detector-edge"),
        HDF5_Version=h5py.version.hdf5_version,
        edge_results=FORMAT,
    )
    entry = _group(into, "entry", "NXentry")
    _describe(entry, found)
    entry.attrs["default"] = route_group(found)
    process = _group(entry, route_group(found), "NXprocess")
    _describe_model(process, found)
    names = channel_groups(found)
    if names:
        process.attrs["default"] = next(iter(names.values()))
    datasets = {
        channel.name: _data(_group(process, names[channel.name], "NXdata"), channel, found)
        for channel in found.channels.values()
    }
    for run in runs(Survey(found.path, found.size).rows()):
        for column, dataset in datasets[run.channel]:
            if dataset.size:
                row = run.first - found.first_image
                dataset[row : row + len(run.rows)] = column.stack(run.rows)
    write_account(_group(entry, "account", "NXcollection"), found, names)
    _instrument(_group(entry, "instrument", "NXinstrument"), found)


def compare(back: h5py.File, found: Survey) -> None:
    """Read the results back and compare them with the log, bit by bit.

    Raises:
        OSError: the file differs.
    """
    process = group_at(back, f"entry/{route_group(found)}")
    names = channel_groups(found)
    units = found.position_units
    made = {name: (group_at(process, names[name]), columns(channel, units)) for name, channel in found.channels.items()}
    for run in runs(Survey(found.path, found.size).rows()):
        group, own = made[run.channel]
        for column in own:
            dataset = dataset_at(group, column.name)
            row = run.first - found.first_image
            there = dataset[row : row + len(run.rows)] if dataset.size else None
            if there is not None and there.tobytes() != column.stack(run.rows).tobytes():
                raise OSError(f"{dataset.name} reads back differently at image {run.first}")


def _describe(entry: h5py.Group, found: Survey) -> None:
    series = found.series
    entry["title"] = text(f"series {series.series_id} of {series.source} on {series.route}")
    entry["entry_identifier"] = text(series.series_uid)
    entry["series_id"] = series.series_id
    entry["route"] = text(series.route)
    entry["program_name"] = "edge serve"
    dataset_at(entry, "program_name").attrs["version"] = attribute(str(found.facts.get("program", "")))
    entry["start_time"], entry["end_time"] = iso(found.first_ns), iso(found.last_ns)
    if found.started is not None and found.started.user_data is not None:
        entry["user_data"] = as_json(found.started.user_data)


def _describe_model(process: h5py.Group, found: Survey) -> None:
    process["program"] = "edge serve"
    if found.untrained:
        process.attrs["untrained"] = [attribute(reason) for reason in found.untrained_reasons]
        process.attrs["untrained_results"] = found.untrained
    process["version"] = text(str(found.facts.get("program", "")))
    for channel in found.channels.values():
        for name, value in zip(("model", "model_version", "model_sha256"), channel.model, strict=True):
            process[name] = text(value)
        return


def _data(group: h5py.Group, channel: Channel, found: Survey) -> list[tuple[Column, h5py.Dataset]]:
    images = rows_of(channel, found)
    made = [(column, column.create(group, images)) for column in columns(channel, found.position_units)]
    _image_ids(group, found.first_image, images)
    status, rows = _own(group, "status", images, np.uint8), channel.rows(found.first_image)
    if rows:
        status[: len(rows)] = np.frombuffer(rows, np.uint8)
    status.attrs["meaning"] = ", ".join(f"{one.value} {one.name.lower()}" for one in Status)
    group.attrs["channel"] = attribute(channel.name)
    signal = next((dataset for column, dataset in made if column.is_output), None)
    if signal is not None:
        group.attrs["signal"] = last_name(signal)
        group.attrs["axes"] = ["image_id", *["."] * (signal.ndim - 1)]
        group.attrs["image_id_indices"] = 0
    return made


def _own(group: h5py.Group, name: str, images: int, dtype: type[np.generic]) -> h5py.Dataset:
    chunked: dict[str, Any] = {"chunks": chunks((images,), np.dtype(dtype).itemsize), **FILTERS} if images else {}
    return group.create_dataset(name, (images,), dtype, **chunked)


def _image_ids(group: h5py.Group, first_image: int, images: int) -> None:
    dataset = _own(group, "image_id", images, np.int64)
    for first in range(0, images, BLOCK):
        dataset[first : first + BLOCK] = first_image + np.arange(first, min(first + BLOCK, images))


def _instrument(instrument: h5py.Group, found: Survey) -> None:
    detector = _group(instrument, "detector", "NXdetector")
    detector["local_name"] = text(found.series.source)
    if found.started is not None and found.started.header:
        detector["header"] = as_json(found.started.header)
    file, _, path = str(found.facts.get("raw_frames", "")).partition("::")
    if file and path:
        detector["raw"] = h5py.ExternalLink(file, path)
        detector["raw_file"] = text(file)


def route_group(found: Survey) -> str:
    """Name of the route's group below `/entry`."""
    return safe_name(found.series.route, ENTRY_NAMES)


def channel_groups(found: Survey) -> dict[str, str]:
    """Names of the channels' groups below the route's, by channel."""
    names: dict[str, str] = {}
    for channel in found.channels:
        names[channel] = safe_name(channel, {*PROCESS_NAMES, *names.values()})
    return names


def _group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group
