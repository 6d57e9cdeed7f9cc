"""What leaves the data plane: results, notices of series, and the accounts that go with them."""

import logging
import time
from collections.abc import Iterable, Mapping

import numpy as np

from edge.pipeline.batching import Pending
from edge.pipeline.control import Control
from edge.pipeline.dispatch import RouteRunner
from edge.pipeline.joined import reason_of
from edge.pipeline.joining import Finished, Joining, Leaving
from edge.pipeline.pace import Pace
from edge.pipeline.record import SeriesRecord
from edge.pipeline.sinks import ResultSink
from edge.pipeline.totals import Totals
from edge.results.recall import Key
from streams.codecs.results import Result, describe, stamped
from streams.messages import Frame
from streams.positions.headers import Known, Missing, Why

log = logging.getLogger(__name__)


class Publisher:
    """Enters what became of frames and series into their accounts, and tells whoever subscribed.

    Args:
        sink: where notices leave.
        joining: where results meet their positions.
        control: remembers the accounts of the last series.
        totals: counters.
    """

    def __init__(self, sink: ResultSink, joining: Joining, control: Control, totals: Totals) -> None:
        self._sink = sink
        self._joining = joining
        self._control = control
        self._totals = totals
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

    def inferred(self, runner: RouteRunner, frame: Pending, arrays: Mapping[str, np.ndarray]) -> None:
        """Publish the result of one frame, or hold it until its position is known."""
        self.publish(self._joining.offer(Finished(runner, frame, arrays), time.monotonic_ns()))

    def publish(self, leaving: Iterable[Leaving]) -> None:
        """Publish results, with their positions where these are known."""
        for finished, verdict in leaving:
            account = finished.frame.record.positions[finished.runner.route.name]
            position = account.enter(verdict)
            if position is None and account.asked_for:
                self._totals.positions_missing[finished.frame.record.series.source, reason_of(verdict)] += 1
            self._send(finished, position)

    def recalled(self, record: SeriesRecord, runner: RouteRunner, frame: Frame) -> bool:
        """Publish what an earlier process logged of this image, where it did; whether it had."""
        route, series, positions = runner.route.name, record.series, record.positions[runner.route.name]
        key = Key(series.source, series.uid, route, runner.model.sha256, frame.channel)
        found = self._sink.recall.find(key, frame.image_id)
        if found is None or (found[0].position is None and positions.asked_for):  # it may have one now
            return False
        result, arrays = found
        positions.enter(Missing(Why.ABSENT) if result.position is None else Known(result.position))
        self._sink.send(stamped(result, recovered=True), list(arrays.values()))
        self.pace.spend(sum(array.nbytes for array in arrays.values()), time.monotonic_ns())
        record.accounts[route].recall()
        self._totals.recalled[route] += 1
        self._totals.outcomes[route, "published", ""] += 1
        return True

    def failed(self, runner: RouteRunner, frame: Pending, reason: str, detail: str) -> None:
        """Account for a frame that cannot be inferred."""
        self.refused(frame.record, runner, reason, detail)

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

    def drop(self, record: SeriesRecord, runner: RouteRunner) -> None:
        """Account for an accepted frame that is given up at a stop."""
        record.accounts[runner.route.name].drop("shutdown")
        self._totals.outcomes[runner.route.name, "dropped", "shutdown"] += 1

    def _send(self, finished: Finished, position: dict[str, float] | None) -> None:
        runner, frame, arrays = finished.runner, finished.frame, finished.arrays
        route = runner.route.name
        units = {output.name: output.units for output in runner.spec.outputs}
        series = frame.record.series
        result = Result(
            source=series.source,
            series_uid=series.uid,
            series_id=series.id,
            image_id=frame.image_id,
            channel=frame.channel,
            route=route,
            model=runner.spec.name,
            model_version=runner.model.version,
            model_sha256=runner.model.sha256,
            origin="",
            seq=0,
            received_ns=frame.received_wall_ns,
            published_ns=0,
            specs=tuple(describe(name, array, units[name]) for name, array in arrays.items()),
            position=position,
            recovered=frame.recovered,
        )
        self._sink.send(result, list(arrays.values()))
        latency_ns = time.monotonic_ns() - frame.received_ns
        frame.record.accounts[route].publish(latency_ns)
        self._totals.outcomes[route, "published", ""] += 1
        self._totals.observe_latency(route, latency_ns / 1e9)
