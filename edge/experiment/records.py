"""Rows of the run's own bookkeeping, as Readables for event streams of their own."""

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

from edge.experiment.series import SeriesRecord
from edge.experiment.suggesting import Proposal

_DTYPES: dict[type, str] = {float: "number", int: "integer", str: "string", bool: "boolean"}


class Record:
    """One row after the other: `values` is set by the plan, then read into an event.

    Args:
        name: first part of the event fields.
        fields: by field: its type (float, int, str or bool) and units.
    """

    parent = None

    def __init__(self, name: str, fields: Mapping[str, tuple[type, str]]) -> None:
        self.name = name
        self._fields = dict(fields)
        self._reading: dict[str, Any] = {}

    def set_values(self, values: Mapping[str, Any]) -> None:
        """The next row.

        Raises:
            ValueError: these are not the fields of this record.
        """
        if values.keys() != self._fields.keys():
            raise ValueError(f"record {self.name} has the fields {sorted(self._fields)}, not {sorted(values)}")
        now = time.time()
        self._reading = {
            f"{self.name}_{field}": {"value": kind(values[field]), "timestamp": now}
            for field, (kind, _) in self._fields.items()
        }

    def read(self) -> dict[str, Any]:
        return self._reading

    def describe(self) -> dict[str, Any]:
        return {
            f"{self.name}_{field}": {"source": "plan", "dtype": _DTYPES[kind], "shape": [], "units": units}
            for field, (kind, units) in self._fields.items()
        }


def suggestion_record(axes: Iterable[str]) -> Record:
    """For stream "suggestions"; `axes`: the agent's."""
    asked: dict[str, tuple[type, str]] = {f"position_{axis}": (float, "") for axis in axes}
    facts: dict[str, tuple[type, str]] = {
        "id": (str, ""),
        "sigma": (float, ""),
        "acquisition": (str, ""),
        "surrogate_version": (int, ""),
        "observations": (int, ""),
        "pending": (int, ""),
        "thinking_ms": (float, "ms"),
        "waited_ms": (float, "ms"),
        "age_ms": (float, "ms"),
        "fallback": (bool, ""),
        "reason": (str, ""),
    }
    return Record("suggestion", asked | facts)


def rejection_record() -> Record:
    """For stream "rejected"."""
    return Record(
        "rejection", {"suggestion_id": (str, ""), "attempt": (int, ""), "beam_lost": (bool, ""), "reason": (str, "")}
    )


def series_record() -> Record:
    """For stream "series"."""
    fields: dict[str, tuple[type, str]] = {}
    fields |= dict.fromkeys(("id", "images", "received", "missing", "published"), (int, ""))
    fields |= dict.fromkeys(("uid", "verdict", "doubt", "problems"), (str, ""))
    return Record("series", fields)


def suggestion_row(proposal: Proposal) -> dict[str, Any]:
    """A row of `suggestion_record`. Of a fallback the agent knows nothing: sigma is NaN, counts are 0."""
    known = proposal.suggestion
    return {f"position_{axis}": value for axis, value in proposal.position.items()} | {
        "id": known.id if known else "",
        "sigma": known.sigma if known else math.nan,
        "acquisition": known.acquisition if known else "fallback",
        "surrogate_version": known.surrogate_version if known else 0,
        "observations": known.observations if known else 0,
        "pending": known.pending if known else 0,
        "thinking_ms": proposal.thinking_s * 1e3,
        "waited_ms": proposal.waited_s * 1e3,
        "age_ms": proposal.age_s * 1e3,
        "fallback": known is None,
        "reason": proposal.reason,
    }


def series_row(series: SeriesRecord) -> dict[str, Any]:
    """A row of `series_record`; counts that were not told are -1."""

    def count(counts: Mapping[str, Any], name: str) -> int:
        value = counts.get(name)
        return value if isinstance(value, int) else -1

    return {
        "id": series.series_id,
        "uid": series.series_uid,
        "images": series.images,
        "received": count(series.arrivals, "received"),
        "missing": count(series.arrivals, "missing"),
        "published": count(series.account, "published"),
        "verdict": series.verdict,
        "doubt": series.doubt,
        "problems": series.problems,
    }
