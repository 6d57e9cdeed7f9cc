"""Why a series was not announced, or the results of a scan point are not all there, as far as can be told."""

from collections.abc import Collection, Sequence

from edge.experiment.dataplane import Plane
from edge.experiment.errors import DetectorError, PointIncomplete
from edge.experiment.exposure import Commands
from edge.experiment.inbox import Inbox
from edge.experiment.series import OpenSeries
from streams.controller import AccountNow


def unannounced(detector: Commands, plane: Plane, inbox: Inbox, series_id: int, waited_s: float) -> str:
    """Why the data plane did not announce the series that was armed, in words."""
    elsewhere = inbox.sources(series_id) - {plane.source}
    if not inbox.open:
        why = "the connection to `edge serve` ended"
    elif elsewhere:
        why = f"it came from source {sorted(elsewhere)}; is that the name to give?"
    elif (silence := _silence(plane, series_id)) is not None:
        why = silence
    elif (mode := detector.get("mode", "stream")) != "enabled":
        why = f"the detector's stream interface is {mode!r}; enable it (stream config `mode`)"
    else:
        why = f"is the address of source {plane.source!r} in the configuration of `edge serve` this detector's stream?"
    return (
        f"armed {detector.url} (series {series_id}), but within {waited_s:g} s "
        f"route {plane.route!r} saw no such series from {plane.source!r}: {why}"
    )


def _silence(plane: Plane, series_id: int) -> str | None:
    """What is wrong with the data plane; None where it answers."""
    try:
        plane.account(series_id)
    except DetectorError as error:
        return str(error)
    return None


def shortfall(
    plane: Plane, series: OpenSeries, ids: range, results: Collection[int], waited_s: float
) -> PointIncomplete:
    """The error for the images `ids` of which only `results` came within `waited_s` after the exposure."""
    lacking = [image_id for image_id in ids if image_id not in results]
    text = (
        f"{len(lacking)} of {len(ids)} results of series {series.id} did not come within {waited_s:g} s "
        f"after the exposure: {reasons(plane, series, lacking)}"
    )
    return PointIncomplete(text, series.id, lacking)


def reasons(plane: Plane, series: OpenSeries, lacking: Sequence[int]) -> str:
    """What became of the images `lacking`, in words."""
    try:
        now = plane.account(series.id, series.uid)
    except DetectorError as error:
        return f"images {_listed(lacking)}; and {error}"
    if now is None:
        return f"images {_listed(lacking)}; `edge serve` does not know the series: was it started anew?"
    never = never_arrived(now, lacking)
    said = []
    if never:
        said.append(f"images {_listed(never)} never reached `edge serve`")
    if rest := [image_id for image_id in lacking if image_id not in never]:
        said.append(f"images {_listed(rest)} reached it, but no result came (whole series so far: {_fates(now)})")
    return "; ".join(said)


def never_arrived(now: AccountNow, lacking: Sequence[int]) -> list[int]:
    """Those of `lacking` that no channel has seen."""
    channels = list(now.missing.values())
    # Where nobody announced how many come, the holes end at the last image that came.
    end = None
    if now.arrivals.get("expected") is None:
        known = sum(now.arrivals.get(name) or 0 for name in ("received", "absent"))
        end = known + sum(stop - start for holes in channels for start, stop in holes)
    return [
        image_id
        for image_id in lacking
        if (end is not None and image_id >= end)
        or (channels and all(any(start <= image_id < stop for start, stop in holes) for holes in channels))
    ]


def _fates(now: AccountNow) -> str:
    names = ("failed", "dropped", "unpublished")
    losses = [f"{name} {now.account[name]}" for name in names if now.account.get(name)]
    return ", ".join(
        [*losses, f"published {now.account.get('published')}", f"in flight {now.account.get('in_flight')}"]
    )


def _listed(ids: Sequence[int]) -> str:
    shown = ", ".join(str(image_id) for image_id in ids[:10])
    return shown if len(ids) <= 10 else f"{shown} and {len(ids) - 10} more"
