"""How many images the detector itself dropped: SIMPLON's stream/status/dropped, asked about once a second.

"Images dropped as not requested", reset on arm (SIMPLON API 1.8, 5.4.3): the only counter of losses that such
a detector has. With it, images that are missing at the end of a series can be told apart: those that never left the
detector, and those that were lost on the way or went to somebody else.

The thread asks and hands readings over; `edge.pipeline.dropped` says what they mean for a series.
"""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import httpx

from edge.experiment.errors import DetectorError
from edge.experiment.simplon import SimplonClient
from edge.pipeline.dropped import Reading
from edge.simplon.discovery import asked, optional

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
TIMEOUT_S = 2.0
"""For one answer of the detector."""


class DroppedPoll:
    """Asks the detector of one source for as long as the context lasts, in a thread of its own.

    Args:
        detector_url: its control unit, e.g. "http://10.42.41.10".
        put: takes each reading, called by that thread; never after the context has ended. It must not block.
        transport: stands in for the network in tests.

    Attributes:
        readings, errors: questions that were answered, and that were not.
    """

    def __init__(
        self,
        source: str,
        detector_url: str,
        put: Callable[[Reading], None],
        interval_s: float = INTERVAL_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.readings = self.errors = 0
        self._source, self._url, self._put = source, detector_url, put
        self._interval_s, self._transport = interval_s, transport
        self._client: SimplonClient | None = None
        self._names_series = True
        self._failing = False
        self._ended = False
        self._lock = threading.Lock()  # held while a reading is handed over
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"dropped-{source}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._ended = True
        self._due.set()  # a question that is under way is not waited for: its answer goes nowhere

    def ask(self) -> None:
        """Ask now; from any thread."""
        self._due.set()

    def _run(self) -> None:
        while not self._ended:
            self._due.clear()
            try:
                reading = self._read()
            except DetectorError as error:
                self._failed(error)
            else:
                self._succeeded()
                with self._lock:
                    if not self._ended:
                        self._put(reading)
            self._due.wait(self._interval_s)
        if self._client is not None:
            self._client.close()

    def _read(self) -> Reading:
        """One reading.

        Raises:
            DetectorError: no answer, or not a count.
        """
        if self._client is None:
            self._client, self._names_series = asked(self._url, TIMEOUT_S, self._transport), True
        asked_ns = time.monotonic_ns()
        before = self._series(self._client)
        count = self._client.get("dropped", "stream", "status")
        after = self._series(self._client)
        if type(count) is not int or count < 0:
            raise DetectorError(f"{self._url}: stream/status/dropped is {str(count)[:50]!r}, not a count")
        uid = before if before == after else None
        return Reading(self._source, count, uid, asked_ns, time.monotonic_ns())

    def _series(self, client: SimplonClient) -> str | None:
        """The unique id of the detector's series; None where it has none, or does not tell: then it is not asked on."""
        uid = optional(client, "series_unique_id", kind="status") if self._names_series else None
        self._names_series = uid is not None
        return uid if isinstance(uid, str) and uid else None

    def _failed(self, error: DetectorError) -> None:
        self.errors += 1
        if not self._failing:
            log.warning("source %s: cannot ask how many images were dropped: %s; tried on", self._source, error)
        self._failing = True
        if self._client is not None:
            self._client.close()
        self._client = None  # it may come back with another version

    def _succeeded(self) -> None:
        self.readings += 1
        if self._failing:
            log.info("source %s: the detector tells again how many images it dropped", self._source)
        self._failing = False
