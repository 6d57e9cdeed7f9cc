"""Nothing is armed before everything behind the detector is ready: the first frame is as precious as the last."""

import time
from collections.abc import Callable, Sequence

from edge.experiment.dataplane import Plane
from edge.experiment.errors import DetectorError, NotReady
from edge.experiment.inbox import Inbox
from streams.controller import Problem

PAUSE_S = (0.02, 0.2)
"""Shortest and longest time between two questions."""


def wait_until_ready(
    plane: Plane, inbox: Inbox, detector_url: str, ready_s: float, abandoned: Callable[[], bool]
) -> None:
    """Return when the data plane would serve the next frame, and its result would come into `inbox`.

    Raises:
        NotReady: it is not within `ready_s`, or will not be however long one waits.
        DetectorError: it was `abandoned` meanwhile; or nothing can come into `inbox` any more.
    """
    began, pause_s = time.monotonic(), PAUSE_S[0]
    while found := _problems(plane, inbox):
        waited_s = time.monotonic() - began
        if abandoned():
            raise DetectorError(f"{detector_url} was not armed: it was given up before the data plane was ready")
        if not inbox.open:
            text = "the connection to `edge serve` ended; unstage the device and stage it again"
            raise DetectorError(f"{detector_url} was not armed: {text}")
        if waited_s >= ready_s or any(one.lasting for one in found):
            raise NotReady(_told(detector_url, found, waited_s), found)
        inbox.wait(abandoned, pause_s)
        pause_s = min(2 * pause_s, PAUSE_S[1])


def _problems(plane: Plane, inbox: Inbox) -> Sequence[Problem]:
    try:
        return plane.ready(inbox).problems
    except DetectorError as error:
        return (Problem("silence", str(error), ""),)


def _told(detector_url: str, problems: Sequence[Problem], waited_s: float) -> str:
    each = [f"{one.why} ({one.remedy})" if one.remedy else one.why for one in problems]
    waited = f" after {waited_s:.1f} s" if waited_s >= 1 else ""
    return f"{detector_url} was not armed, for what stands behind it is not ready{waited}: {'; '.join(each)}"
