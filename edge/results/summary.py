"""What a result file or a log holds, in numbers: for `edge results` and for programs."""

import math
from pathlib import Path
from typing import Any, Literal

import msgspec

from edge.results.account import detector_told, iso, without_result
from edge.results.survey import Survey, survey
from edge.results.verdict import expected_images, file_verdict, rows_of

MOST_HOLES = 100


class DatasetSummary(msgspec.Struct, frozen=True):
    """One dataset [images, ...] of a channel; statistics over all finite values of images that have a result."""

    channel: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    units: str
    low: float | None = None
    mean: float | None = None
    high: float | None = None


class ChannelSummary(msgspec.Struct, frozen=True):
    """The results of one channel."""

    name: str
    rows: int
    stored: int
    holes: list[tuple[int, int]]  # the first runs of images without a result, [start, stop)


class RawSummary(msgspec.Struct, frozen=True):
    """Whether the links to the detector's own files lead somewhere now."""

    file: str
    path: str
    resolves: bool
    data_files: int = 0  # that the master file names
    data_files_absent: int = 0


class Untrained(msgspec.Struct, frozen=True):
    """Results that are outside of what their model was trained for, and why."""

    results: int
    reasons: list[str]


class Summary(msgspec.Struct, frozen=True):
    """A series on a route."""

    file: str
    kind: Literal["file", "log"]
    source: str
    series_id: int
    series_uid: str
    route: str
    model: str
    model_version: str
    model_sha256: str
    start: str
    end: str
    verdict: str  # of the file
    served_verdict: str  # of edge serve; empty where it did not get to one
    reason: str
    images: int | None  # expected per channel
    stored: int
    arrivals: dict[str, Any]
    account: dict[str, Any]
    detector: dict[str, int]  # images that it dropped, as far as it told, and what that explains
    positions: dict[str, Any]  # joined, missing{reason}
    suspicion: str
    untrained: Untrained | None
    latency_ms: dict[str, float]
    refused: dict[str, int]
    damaged_bytes: int
    torn_bytes: int
    starts: int
    channels: list[ChannelSummary]
    datasets: list[DatasetSummary]
    raw: RawSummary | None


def summarise_log(path: Path) -> Summary:
    """The summary of a log, without statistics.

    Raises:
        ResultFileError: it cannot be read, or tells of no series.
    """
    found = survey(path)
    ended = found.ended
    models = [channel.model for channel in found.channels.values()] or [("", "", "")]
    return Summary(
        file=str(path),
        kind="log",
        source=found.series.source,
        series_id=found.series.series_id,
        series_uid=found.series.series_uid,
        route=found.series.route,
        model=models[0][0],
        model_version=models[0][1],
        model_sha256=models[0][2],
        start=iso(found.first_ns),
        end=iso(found.last_ns),
        verdict=file_verdict(found),
        served_verdict=ended.verdict if ended else "",
        reason=ended.reason if ended else "",
        images=expected_images(found),
        stored=sum(channel.stored for channel in found.channels.values()),
        arrivals={name: value for name, value in (ended.arrivals if ended else {}).items() if value is not None},
        account=ended.account if ended else {},
        detector=detector_told(ended) if ended else {},
        positions=ended.positions if ended else {},
        suspicion=ended.suspicion.text if ended and ended.suspicion else "",
        untrained=Untrained(found.untrained, found.untrained_reasons) if found.untrained else None,
        latency_ms=ended.latency_ms if ended else {},
        refused=dict(found.refused),
        damaged_bytes=found.damaged_bytes,
        torn_bytes=found.torn_bytes,
        starts=len(found.origins),
        channels=_channels(found),
        datasets=_datasets(found),
        raw=_raw(found),
    )


def _channels(found: Survey) -> list[ChannelSummary]:
    made = []
    for channel in found.channels.values():
        rows = rows_of(channel, found)
        holes = [
            (int(start), int(stop)) for start, stop in without_result(channel, rows, found.first_image)[:MOST_HOLES]
        ]
        made.append(ChannelSummary(channel.name, rows, channel.stored, holes))
    return made


def _datasets(found: Survey) -> list[DatasetSummary]:
    return [
        DatasetSummary(channel.name, spec.name, (rows_of(channel, found), *spec.shape), spec.dtype, spec.units)
        for channel in found.channels.values()
        for spec in channel.specs
    ]


def _raw(found: Survey) -> RawSummary | None:
    file, _, path = str(found.facts.get("raw_frames", "")).partition("::")
    return RawSummary(file, path, (found.path.parent / file).exists()) if file else None


def value_range(low: float, total: float, high: float, count: int) -> tuple[float | None, float | None, float | None]:
    """(low, mean, high) of `count` values, Nones where there are none."""
    return (low, total / count, high) if count and math.isfinite(total) else (None, None, None)
