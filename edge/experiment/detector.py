"""A detector behind `edge serve` as a Bluesky device: its reading is what the models made of a scan point's frames.

Nothing here blocks the RunEngine: stage, trigger and unstage return a Status at once, and one worker thread does what
they ask, in their order. That order is also what makes pausing safe: a trigger that the RunEngine gives up and repeats
waits for the earlier exposure to be over, and takes the next image ids.
"""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any

from ophyd import Device
from ophyd.status import Status
from ophyd.utils import RedundantStaging

from edge.experiment.dataplane import DataPlane, Plane
from edge.experiment.errors import DetectorError, NotReady, PointIncomplete
from edge.experiment.exposure import Commands, Exposure, Patience, Taken
from edge.experiment.measurement import Measurement
from edge.experiment.series import SeriesRecord
from edge.experiment.session import Session
from edge.experiment.waiting import settle

__all__ = [
    "DataPlane",
    "DetectorError",
    "EdgeDetector",
    "Exposure",
    "NotReady",
    "Patience",
    "PointIncomplete",
    "SeriesRecord",
]

log = logging.getLogger(__name__)

ABORT_FROM_S = 2.0
"""A running exposure longer than this is aborted at unstage; a shorter one is awaited, so that its series is whole."""

_FACTS: dict[str, dict[str, Any]] = {
    "series_id": {"dtype": "integer", "shape": [], "units": "1"},
    "first_image": {"dtype": "integer", "shape": [], "units": "1"},
    "frames": {"dtype": "integer", "shape": [], "units": "1"},
    "untrained": {"dtype": "integer", "shape": [], "units": "1"},
    "latency_ms": {"dtype": "number", "shape": [], "units": "ms"},
}


