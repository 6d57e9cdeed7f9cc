"""Whether image ids still belong to the points that they are taken for."""

from collections.abc import Mapping

from edge.experiment.dataplane import Plane
from edge.experiment.errors import DetectorError
from edge.experiment.inbox import Received
from edge.experiment.series import OpenSeries, too_many
from streams.controller import AccountNow

CLOCK_FRAMES = 0.5
"""How much sooner a result may come than its image can have been exposed: for read-out and clocks, in frame times."""


def too_early(results: Mapping[int, Received], ids: range, sent_s: float, frame_time_s: float) -> int | None:
    """The first image of a point whose result came before the trigger sent at `sent_s` can have exposed it.

    Where an earlier trigger exposed an image too many, that one has the id of this point's first.
    """
    for image_id in ids:
        exposed_s = sent_s + (image_id - ids.start + 1 - CLOCK_FRAMES) * frame_time_s
        if image_id in results and results[image_id].at_s < exposed_s:
            return image_id
    return None


def tell_images(plane: Plane, series: OpenSeries, ended: bool) -> None:
    """Tell the data plane how many images were triggered; what it says against that becomes part of the record.

    `ended`: the detector or `edge serve` has ended the series by itself, so it need not be open any more.
    """
    try:
        if plane.triggered(series.id, series.images, series.uid):
            return
        if ended:
            return
        now = plane.account(series.id, series.uid)
        if now is not None and _takes_images(now):
            series.doubts.append(too_many(series.images))
        else:
            series.problems.append("`edge serve` did not know it any more when told how many images it has")
    except DetectorError as error:
        series.problems.append(str(error))


def _takes_images(now: AccountNow) -> bool:
    """Whether the series is open; one that has closed stays on the books until its last result is out."""
    return now.open and (now.arrivals.get("expected") is None or bool(now.arrivals.get("awaited")))
