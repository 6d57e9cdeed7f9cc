"""Where the receiver puts the results of one route, and the device's worker waits for those of its scan point.

Memory is bounded: results are kept only for the images that are expected now; of others only what is said below.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from streams.codecs.results import Heartbeat, Notice, Result, SeriesEnded, SeriesStarted

NOTICES_KEPT = 256
"""Starts and ends of series; a run has a few."""


@dataclass(frozen=True)
class Received:
    """The result of one image; `at_s` is when it came, by the monotonic clock.

    `untrained` says why the image is outside of what the model was trained for.
    """

    arrays: Mapping[str, NDArray[Any]]
    channel: str
    at_s: float
    untrained: tuple[str, ...] = ()


class Inbox:
    """Results of the expected images, by image id; starts and ends of series. For two threads.

    Args:
        source: the name that `edge serve` gives the detector's stream.
        channel: the threshold whose images count; None where the detector has only one.
    """

    def __init__(self, source: str, channel: str | None = None) -> None:
        self._source = source
        self._channel = channel
        self._changed = threading.Condition()
        self._started: deque[SeriesStarted] = deque(maxlen=NOTICES_KEPT)
        self._ended: deque[SeriesEnded] = deque(maxlen=NOTICES_KEPT)
        self._series_uid = ""
        self._expected = range(0)
        self._results: dict[int, Received] = {}
        self._channels: list[str] = []
        self._untriggered: int | None = None
        self._open = True

    def put(self, notice: Notice, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take what the receiver got."""
        with self._changed:
            if isinstance(notice, SeriesStarted):
                self._started.append(notice)
            elif isinstance(notice, SeriesEnded):
                self._ended.append(notice)
            elif isinstance(notice, Result):
                self._put_result(notice, arrays)
            elif isinstance(notice, Heartbeat):
                return
            self._changed.notify_all()

    def _put_result(self, result: Result, arrays: Mapping[str, NDArray[Any]]) -> None:
        if result.source != self._source or result.series_uid != self._series_uid:
            return
        if self._channel is None and result.channel not in self._channels:
            self._channels.append(result.channel)
        if result.channel != (self._channels[0] if self._channel is None else self._channel):
            return
        if result.image_id in self._expected:
            self._results[result.image_id] = Received(arrays, result.channel, time.monotonic(), result.untrained)
        elif result.image_id >= self._expected.stop:
            self._untriggered = max(result.image_id, self._untriggered or 0)

    def close(self) -> None:
        """Nothing more will come: whoever waits need not."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def wake(self) -> None:
        """Have `wait` look again: something that it depends on has changed elsewhere."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        """Block until `ready`, asked anew whenever something comes; False after `timeout_s`, or at `close`."""
        with self._changed:
            self._changed.wait_for(lambda: ready() or not self._open, timeout_s)
            return ready()

    @property
    def open(self) -> bool:
        return self._open

    def expect(self, series_uid: str, images: range) -> None:
        """From now on keep the results of these images; earlier ones are forgotten."""
        with self._changed:
            if series_uid != self._series_uid:
                self._untriggered = None
                self._channels = self._announced_channels(series_uid) if self._channel is None else []
            self._series_uid, self._expected = series_uid, images
            self._results = {}

    def _announced_channels(self, series_uid: str) -> list[str]:
        """As far as the detector's own start message names them (DECTRIS Stream V2 does)."""
        matching = (one.header for one in self._started if (one.source, one.series_uid) == (self._source, series_uid))
        named = next(matching, {}).get("channels")
        return [one for one in named if isinstance(one, str)] if isinstance(named, list) else []

    @property
    def results(self) -> dict[int, Received]:
        """Of the expected images, as far as they have come."""
        with self._changed:
            return dict(self._results)

    @property
    def channels(self) -> list[str]:
        """Of the series, where none was chosen: announced and seen. More than one where one should have been chosen.

        Images of different thresholds are never mixed: only those of the first count.
        """
        with self._changed:
            return list(self._channels)

    @property
    def untriggered(self) -> int | None:
        """The highest image id of the series that came although nobody had triggered it."""
        return self._untriggered

    def forget_series(self) -> None:
        """Before an arm: a series of the same number may have been announced earlier."""
        with self._changed:
            self._started.clear()

    def started(self, series_id: int) -> SeriesStarted | None:
        """The announcement of this series, once it has come."""
        with self._changed:
            matching = (one for one in self._started if (one.source, one.series_id) == (self._source, series_id))
            return next(matching, None)

    def sources(self, series_id: int) -> set[str]:
        """All sources from which a series of this number was announced: helps to find a wrong name."""
        with self._changed:
            return {one.source for one in self._started if one.series_id == series_id}

    def ended(self, series_uid: str) -> SeriesEnded | None:
        """The end of this series, once it has come."""
        with self._changed:
            matching = (one for one in self._ended if (one.source, one.series_uid) == (self._source, series_uid))
            return next(matching, None)
