"""The detector: its configuration, its state, and the one thread that exposes.

Requests come from many threads. Each is decided under a lock by the table in `machine`; what takes time is done by a
single worker in the order in which it was decided, and the request waits for it without holding the lock.
"""

import logging
import threading
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeAlias

from edge.simulate import configuration
from edge.simulate.faults import Orders
from edge.simulate.halt import Halt
from edge.simulate.machine import Effect, Event, State, shown, step, told
from edge.simulate.parameters import Settings
from edge.simulate.refusal import Refused
from edge.simulate.series import Plan, Series, Surroundings, Tally, open_series
from streams.messages import Acquisition, Compression

log = logging.getLogger(__name__)

Work: TypeAlias = "Future[Work] | None"
"""What the worker returns: the work that follows from it, which is to be waited for too."""

_LZ4 = {"simplon-v1": Compression.LZ4_BLOCK, "stream-v2": Compression.LZ4_HDF5}


class Detector:
    """A simulated detector; methods may be called from any thread. Close it to end an open series."""

    def __init__(self, around: Surroundings, protocol: str) -> None:
        shape, dtype = around.scene.shape, around.scene.dtype
        self.settings = {
            "detector": Settings(configuration.detector_parameters(shape, dtype), configuration.timing),
            "stream": Settings(configuration.stream_parameters(protocol)),
            "filewriter": Settings(configuration.filewriter_parameters(around.folder is not None)),
        }
        self.orders = Orders()
        self.armed: Plan | None = None  # the last series
        self.tally = Tally()  # of the last series
        self._around = around
        self._lock = threading.Lock()
        self._state = State.NA
        self._series: Series | None = None  # belongs to the worker
        self._halt = Halt(around.clock)
        self._closed = False
        self._series_id = 0
        self._arms = 0
        self._done: Future[Work] = Future()  # of the latest work
        self._done.set_result(None)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="detector")

    @property
    def state(self) -> str:
        """As SIMPLON's `detector/status/state`."""
        return shown(self._state)

    def put(self, subsystem: str, name: str, value: Any) -> list[str]:
        """Set a configuration parameter; the names of all that changed.

        Raises:
            Refused: nothing was changed.
        """
        with self._lock:
            if self._state is not State.IDLE:
                raise Refused(HTTPStatus.CONFLICT, f"{subsystem}/config is changed in idle: {told(self._state)}")
            return self.settings[subsystem].put(name, value)

    def initialize_stream(self) -> None:
        """ "Restarts the stream interface and disables it" (DEigerClient, DECTRIS 2022).

        Raises:
            Refused: a series is open.
        """
        self.put("stream", "mode", "disabled")

    def command(self, name: str) -> dict[str, Any]:
        """Obey a command of `machine.COMMANDS` and return the answer once it has been carried out.

        Raises:
            Refused: not possible in this state; or the series could not be started; or another command ended the
                exposure.
        """
        event = Event(name)
        with self._lock:
            if self._closed:
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "the simulator is stopping")
            self._advance(event)
            # Of its own work; or, where the series is ending already, of its end. In idle nothing is under way.
            done = None if self._state is State.IDLE else self._done
            series_id = self._series_id
        while done is not None:
            done = done.result()
        return {} if event is Event.INITIALIZE else {"sequence id": series_id}

    def close(self) -> None:
        """End an open series and the worker."""
        with self._lock:
            self._closed = True
            if self._state not in (State.NA, State.IDLE):
                self._advance(Event.ABORT)
        self._worker.shutdown()

    def _advance(self, event: Event) -> None:
        """Under the lock: decide, and hand the work over."""
        self._state, effects = step(self._state, event)
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Effect.RESET_IDS:  # "reset after initializing the detector" (EIGER2 User Manual 1.8.2, section 7.3)
                self._series_id = 0
            case Effect.START:
                self._done = self._worker.submit(self._start, self._plan())
            case Effect.EXPOSE:
                self._halt = Halt(self._around.clock)
                self._done = self._worker.submit(self._expose, self._halt)
            case Effect.STOP:
                self._halt.stop()
            case Effect.FINISH_FRAME:
                self._halt.finish_frame()
            case Effect.END:
                self._done = self._worker.submit(self._end)

    def _plan(self) -> Plan:
        """The series as it is configured now."""
        detector, stream, files = (self.settings[name] for name in ("detector", "stream", "filewriter"))
        self._series_id += 1
        self._arms += 1
        protocol = configuration.FORMATS[stream["format"]]
        compression = {"lz4": _LZ4[protocol], "bslz4": Compression.BSLZ4, "none": Compression.NONE}
        acquisition = Acquisition(
            series_id=self._series_id,
            series_uid=uuid.uuid4().hex,
            arm_date=datetime.now(UTC).isoformat(timespec="microseconds"),
            images=detector["nimages"] * detector["ntrigger"],
            shape=self._around.scene.shape,
            dtype=self._around.scene.dtype,
            compression=compression[detector["compression"]],
            frame_time_s=detector["frame_time"],
            triggers=detector["ntrigger"],
        )
        name = files["name_pattern"].replace("$id", str(self._series_id))
        return Plan(
            protocol=protocol,
            acquisition=acquisition,
            count_time_s=detector["count_time"],
            streamed=stream["mode"] == "enabled",
            file_name=name if files["mode"] == "enabled" else None,
            images_per_file=files["nimages_per_file"],
            number=self._arms - 1,
        )

    def _start(self, plan: Plan) -> Work:
        outcome = Event.FAILED
        try:
            self._series = open_series(plan, self._around, self.orders)
            self.armed, self.tally = plan, self._series.tally
            outcome = Event.STARTED
        finally:
            self._report(outcome)

    def _expose(self, halt: Halt) -> Work:
        series = self._series
        assert series is not None
        outcome = Event.EXPOSED
        try:
            complete = series.expose(self.orders, halt)
            outcome = Event.EXHAUSTED if series.tally.triggers == series.plan.acquisition.triggers else Event.EXPOSED
        finally:
            ended = self._report(outcome)
        if not complete:
            reason = f"the exposure was ended by another command; the series has {series.tally.images} images"
            raise Refused(HTTPStatus.CONFLICT, reason)
        return ended if outcome is Event.EXHAUSTED else None

    def _end(self) -> Work:
        series, self._series = self._series, None
        try:
            if series is not None:
                series.end()
                facts = series.plan.acquisition.series_id, series.tally.triggers, series.tally.images
                log.info("series %d ended: %d triggers, %d images, %d dropped", *facts, series.tally.dropped)
        finally:
            self._report(Event.ENDED)

    def _report(self, event: Event) -> "Future[Work]":
        with self._lock:
            self._advance(event)
            return self._done
