"""Captures of a running data plane: what an earlier process left unfinished, and the writers that go on."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

from edge import config as configuration
from edge.pipeline.inlet import SETTLED, Recorded
from streams.recording.reader import last_checkpoint, place_of, read_capture, read_marks
from streams.recording.segments import Facts, Place, RecordingError, segments
from streams.recording.writer import CaptureWriter

log = logging.getLogger(__name__)

SYNC_S = 1.0
"""How often what was recorded is brought to the disk: what a power cut may cost. A killed process loses nothing."""


@contextmanager
def recordings(config: configuration.Config, recover: bool) -> Iterator[list[Recorded]]:
    """Open a capture for each source of `config`, in its order; with `recover`, behind what has to be done again.

    Raises:
        RecordingError: a folder cannot be written, or is another source's.
    """
    if not config.recording.folder:
        yield [Recorded() for _ in config.source]
        return
    quota = int(config.recording.quota_gib * 2**30 / len(config.source))
    with ExitStack() as stack:
        writers: list[CaptureWriter] = []
        recorded: list[Recorded] = []
        for source in config.source:
            folder = Path(config.recording.folder) / source.name
            start = last_checkpoint(folder) if recover else None
            writer = stack.enter_context(CaptureWriter(folder, _facts(source), quota))
            writers.append(writer)
            if recover:
                recorded.append(_unfinished(folder, start, writer, source.name))
            else:
                writer.mark({"open": []})  # what stands before is not to be recovered later
                recorded.append(Recorded(writer))
        stop = threading.Event()
        thread = threading.Thread(target=_sync, args=(writers, stop), name="capture-sync", daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        yield recorded


def _unfinished(folder: Path, start: Place | None, writer: CaptureWriter, source: str) -> Recorded:
    removed = min(segments(folder), default=0) - (start.segment if start is not None else 1)
    if removed > 0:
        log.warning(
            "source %s: %d segments of what was not finished are gone from %s, removed by the quota: images in them "
            "without a result get none. Set recording.quota_gib higher",
            *(source, removed, folder),
        )
    marks = read_marks(folder, start, writer.began)
    places = (place_of(mark.facts.get("at")) for mark in marks if SETTLED in mark.facts)
    if writer.began.segment > 1 and (start is None or start < writer.began):
        log.info("source %s: what was recorded and not finished is gone through again", source)
    return Recorded(
        recorder=writer,
        unfinished=read_capture(folder, start, writer.began),
        settled=frozenset(place for place in places if place is not None),
        follow=lambda since, stop: read_capture(folder, since, stop),
    )


def _facts(source: configuration.Source) -> Facts:
    return Facts(
        source=source.name,
        protocol=source.protocol,
        socket=source.socket,
        options=source.options,
        program=f"edge serve {version('detector-edge')}",
        host=socket.gethostname(),
    )


def _sync(writers: list[CaptureWriter], stop: threading.Event) -> None:
    failing: set[CaptureWriter] = set()
    while not stop.wait(SYNC_S):
        for writer in writers:
            try:
                writer.sync()
                failing.discard(writer)
            except RecordingError as error:
                if writer not in failing:
                    failing.add(writer)
                    log.error("capture not brought to the disk: %s; it is tried again each second", error)
