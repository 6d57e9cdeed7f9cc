"""Result files of a running data plane: one thread writes the logs, a child process builds files of them."""

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType

from edge.results.builder import Builder
from edge.results.errors import ResultFileError
from edge.results.names import check_raw_pattern, raw_target, series_stem
from edge.results.recall import Recall
from edge.results.writer import (
    FinishedSeries,
    LeftLogs,
    SeriesWriter,
    complete_series,
    has_log_that_is_over,
    left_logs,
)
from streams.codecs.results import Heartbeat, Notice, Result, SeriesEnded, SeriesStarted
from streams.messages import Part

log = logging.getLogger(__name__)

SYNC_S = 1.0
"""How often what was written is brought to the disk: what a power cut may cost. A killed process loses what waits in
the queue, which is next to nothing while the disk keeps up; what was written is the kernel's."""

QUEUE_BYTES = 256 << 20
"""Notices that wait for a slow disk; beyond, they are published but not logged."""

ITEM_BYTES = 2048
"""Reckoned for each of them besides its bytes: what Python's objects take. So their number is bounded, too."""

WRITE_PATIENCE_S = 20.0
"""How long the end waits for the disk to take what is queued; what it has not taken then is lost, and said so."""

BUILD_PATIENCE_S = 15.0
"""How long after the stop files may still be built; their logs stay, so nothing is lost."""

Logged = Callable[[SeriesEnded], None]
"""Told of each series and route whose log is whole, by a thread of ours."""

_Notice = Result | SeriesStarted | SeriesEnded
_Item = tuple[_Notice, Sequence[Part], bool]  # of an end: whether everything before it found room in the queue
_Key = tuple[str, str, str]


