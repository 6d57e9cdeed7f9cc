"""Why the results of a scan point are not all there, as far as the data plane can tell."""

from collections.abc import Collection, Sequence

from edge.experiment.dataplane import Plane
from edge.experiment.errors import DetectorError, PointIncomplete
from streams.controller import AccountNow


def shortfall(plane: Plane, series_id: int, ids: range, results: Collection[int], waited_s: float) -> PointIncomplete:
    """The error for the images `ids` of which only `results` came within `waited_s` after the exposure."""
    lacking = [image_id for image_id in ids if image_id not in results]
    text = (
        f"{len(lacking)} of {len(ids)} results of series {series_id} did not come within {waited_s:g} s "
        f"after the exposure: {reasons(plane, series_id, lacking)}"
    )
    return PointIncomplete(text, series_id, lacking)


def reasons(plane: Plane, series_id: int, lacking: Sequence[int]) -> str:
    """What became of the images `lacking`, in words."""
    try:
        now = plane.account(series_id)
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
        end = (now.arrivals.get("received") or 0) + sum(stop - start for holes in channels for start, stop in holes)
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
