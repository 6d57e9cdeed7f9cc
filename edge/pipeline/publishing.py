"""What leaves the data plane: results, notices of series, and the accounts that go with them."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from edge.pipeline.batching import Pending
from edge.pipeline.cascades import Cascades
from edge.pipeline.control import Control
from edge.pipeline.dispatch import RouteRunner
from edge.pipeline.finished import Finished, finished
from edge.pipeline.joined import reason_of
from edge.pipeline.joining import Joining, Leaving
from edge.pipeline.pace import Pace
from edge.pipeline.record import SeriesRecord
from edge.pipeline.sinks import Sink
from edge.pipeline.totals import Totals
from edge.results.recall import Key
from streams.codecs.results import Result, stamped
from streams.messages import Frame, Part
from streams.positions.headers import Known, Missing, Verdict, Why

log = logging.getLogger(__name__)

SHUTDOWN = "shutdown"
"""Reason of a drop: we stop."""

TOGETHER = 64
"""Results that are sent straight after one another; the latency of each is that of the last, some 0.5 ms more."""


class Publisher:
    """Enters what became of frames and series into their accounts, and tells whoever subscribed.

    Args:
        sink: where notices leave.
        joining: where results meet their positions.
        control: remembers the accounts of the last series.
        totals: counters.
        cascades: which routes follow which.
    """

    def __init__(self, sink: Sink, joining: Joining, control: Control, totals: Totals, cascades: Cascades) -> None:
        self._sink = sink
        self._joining = joining
        self._control = control
        self._totals = totals
        self._cascades = cascades
        self.pace = Pace()
        """Of what is published again."""

    def opened(self, record: SeriesRecord) -> None:
        """A series was opened, or announced after its first images."""
        series = record.series
        expected = series.counts().expected
        awaited = "nobody says how many images" if expected is None else f"expecting {expected} images"
        log.info("series %d (%s) of %s: %s", series.id, series.uid, series.source, awaited)
        self._joining.opened(record)
        for route in record.accounts:
            self._sink.send(record.started(route))

    def close(self, record: SeriesRecord) -> None:
        """The account of a series is final."""
        self._joining.forget(record)
        source, suspicion = record.series.source, record.series.suspicion()
        self._totals.suspicions[source] += suspicion is not None
        self._totals.detector_dropped[source] += record.series.dropped or 0
        for route in record.accounts:
            ended = record.ended(route)
            self._sink.send(ended)
            self._control.remember(ended)
            self._totals.series[route, ended.verdict] += 1
            log.info(
                "series %d of %s on %s: %s, %s of %s images published, %s missing (%s)",
                *(ended.series_id, ended.source, route, ended.verdict, ended.account["published"]),
                "?" if ended.arrivals["expected"] is None else ended.arrivals["expected"],
                *(ended.arrivals["missing"], ended.reason.replace("_", " ")),
            )
            if missing := ended.positions.get("missing"):
                log.warning(
                    "series %d of %s on %s: results without a position: %s",
                    *(ended.series_id, ended.source, route, ", ".join(f"{n} {why}" for why, n in missing.items())),
                )
        if suspicion is not None:
            log.warning("series %d of %s: %s", record.series.id, source, suspicion.text)

    def inferred_all(self, runner: RouteRunner, frames: Sequence[Pending], arrays: Mapping[str, np.ndarray]) -> None:
        """Publish the results of one request, or hold them until their positions are known; slots are still held.

        Arrays by output name, [frames, ...], in the order of `frames`; they must not change afterwards.
        """
        if self._cascades.after(runner):
            for at, frame in enumerate(frames):
                self._cascades.offer(runner, frame, {name: array[at] for name, array in arrays.items()})
        self.publish(self._joining.offer(finished(runner, frames, arrays), time.monotonic_ns()))

    def publish(self, leaving: Iterable[Leaving]) -> None:
        """Publish results, with their positions where these are known; those of one series together."""
        together: list[Leaving] = []
        for each in leaving:
            if together and (len(together) == TOGETHER or not _alike(each[0], together[0][0])):
                self._send(together)
                together = []
            together.append(each)
        if together:
            self._send(together)

    def recalled(self, record: SeriesRecord, runner: RouteRunner, frame: Frame) -> Mapping[str, np.ndarray] | None:
        """Publish what an earlier process logged of this image, and tell it; None where it did not log any."""
        route, series, positions = runner.route.name, record.series, record.positions[runner.route.name]
        key = Key(series.source, series.uid, route, runner.model.sha256, frame.channel)
        found = self._sink.recall.find(key, frame.image_id)
        if found is None or (found[0].position is None and positions.asked_for):  # it may have one now
            return None
        result, arrays = found
        positions.enter(Missing(Why.ABSENT) if result.position is None else Known(result.position))
        if result.untrained:
            self._label(record, result, 1)
        self._sink.send(stamped(result, recovered=True), list(arrays.values()))
        self.pace.spend(sum(array.nbytes for array in arrays.values()), time.monotonic_ns())
        record.accounts[route].recall()
        self._totals.recalled[route] += 1
        self._totals.outcomes[route, "published", ""] += 1
        return arrays

    def failed(self, runner: RouteRunner, frame: Pending, reason: str, detail: str) -> None:
        """Account for a frame that cannot be inferred."""
        self.refused(frame.record, runner, reason, detail)
        self._cascades.lost(frame.record, runner, frame.expected)

    def refused(self, record: SeriesRecord, runner: RouteRunner, reason: str, detail: str) -> None:
        """Account for an accepted frame that cannot be inferred; each reason is logged once a series."""
        route = runner.route.name
        record.accounts[route].fail(reason)
        self._totals.outcomes[route, "failed", reason] += 1
        if record.first_time(f"{route} {reason}"):
            log.warning(
                "series %d of %s on %s: frame failed (%s), %s; further ones are counted only",
                *(record.series.id, record.series.source, route, reason, detail),
            )

    def drop(self, record: SeriesRecord, runner: RouteRunner, reason: str) -> None:
        """Account for an accepted frame that is given up; each reason but a stop is logged once a series."""
        route = runner.route.name
        record.accounts[route].drop(reason)
        self._totals.outcomes[route, "dropped", reason] += 1
        if reason != SHUTDOWN and record.first_time(f"{route} {reason}"):
            log.warning(
                "series %d of %s on %s: frame dropped (%s); further ones are counted only",
                *(record.series.id, record.series.source, route, reason),
            )

    def _send(self, leaving: Sequence[Leaving]) -> None:
        """Publish results of one series on one route whose arrays are alike."""
        first = leaving[0][0]
        runner, record = first.runner, first.frame.record
        route, series = runner.route.name, record.series
        like = Result(
            source=series.source,
            series_uid=series.uid,
            series_id=series.id,
            image_id=0,
            channel="",
            route=route,
            model=runner.spec.name,
            model_version=runner.model.version,
            model_sha256=runner.model.sha256,
            origin="",
            seq=0,
            received_ns=0,
            published_ns=0,
            specs=first.specs,
            untrained=record.ranges[route].reasons,
        )
        if like.untrained:
            self._label(record, like, len(leaving))
        self._sink.send_all(route, [self._of_frame(like, finished, verdict) for finished, verdict in leaving])
        now_ns = time.monotonic_ns()
        latencies_ns = [now_ns - finished.frame.received_ns for finished, _ in leaving]
        record.accounts[route].publish(*latencies_ns)
        self._totals.outcomes[route, "published", ""] += len(leaving)
        self._totals.observe_latency(route, *(latency_ns / 1e9 for latency_ns in latencies_ns))

    def _label(self, record: SeriesRecord, like: Result, results: int) -> None:
        """So many results leave, with the label of `like`."""
        record.ranges[like.route].label(like.untrained)
        self._totals.untrained[like.route] += results
        if record.first_time(f"{like.route} untrained"):
            log.warning(
                "series %d of %s on %s: outside of what %s %s was trained for: %s; its results are labelled untrained",
                *(like.series_id, like.source, like.route, like.model, like.model_version, "; ".join(like.untrained)),
            )

    def _of_frame(self, like: Result, finished: Finished, verdict: Verdict) -> tuple[Result, Sequence[Part]]:
        frame = finished.frame
        account = frame.record.positions[like.route]
        position = account.enter(verdict)
        if position is None and account.asked_for:
            self._totals.positions_missing[like.source, reason_of(verdict)] += 1
        result = replace(
            like,
            image_id=frame.image_id,
            channel=frame.channel,
            received_ns=frame.received_wall_ns,
            position=position,
            recovered=frame.recovered,
        )
        return result, finished.contents


def _alike(one: Finished, other: Finished) -> bool:
    """Whether results differ in nothing but their frame."""
    return one.frame.record is other.frame.record and one.runner is other.runner and one.specs == other.specs