class EdgeDetector(Device):
    """Armed once a run, triggered once a scan point; a trigger is done when the results of its very frames are in.

    Args:
        name: of the device, and the first part of its event fields.
        simplon: the detector's control interface.
        data_plane: where its frames go and its results come from.
        measurement: how a point's results become its numbers.
        exposure: frames and times of a point.
        patience: how long to wait for what.

    Event fields: one for each key of the measurement, and `series_id`, `first_image`, `frames` (the scan point is the
    images [first_image, first_image + frames) of that series), `untrained` (how many of them are outside of what the
    model was trained for), `latency_ms` (from the end of the exposure until the last result was in).

    A trigger's Status fails with PointIncomplete or DetectorError, that of a stage with DetectorError: NotReady where
    the data plane would not have served its frames, and so it was not armed. That of an
    unstage never fails, so that it hides no earlier error: what went wrong is in `series` and in the log.
    """

    def __init__(
        self,
        name: str,
        simplon: Commands,
        data_plane: Plane,
        measurement: Measurement,
        exposure: Exposure,
        patience: Patience = Patience(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(name=name)
        if data_plane.route != measurement.route:
            raise ValueError(
                f"the measurement takes results of route {measurement.route!r}, the data plane was told "
                f"{data_plane.route!r}"
            )
        self._simplon, self._plane, self._measurement = simplon, data_plane, measurement
        self._exposure, self._patience = exposure, patience
        self._worker: ThreadPoolExecutor | None = None
        self._session: Session | None = None
        self._endings: list[Future[None]] = []  # of earlier stagings, as far as they may still be under way
        self._series: tuple[SeriesRecord, ...] = ()
        self._ticket = 0  # grows with each trigger, and when what was triggered is given up
        self._triggered = 0  # ticket of the last trigger
        self._taken: tuple[int, dict[str, dict[str, Any]]] | None = None  # ticket and reading

    @property
    def series(self) -> tuple[SeriesRecord, ...]:
        """The accounts of the series of the last staging, complete once the Status of `unstage` is done."""
        return self._series

    def stage(self) -> Status:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Subscribe to the results, configure the detector, and arm it when all behind it is ready to serve its frames.

        The Status is done when the data plane knows the series. It fails with NotReady where nothing was armed.
        """
        if self._worker is not None:
            raise RedundantStaging(f"{self.name} is staged already; unstage it first")
        self._series, self._taken = (), None
        session = self._session = Session(self._simplon, self._plane, self._exposure, self._patience)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=self.name)
        return _status(self, self._worker.submit(self._begin, session, tuple(self._endings)))

    def trigger(self) -> Status:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Expose one scan point. A trigger whose Status is not done yet is given up: it ends well, and unread."""
        worker, session = self._worker, self._session
        if worker is None or session is None:
            raise RuntimeError(f"{self.name} is not staged; a plan stages a detector before it triggers it")
        self._triggered = self._give_up(session)
        return _status(self, worker.submit(self._take, session, self._triggered))

    def unstage(self) -> Status:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Tell the data plane how many images there were, disarm, and collect the accounts. Bounded; never fails."""
        worker, session = self._worker, self._session
        self._worker = self._session = None
        if worker is None or session is None:
            status = Status(obj=self)
            status.set_finished()
            return status
        self._give_up(session)
        if session.exposing and self._exposure.duration_s > ABORT_FROM_S:
            threading.Thread(target=session.close_now, name=f"{self.name} abort").start()
        ending = worker.submit(self._end, session)
        self._endings = [*(one for one in self._endings if not one.done()), ending]
        status = _status(self, ending)
        worker.shutdown(wait=False)
        return status

    def stop(self, *, success: bool = False) -> None:
        """Abort what the detector does now. The series is then closed; the next trigger arms another."""
        session = self._session
        if session is not None:
            threading.Thread(target=session.close_now, name=f"{self.name} abort").start()

    def read(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The numbers of the last scan point.

        Raises:
            RuntimeError: there is none: its trigger is not done, or has failed.
        """
        taken = self._taken
        if taken is None or taken[0] != self._triggered:
            raise RuntimeError(f"{self.name} has no reading: its last trigger is not done, or has failed")
        return taken[1]

    def describe(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        source = f"edge:{self._plane.source}/{self._plane.route}"
        keys = self._measurement.describe() | _FACTS
        return {self._field(key): {"source": source, **described} for key, described in keys.items()}

    def read_configuration(self) -> dict[str, dict[str, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        now = time.time()
        return {self._field(key): {"value": value, "timestamp": now} for key, value in self._configuration().items()}

    def describe_configuration(self) -> dict[str, dict[str, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        kinds = {int: "integer", float: "number", str: "string"}
        return {
            self._field(key): {"source": self._simplon.url, "dtype": kinds[type(value)], "shape": []}
            for key, value in self._configuration().items()
        }

    @property
    def hints(self) -> dict[str, Any]:
        return {"fields": [self._field(next(iter(self._measurement.describe())))]}

    def _configuration(self) -> dict[str, Any]:
        return {
            "url": self._simplon.url,
            "source": self._plane.source,
            "route": self._plane.route,
            "frames_per_point": self._exposure.frames,
            "frame_time": self._exposure.frame_time_s,
        }

    def _field(self, key: str) -> str:
        return f"{self.name}_{key}"

    def _give_up(self, session: Session) -> int:
        """Whatever was triggered before is not waited for any more. The number of the next trigger."""
        self._ticket += 1
        session.wake()
        return self._ticket

    def _begin(self, session: Session, endings: "Sequence[Future[None]]") -> None:
        """When the earlier stagings have ended (a halt does not wait for that): they would disarm the new series."""
        if wait(endings, self._patience.prepare_s).not_done:
            raise DetectorError(
                f"{self.name}: the staging before has not ended within {self._patience.prepare_s:g} s; does "
                f"{self._simplon.url} answer?"
            )
        self._series = ()
        session.begin(lambda: self._session is not session)

    def _take(self, session: Session, ticket: int) -> None:
        def abandoned() -> bool:
            return self._ticket != ticket

        try:
            taken = session.take(abandoned)
            if taken is not None:
                self._taken = ticket, self._reduced(taken)
        except (DetectorError, PointIncomplete) as error:
            if not abandoned():
                raise
            # Nobody waits for it: a failed Status would end the plan at some later, unrelated message.
            log.warning("a trigger that was given up had failed: %s", error)

    def _reduced(self, taken: Taken) -> dict[str, dict[str, Any]]:
        values: dict[str, Any] = dict(self._measurement.reduce([result.arrays for result in taken.results]))
        values |= {"series_id": taken.series_id, "first_image": taken.first_image, "frames": len(taken.results)}
        values["untrained"] = sum(bool(result.untrained) for result in taken.results)
        values["latency_ms"] = taken.latency_s * 1e3
        now = time.time()
        return {self._field(key): {"value": value, "timestamp": now} for key, value in values.items()}

    def _end(self, session: Session) -> None:
        self._series = session.end()


def _status(device: Device, job: "Future[None]") -> Status:
    """A Status that ends as `job` does."""
    status = Status(obj=device)
    job.add_done_callback(partial(settle, status))
    return status
