"""Notices and logs for the tests beside this file."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from edge.results import log
from edge.results.survey import facts_record
from streams.codecs.results import Notice, Result, SeriesEnded, SeriesStarted, describe, encode

FACTS = {"program": "edge serve 9", "raw_frames": ""}
SHA = "ab" * 32


def started(expected: int | None = 10, **changes: Any) -> SeriesStarted:
    fields = {"source": "det", "series_uid": "u", "series_id": 7, "route": "peaks", "origin": "a", "seq": 0}
    fields |= {"published_ns": 1_000_000_000, "expected": expected, "announced": True, "header": {"count_time": 0.1}}
    return SeriesStarted(**{**fields, **changes})


def result(image_id: int, *arrays: np.ndarray, **changes: Any) -> Result:
    """A result with outputs a0, a1, ... in counts; without arrays, one float32 [2] that tells the image id."""
    fields = {"source": "det", "series_uid": "u", "series_id": 7, "image_id": image_id, "channel": "image"}
    fields |= {"route": "peaks", "model": "peaks", "model_version": "2", "model_sha256": SHA, "origin": "a", "seq": 1}
    fields |= {"received_ns": 2_000_000_000 + image_id % 1000, "published_ns": 3_000_000_000}
    fields["specs"] = tuple(describe(f"a{at}", array, "counts") for at, array in enumerate(arrays or values(image_id)))
    return Result(**{**fields, **changes})


def values(image_id: int) -> tuple[np.ndarray, ...]:
    return (np.array([image_id % 1000, -1.5], np.float32),)


def ended(published: int, verdict: str = "complete", **changes: Any) -> SeriesEnded:
    fields = {"source": "det", "series_uid": "u", "series_id": 7, "route": "peaks", "origin": "a", "seq": 9}
    fields |= {"published_ns": 9_000_000_000, "reason": "end", "verdict": verdict}
    fields |= {"arrivals": {"expected": published, "images": published, "received": published, "missing": 0}}
    fields |= {"account": {"published": published, "failed": {}}, "latency_ms": {"p50": 1.5, "p99": 2.5}}
    return SeriesEnded(**{**fields, **changes})


def packed(notice: Notice, arrays: Iterable[np.ndarray] = ()) -> bytes:
    """One record of a log."""
    return b"".join(log.pack(message(notice, arrays)))


def message(notice: Notice, arrays: Iterable[np.ndarray] = ()) -> list[Any]:
    arrays = list(arrays)
    if isinstance(notice, Result) and notice.specs and not arrays:
        arrays = list(values(notice.image_id))
    return encode(notice, arrays)


def write_log(path: Path, *records: Notice | bytes, facts: dict[str, Any] | None = None) -> Path:
    """A log of notices (results get their `values`) and of raw bytes."""
    head = log.MAGIC + b"".join(facts_record(FACTS if facts is None else facts))
    path.write_bytes(head + b"".join(one if isinstance(one, bytes) else packed(one) for one in records))
    return path
