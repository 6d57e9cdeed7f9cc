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
import time
from collections.abc import Callable
from contextlib import suppress

from edge.experiment.dataplane import Plane
from edge.experiment.errors import CommandRefused, DetectorError, PointIncomplete
from edge.experiment.exposure import Commands, Exposure, Patience, Taken
from edge.experiment.series import OpenSeries, SeriesRecord
from edge.experiment.shortfall import shortfall

log = logging.getLogger(__name__)


class Session:
    """From stage to unstage. `exposing` and `close_now` are for other threads, all else for the worker's."""

    def __init__(self, detector: Commands, plane: Plane, exposure: Exposure, patience: Patience) -> None:
        self._detector, self._plane = detector, plane
        self._exposure, self._patience = exposure, patience
        self._series: OpenSeries | None = None
        self._closed: list[OpenSeries] = []
        self.exposing = False

    def begin(self) -> None:
        """Subscribe, configure, arm.

        Raises:
            DetectorError: the text names what did not answer and what to look at.
        """
        self._plane.open()
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
        self._arm()

    def take(self, abandoned: Callable[[], bool]) -> Taken | None:
        """Expose one scan point and wait for its results; None where it was `abandoned` meanwhile.

        Raises:
            DetectorError: the trigger was refused or not answered.
            PointIncomplete: its results are not all there, or more came than belong to it.
        """
        if abandoned():
            return None
        series = self._trustworthy_series()
        ids = range(series.images, series.images + self._exposure.frames)
        self._plane.inbox.expect(series.uid, ids)
        self._expose(series, ids)
        exposed_s = time.monotonic()
        inbox = self._plane.inbox
        done = inbox.wait(lambda: abandoned() or len(inbox.results) == len(ids), self._patience.results_s)
        if abandoned():
            return None
        results = inbox.results
        if not done:
            error = shortfall(self._plane, series.id, ids, results, self._patience.results_s)
            self._close(str(error))
            raise error
        self._check(series, ids)
        latency_s = max(0.0, max(one.at_s for one in results.values()) - exposed_s)
        return Taken(series.id, ids.start, [results[image_id] for image_id in ids], latency_s)

    def end(self) -> tuple[SeriesRecord, ...]:
        """Close what is open and return the accounts of all series. Raises nothing: problems are in the records."""
        self._close("")
        deadline = time.monotonic() + self._patience.end_s
        inbox = self._plane.inbox
        for series in filter(lambda one: one.uid, self._closed):  # of what was not announced no end is heard
            inbox.wait(lambda uid=series.uid: inbox.ended(uid) is not None, max(0.0, deadline - time.monotonic()))
        self._plane.close()
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
        try:
            if series is not None:
                series.stopped = True
                self._plane.triggered(series.id, series.images)
            self._detector.command("abort")
        except DetectorError as error:
            log.warning("the detector could not be stopped: %s", error)

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

    def _arm(self) -> None:
        self._plane.inbox.forget_series()
        try:
            series_id = self._detector.arm(self._patience.prepare_s)
        except DetectorError:
            with suppress(DetectorError):  # it may be armed although it did not say so
                self._detector.command("disarm")
            raise
        series = self._series = OpenSeries(series_id)
        inbox = self._plane.inbox
        inbox.wait(lambda: inbox.started(series_id) is not None, self._patience.announce_s)
        started = inbox.started(series_id)
        if started is None:
            raise DetectorError(self._unannounced(series_id))
        series.uid = started.series_uid
        inbox.expect(series.uid, range(0))

    def _unannounced(self, series_id: int) -> str:
        inbox, source = self._plane.inbox, self._plane.source
        elsewhere = inbox.sources(series_id) - {source}
        if not inbox.open:
            why = "the connection to `edge serve` ended"
        elif elsewhere:
            why = f"it came from source {sorted(elsewhere)}; is that the name to give?"
        elif (silence := self._silence(series_id)) is not None:
            why = silence
        elif (mode := self._detector.get("mode", "stream")) != "enabled":
            why = f"the detector's stream interface is {mode!r}; enable it (stream config `mode`)"
        else:
            why = f"is the address of source {source!r} in the configuration of `edge serve` this detector's stream?"
        return (
            f"armed {self._detector.url} (series {series_id}), but within {self._patience.announce_s:g} s "
            f"route {self._plane.route!r} saw no such series from {source!r}: {why}"
        )

    def _silence(self, series_id: int) -> str | None:
        """What is wrong with the data plane; None where it answers."""
        try:
            self._plane.account(series_id)
        except DetectorError as error:
            return str(error)
        return None

    def _trustworthy_series(self) -> OpenSeries:
        series = self._series
        if series is not None and self._plane.inbox.untriggered is not None:
            self._close(f"image {self._plane.inbox.untriggered} came, but only {series.images} were triggered")
        elif series is not None and series.stopped:
            self._close("it was stopped")
        elif series is not None and series.triggers >= self._exposure.triggers:
            self._close(f"all of its {self._exposure.triggers} triggers are used")
        if self._series is None or not self._series.uid:
            self._close("it was not announced")
            self._arm()
        assert self._series is not None
        return self._series

    def _expose(self, series: OpenSeries, ids: range) -> None:
        series.images, series.triggers = ids.stop, series.triggers + 1
        self.exposing = True
        try:
            self._detector.command("trigger", self._exposure.duration_s + self._patience.margin_s)
        except CommandRefused as error:
            if not self._plane.inbox.results:
                series.images = ids.start
            self._close(f"a trigger was refused: {error}")
            raise
        except DetectorError as error:  # whether it exposed, and how much, is unknown
            self._close(f"a trigger failed: {error}", "abort")
            raise
        finally:
            self.exposing = False

    def _check(self, series: OpenSeries, ids: range) -> None:
        """All expected results are in: but are they all, and all of one kind?"""
        inbox = self._plane.inbox
        if inbox.untriggered is not None:
            text = f"image {inbox.untriggered} of series {series.id} came, but only {ids.stop} were triggered"
            self._close(text)
            raise PointIncomplete(f"{text}: which images belong to the point is not certain", series.id, ())
        if len(inbox.channels) > 1:
            raise DetectorError(
                f"source {self._plane.source!r} sends images of several thresholds, {sorted(inbox.channels)}; "
                "say which one counts (DataPlane(..., channel=...))"
            )

    def _close(self, doubt: str, command: str = "disarm") -> None:
        """Close the open series, if any. The data plane is told the number of images before the detector ends it."""
        series, self._series = self._series, None
        if series is None:
            return
        series.doubt = doubt
        if doubt:
            log.warning("closing series %d after %d images: %s", series.id, series.images, doubt)
        self._closed.append(series)
        try:
            known = self._plane.triggered(series.id, series.images)
            ended = series.stopped or series.triggers >= self._exposure.triggers  # by the detector itself
            if not known and not ended:
                series.problems.append("`edge serve` did not know it any more when told how many images it has")
        except DetectorError as error:
            series.problems.append(str(error))
        try:
            self._detector.command(command)
        except DetectorError as error:
            series.problems.append(str(error))