class ResultFiles:
    """Takes notices as they are published, never makes the caller wait. A context manager.

    The serving loop's thread only puts references into a queue: a disk may stall for seconds, and a loop that waits
    for it would lose frames.

    Args:
        folder: where logs and files go; made where it is not there.
        raw_frames: pattern of the detector's own files (see `edge.results.names.raw_target`); empty: none.
        models: SHA-256 of the weights by route.
        logged: told of what is kept for good.
        recovering: series come again that an earlier process may have finished: their files are left as they are.

    Raises:
        ResultFileError: the folder cannot be written, or the pattern not be filled in.
    """

    def __init__(
        self,
        folder: Path,
        raw_frames: str = "",
        models: Mapping[str, str] | None = None,
        logged: Logged | None = None,
        recovering: bool = False,
    ) -> None:
        check_raw_pattern(raw_frames)
        _check_folder(folder)
        self.not_logged: Counter[str] = Counter()
        """By route: results that are in no log, and so in no file. Two threads count."""
        self._counting = threading.Lock()
        self._folder, self._raw_frames, self._models = folder, raw_frames, models or {}
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._put_bytes = 0  # written by the caller's thread only
        self._taken_bytes = 0  # written by our thread only
        self._queued: set[_Key] = set()  # series and routes with anything queued and no end; the caller's thread only
        self._lacking: set[_Key] = set()  # of these, those with a result that found no room
        self._full: set[str] = set()  # routes of which was said that the disk is too slow
        self._writers: dict[_Key, SeriesWriter | FinishedSeries] = {}
        self._left: LeftLogs = {}
        self._logged, self._recovering = logged, recovering
        self.recall = Recall(())
        """What an earlier process logged; the caller's thread only."""
        self._complete: frozenset[str] = frozenset()  # stems of series whose files need nothing more
        self._builder = Builder()
        self._thread = threading.Thread(target=self._run, name="result-files", daemon=True)

    def __enter__(self) -> "ResultFiles":
        self._left = left_logs(self._folder)
        if self._recovering:
            self._complete = complete_series(self._folder, self._left)
            self.recall = Recall(path for paths in self._left.values() for path in paths)
        unbuilt = sum(not path.with_suffix(".h5").exists() for paths in self._left.values() for path in paths)
        self._builder.start()
        self._thread.start()
        if unbuilt:
            log.warning(
                "%d logs in %s have no result file yet: edge serve was cut off, or another one is writing them now; "
                "`edge results --build %s/*.log` builds what can be built",
                *(unbuilt, self._folder, self._folder),
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        began = time.monotonic()
        self._queue.put(None)
        self._thread.join(WRITE_PATIENCE_S)
        if self._thread.is_alive():
            self._give_up()
        self._builder.close(max(0.0, began + BUILD_PATIENCE_S - time.monotonic()))
        self.recall.close()

    def put(self, notice: Notice, parts: Sequence[Part]) -> None:
        """Log a notice; `parts` are its encoded message and must not change any more.

        Where a series' start finds no room, its log begins with the first result that does. Its end is always taken,
        for a log without one becomes no file; they are as few as the series that were open.
        """
        if isinstance(notice, Heartbeat):
            return
        key = _key(notice)
        if isinstance(notice, SeriesEnded):
            self.recall.forget(notice.source, notice.series_uid, notice.route)
            whole = key not in self._lacking
            self._lacking.discard(key)
            if key not in self._queued:  # nor is there a log
                return
            self._queued.remove(key)
        elif self._put_bytes - self._taken_bytes + _cost(parts) > QUEUE_BYTES:
            self._leave_out(notice)
            return
        else:
            whole = True
            self._queued.add(key)
        self._put_bytes += _cost(parts)
        self._queue.put((notice, parts, whole))

    def _leave_out(self, notice: Result | SeriesStarted) -> None:
        if notice.route not in self._full:
            self._full.add(notice.route)
            log.error(
                "the disk of %s is too slow: %d MiB of results wait for it; what comes now is published but not "
                "logged, and the files will be incomplete. Use a faster disk for results.folder",
                *(self._folder, QUEUE_BYTES >> 20),
            )
        if isinstance(notice, Result):
            self._lacking.add(_key(notice))
        self._count(notice)

    def _give_up(self) -> None:
        waiting = 0
        while item := self._next(0.0):
            self._count(item[0])
            waiting += isinstance(item[0], Result)
        self._queue.put(None)  # should the disk come back before the process is gone
        log.error(
            "the disk of %s did not take everything within %g s: %d results were published but are in no log. "
            "`edge results --build %s/*.log` builds files of what is there",
            *(self._folder, WRITE_PATIENCE_S, waiting, self._folder),
        )

    def _count(self, notice: _Notice) -> None:
        """`notice` is in no log."""
        if isinstance(notice, Result):
            with self._counting:
                self.not_logged[notice.route] += 1

    def _run(self) -> None:
        synced = time.monotonic()
        while (item := self._next(synced + SYNC_S - time.monotonic())) is not None:
            if item:
                self._write(*item)
                self._taken_bytes += _cost(item[1])
            if time.monotonic() - synced >= SYNC_S:
                for writer in self._writers.values():
                    writer.sync()
                synced = time.monotonic()
        for writer in self._writers.values():  # their series were never closed: the logs stay as they are
            writer.close()

    def _next(self, timeout_s: float) -> _Item | tuple[()] | None:
        """What waits, () where nothing came in time, None at the end."""
        try:
            return self._queue.get(timeout=max(timeout_s, 0.0))
        except queue.Empty:
            return ()

    def _write(self, notice: _Notice, parts: Sequence[Part], whole: bool) -> None:
        if isinstance(notice, SeriesEnded):
            self._finish(self._writers.pop(_key(notice)), notice, parts, whole)
        elif not self._writer(notice, parts).append(parts):
            self._count(notice)

    def _writer(self, notice: Result | SeriesStarted, parts: Sequence[Part]) -> SeriesWriter | FinishedSeries:
        key = _key(notice)
        if key not in self._writers:
            raw = raw_target(self._raw_frames, notice) if self._raw_frames else ""
            facts: dict[str, object] = {"program": f"edge serve {version('detector-edge')}", "raw_frames": raw}
            model = self._models.get(notice.route, "")
            if self._recovering and self._finished(series_stem(notice, model)):
                self._writers[key] = FinishedSeries()
            else:
                self._writers[key] = SeriesWriter(self._folder, notice, parts, facts, model, self._left)
        return self._writers[key]

    def _finished(self, stem: str) -> bool:
        """Whether what comes again of this series is where it belongs."""
        return stem in self._complete or has_log_that_is_over(stem, self._left)

    def _finish(
        self, writer: SeriesWriter | FinishedSeries, end: SeriesEnded, parts: Sequence[Part], whole: bool
    ) -> None:
        whole = writer.append(parts, insist=True) and not writer.not_logged and whole
        writer.close()
        if whole and self._logged is not None:
            self._logged(end)
        if writer.path is not None:
            self._builder.put(writer.path)


def _key(notice: _Notice) -> _Key:
    return notice.route, notice.source, notice.series_uid


def _cost(parts: Sequence[Part]) -> int:
    return ITEM_BYTES + sum(map(len, parts))


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as trial:
            trial.write(b"\0")
    except OSError as error:
        raise ResultFileError(
            f"cannot write result files in {folder}: {error.strerror}; change results.folder, make the folder "
            'writable, or leave results.folder empty ("") to keep no files'
        ) from error
