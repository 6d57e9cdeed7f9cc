"""One staging of a triggered detector, in the order of its commands. Runs in the device's worker thread.

Theory of operation
-------------------
The detector is armed once for many triggers; each trigger exposes a fixed number of images, and the detector numbers
them through. So the k-th trigger has the images [k n, k n + n), and a scan point is complete when the results of
exactly these ids are in. That holds for as long as each trigger did what it was told. After any doubt (a result that
never came, a trigger that was not answered, an image that nobody triggered) the ids no longer tell which point an
image belongs to. Then the series is closed and the next point arms a new one, whose ids start at 0 again.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from edge.experiment.arming import wait_until_ready
from edge.experiment.dataplane import Plane
from edge.experiment.errors import CommandRefused, DetectorError, PointIncomplete
from edge.experiment.exposure import Commands, Exposure, Patience, Taken
from edge.experiment.inbox import Inbox
from edge.experiment.numbering import tell_images, too_early
from edge.experiment.series import OpenSeries, SeriesRecord
from edge.experiment.shortfall import shortfall, unannounced

log = logging.getLogger(__name__)


class Session:
    """From stage to unstage. `exposing` and `close_now` are for other threads, all else for the worker's."""

    def __init__(self, detector: Commands, plane: Plane, exposure: Exposure, patience: Patience) -> None:
        self._detector, self._plane = detector, plane
        self._exposure, self._patience = exposure, patience
        self._inbox = Inbox(plane.source)  # until there is one that is filled
        self._begun = False
        self._series: OpenSeries | None = None
        self._closed: list[OpenSeries] = []
        self._closing = threading.Lock()  # held while a series is aborted: no other can be armed meanwhile
        self.exposing = False

    def begin(self, abandoned: Callable[[], bool]) -> None:
        """Subscribe, configure, enable the stream, wait until all behind it is ready, arm.

        Raises:
            NotReady: it was not armed; the text says what is not ready and what to do.
            DetectorError: the text names what did not answer and what to look at.
        """
        self._inbox = self._plane.open()
        self._make_idle()
        settings = {
            "trigger_mode": "ints",
            "nimages": self._exposure.frames,
            "ntrigger": self._exposure.triggers,
            "count_time": self._exposure.frame_time_s,  # first: the detector shortens it to what the frame time allows
            "frame_time": self._exposure.frame_time_s,
        }
        for name, value in settings.items():
            self._detector.put(name, value)
        if self._detector.get("mode", "stream") != "enabled":  # with some detectors its socket comes up only then
            self._detector.put("mode", "enabled", "stream")
        self._arm(abandoned)
        self._begun = True

    def take(self, abandoned: Callable[[], bool]) -> Taken | None:
        """Expose one scan point and wait for its results; None where it was `abandoned` meanwhile.

        Raises:
            NotReady: a new series had to be armed, and was not.
            DetectorError: the staging had failed; the trigger was refused or not answered; several thresholds come.
            PointIncomplete: its results are not all there, or more came than belong to it.
        """
        if abandoned():
            return None
        if not self._begun:  # the detector may be armed, but for another exposure
            raise DetectorError(f"{self._detector.url} is not ready: its staging failed; unstage it and stage it again")
        series = self._trustworthy_series(abandoned)
        ids = range(series.images, series.images + self._exposure.frames)
        inbox = self._inbox
        inbox.expect(series.uid, ids)
        sent_s = time.monotonic()
        self._expose(series, ids)
        exposed_s = time.monotonic()
        done = inbox.wait(lambda: abandoned() or len(inbox.results) == len(ids), self._patience.results_s)
        results = inbox.results
        self._check(series, ids, too_early(results, ids, sent_s, self._exposure.frame_time_s))
        if abandoned():
            return None
        if not done:
            error = shortfall(self._plane, series, ids, results, self._patience.results_s)
            self._close(str(error))
            raise error
        latency_s = max(0.0, max(one.at_s for one in results.values()) - exposed_s)
        return Taken(series.id, ids.start, [results[image_id] for image_id in ids], latency_s)

    def end(self) -> tuple[SeriesRecord, ...]:
        """Close what is open and return the accounts of all series. Raises nothing: problems are in the records."""
        self._close("")
        deadline = time.monotonic() + self._patience.end_s
        inbox = self._inbox
        for series in filter(lambda one: one.uid, self._closed):  # of what was not announced no end is heard
            inbox.wait(lambda uid=series.uid: inbox.ended(uid) is not None, max(0.0, deadline - time.monotonic()))
        self._plane.close(inbox)
        records = tuple(series.record(inbox.ended(series.uid)) for series in self._closed)
        for record in records:
            if record.verdict != "complete":
                why = "; ".join(filter(None, (record.doubt, record.problems))) or f"missing {record.missing}"
                log.warning(
                    "series %d (%d images triggered) is %s: %s", record.series_id, record.images, record.verdict, why
                )
        return records

    def close_now(self) -> None:
        """Stop an exposure that is running, from another thread; the worker's trigger is then refused."""
        series = self._series
        if series is None:
            return
        series.stopped = True
        try:
            self._plane.triggered(series.id, series.images, series.uid)
            with self._closing:
                if self._series is series:  # it takes time to tell: the worker may have armed another
                    self._detector.command("abort")
        except DetectorError as error:
            log.warning("the detector could not be stopped: %s", error)

    def wake(self) -> None:
        """Have `take` ask again whether it was abandoned; from any thread."""
        self._inbox.wake()

    def _make_idle(self) -> None:
        state = self._detector.state()
        if state in ("na", "error"):
            self._detector.command("initialize", self._patience.prepare_s)
        elif state == "ready":  # armed by somebody who has gone: while exposing it would say "acquire"
            log.warning("%s was still armed; disarming it", self._detector.url)
            self._detector.command("disarm")
        elif state != "idle":
            raise DetectorError(
                f"the detector at {self._detector.url} is in state {state!r}, not idle; does somebody else use it? "
                "If not, abort what it does"
            )

    def _arm(self, abandoned: Callable[[], bool]) -> None:
        inbox = self._inbox
        wait_until_ready(self._plane, inbox, self._detector.url, self._patience.ready_s, abandoned)
        inbox.forget_series()
        try:
            series_id = self._detector.arm(self._patience.prepare_s)
        except DetectorError:
            with suppress(DetectorError):  # it may be armed although it did not say so
                self._detector.command("disarm")
            raise
        series = self._series = OpenSeries(series_id)
        inbox.wait(lambda: inbox.started(series_id) is not None, self._patience.announce_s)
        started = inbox.started(series_id)
        if started is None:
            raise DetectorError(unannounced(self._detector, self._plane, inbox, series_id, self._patience.announce_s))
        series.uid = started.series_uid
        inbox.expect(series.uid, range(0))
        self._check_channels()

    def _trustworthy_series(self, abandoned: Callable[[], bool]) -> OpenSeries:
        series, untriggered = self._series, self._inbox.untriggered
        ended = None if series is None else self._inbox.ended(series.uid)
        if series is not None and untriggered is not None:
            self._close(f"image {untriggered} came, but only {series.images} were triggered")
        elif series is not None and series.stopped:
            self._close("it was stopped")
        elif series is not None and series.triggers >= self._exposure.triggers:
            self._close(f"all of its {self._exposure.triggers} triggers are used")
        elif series is not None and ended is not None:
            self._close(f"`edge serve` has closed it ({ended.reason})")
        if self._series is None or not self._series.uid:
            self._close("it was not announced")
            self._arm(abandoned)
        assert self._series is not None
        self._check_channels()
        return self._series

    def _expose(self, series: OpenSeries, ids: range) -> None:
        series.images, series.triggers = ids.stop, series.triggers + 1
        self.exposing = True
        try:
            self._detector.command("trigger", self._exposure.duration_s + self._patience.margin_s)
        except CommandRefused as error:
            if not self._inbox.results:
                series.images = ids.start
            self._close(f"a trigger was refused: {error}")
            raise
        except DetectorError as error:  # whether it exposed, and how much, is unknown
            self._close(f"a trigger failed: {error}", "abort")
            raise
        finally:
            self.exposing = False

    def _check(self, series: OpenSeries, ids: range, early: int | None) -> None:
        """What came of the point: is there too much of it, and is it all of one kind?"""
        if (untriggered := self._inbox.untriggered) is not None:
            text = f"image {untriggered} of series {series.id} came, but only {ids.stop} were triggered"
        elif early is not None:
            text = f"image {early} of series {series.id} came before it can have been exposed"
        else:
            self._check_channels()
            return
        self._close(text)
        raise PointIncomplete(f"{text}: which images belong to the point is not certain", series.id, ())

    def _check_channels(self) -> None:
        channels = self._inbox.channels
        if len(channels) > 1:
            raise DetectorError(
                f"source {self._plane.source!r} sends images of several thresholds, {sorted(channels)}; "
                "say which one counts (DataPlane(..., channel=...))"
            )

    def _close(self, doubt: str, command: str = "disarm") -> None:
        """Close the open series, if any. The data plane is told the number of images before the detector ends it."""
        with self._closing:
            series, self._series = self._series, None
        if series is None:
            return
        if doubt:
            series.doubts.append(doubt)
        self._closed.append(series)
        ended = series.stopped or series.triggers >= self._exposure.triggers  # by the detector itself
        tell_images(self._plane, series, ended or self._inbox.ended(series.uid) is not None)
        if series.doubts:
            log.warning("closing series %d after %d images: %s", series.id, series.images, "; ".join(series.doubts))
        try:
            self._detector.command(command)
        except DetectorError as error:
            series.problems.append(str(error))
