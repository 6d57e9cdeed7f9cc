"""Result files of a running data plane: one thread writes the logs, a child process builds files of them."""

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType

from edge.results.builder import Builder
from edge.results.errors import ResultFileError
from edge.results.names import check_raw_pattern, raw_target
from edge.results.writer import SeriesWriter
from streams.codecs.results import Notice, Result, SeriesEnded, SeriesStarted
from streams.messages import Part

log = logging.getLogger(__name__)

SYNC_S = 1.0
"""How often what was written is brought to the disk: what a power cut may cost. A killed process loses what waits in
the queue, which is next to nothing while the disk keeps up; what was written is the kernel's."""

QUEUE_BYTES = 256 << 20
"""Results that wait for a slow disk, without the arrays' overhead; beyond, they are published but not logged."""

BUILD_PATIENCE_S = 15.0
"""How long the end waits for files that are being built; their logs stay, so nothing is lost."""

_Item = tuple[Notice, Sequence[Part]]


class ResultFiles:
    """Takes notices as they are published, never makes the caller wait. A context manager.

    The serving loop's thread only puts references into a queue: a disk may stall for seconds, and a loop that waits
    for it would lose frames.

    Args:
        folder: where logs and files go; made where it is not there.
        raw_frames: pattern of the detector's own files (see `edge.results.names.raw_target`); empty: none.
        models: SHA-256 of the weights by route.

    Raises:
        ResultFileError: the folder cannot be written, or the pattern not be filled in.
    """

    def __init__(self, folder: Path, raw_frames: str = "", models: Mapping[str, str] | None = None) -> None:
        check_raw_pattern(raw_frames)
        _check_folder(folder)
        self.not_logged: Counter[str] = Counter()
        """By route: results that are in no log, and so in no file."""
        self._folder, self._raw_frames, self._models = folder, raw_frames, models or {}
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._put_bytes = 0  # written by the caller's thread only
        self._taken_bytes = 0  # written by our thread only
        self._writers: dict[tuple[str, str, str], SeriesWriter] = {}
        self._builder = Builder()
        self._thread = threading.Thread(target=self._run, name="result-files", daemon=True)

    def __enter__(self) -> "ResultFiles":
        self._builder.start()
        self._thread.start()
        unbuilt = sum(not path.with_suffix(".h5").exists() for path in self._folder.glob("*.log"))
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
        self._queue.put(None)
        self._thread.join()
        self._builder.close(BUILD_PATIENCE_S)

    def put(self, notice: Notice, parts: Sequence[Part]) -> None:
        """Log a notice; `parts` are its encoded message and must not change any more."""
        nbytes = sum(map(len, parts))
        if isinstance(notice, Result) and self._put_bytes - self._taken_bytes + nbytes > QUEUE_BYTES:
            if not self.not_logged[notice.route]:
                log.error(
                    "the disk of %s is too slow: %d MiB of results wait for it; what comes now is published but not "
                    "logged, and the files will be incomplete. Use a faster disk for results.folder",
                    *(self._folder, QUEUE_BYTES >> 20),
                )
            self.not_logged[notice.route] += 1
            return
        self._put_bytes += nbytes
        self._queue.put((notice, parts))

    def _run(self) -> None:
        synced = time.monotonic()
        while (item := self._next(synced + SYNC_S - time.monotonic())) is not None:
            if item:
                self._write(*item)
                self._taken_bytes += sum(map(len, item[1]))
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

    def _write(self, notice: Notice, parts: Sequence[Part]) -> None:
        if isinstance(notice, SeriesStarted):
            self._start(notice, parts)
        elif isinstance(notice, Result | SeriesEnded):
            key = (notice.route, notice.source, notice.series_uid)
            writer = self._writers.get(key)
            over = isinstance(notice, SeriesEnded)
            if writer is None or not writer.append(parts, insist=over):
                self.not_logged[notice.route] += not over
            if over:
                self._finish(self._writers.pop(key, None))

    def _start(self, started: SeriesStarted, parts: Sequence[Part]) -> None:
        key = (started.route, started.source, started.series_uid)
        if key not in self._writers:
            raw = raw_target(self._raw_frames, started) if self._raw_frames else ""
            facts: dict[str, object] = {"program": f"edge serve {version('detector-edge')}", "raw_frames": raw}
            model = self._models.get(started.route, "")
            self._writers[key] = SeriesWriter(self._folder, started, parts, facts, model)
        self._writers[key].append(parts)

    def _finish(self, writer: SeriesWriter | None) -> None:
        if writer is None:
            return
        writer.close()
        if writer.path is not None:
            self._builder.put(writer.path)


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
