"""Results that an earlier process logged, by image: after a crash they are read again instead of inferred again.

How long a recovery takes is then a matter of reading, however long the series had been going on.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from edge.results import log
from edge.results.errors import ResultFileError
from streams.codecs.results import Result, decode
from streams.messages import CodecError, Part

logger = logging.getLogger(__name__)

MAX_BYTES = 2 << 30
MAX_S = 20.0
"""Of logs that are looked through at a start, and for how long, the newest first; images in others are inferred again:
a supervisor waits for a start, but not for ever."""


class Key(NamedTuple):
    """Whose result: the images of one channel of a series through the same weights on a route."""

    source: str
    series_uid: str
    route: str
    model_sha256: str
    channel: str


class _Places(NamedTuple):
    """Where the results of one key are: byte `at` of `file` for each of `ids`, which are in ascending order."""

    file: BinaryIO
    ids: NDArray[np.int64]
    at: NDArray[np.int64]


class Recall:
    """Finds results in logs; for one thread.

    Args:
        paths: logs. One that cannot be read is passed over: its images are inferred again.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._places: dict[Key, list[_Places]] = {}
        self._files: list[BinaryIO] = []
        left, until = MAX_BYTES, time.monotonic() + MAX_S
        for path in sorted(paths, reverse=True):
            try:
                left -= path.stat().st_size
                if left < 0 or time.monotonic() > until:
                    logger.warning("%s and older logs are not read again: there is too much in them", path.name)
                    break
                file = path.open("rb")
                self._files.append(file)
                self._enter(file, until)
            except (OSError, ResultFileError) as error:
                logger.warning("results in %s are not read again: %s", path.name, error)

    def find(self, key: Key, image_id: int) -> tuple[Result, dict[str, np.ndarray]] | None:
        """The result of an image with its arrays; None where there is none."""
        for places in self._places.get(key, ()):
            found = int(np.searchsorted(places.ids, image_id))
            if found < len(places.ids) and places.ids[found] == image_id:
                return _result(places.file, int(places.at[found]), key, image_id)
        return None

    def forget(self, source: str, series_uid: str, route: str) -> None:
        """Nothing more is asked of this series."""
        for key in [key for key in self._places if key[:3] == (source, series_uid, route)]:
            del self._places[key]

    def close(self) -> None:
        """Let go of the logs."""
        self._places.clear()
        for file in self._files:
            file.close()
        self._files.clear()

    def _enter(self, file: BinaryIO, until: float) -> None:
        found: dict[Key, dict[int, int]] = {}
        for record in log.read(file):
            if time.monotonic() > until:
                break
            if isinstance(record, log.Damage) or len(record.parts) <= 2:  # of the series itself
                continue
            told = _told(record.parts)
            if told is not None:
                found.setdefault(told[0], {}).setdefault(told[1], record.start)
        for key, by_id in found.items():
            ids = np.fromiter(by_id.keys(), np.int64, len(by_id))
            at = np.fromiter(by_id.values(), np.int64, len(by_id))
            order = np.argsort(ids)
            self._places.setdefault(key, []).append(_Places(file, ids[order], at[order]))


def _told(parts: list[memoryview]) -> tuple[Key, int] | None:
    """Whose result a record is, and of which image. The rest of it is read when it is asked for."""
    try:
        header = msgpack.unpackb(parts[1], raw=False)
        key = Key(*(header[name] for name in Key._fields))
        image_id = header["image_id"]
    except (ValueError, KeyError, TypeError, msgpack.UnpackException, RecursionError):
        return None
    known = isinstance(header, Mapping) and header.get("type") == "result"
    return (key, image_id) if known and isinstance(image_id, int) and 0 <= image_id < 1 << 63 else None


def _result(file: BinaryIO, at: int, key: Key, image_id: int) -> tuple[Result, dict[str, np.ndarray]] | None:
    """Read it again and look again: the disk may have changed it, the log have been cut."""
    try:
        record = log.FORMAT.record_at(file, at, 1 << 62)
        parts: list[Part] = list(record.parts) if record is not None else []
        notice, arrays = decode(parts)
    except (OSError, CodecError):
        return None
    if not isinstance(notice, Result) or notice.image_id != image_id:
        return None
    return (notice, arrays) if Key(*(getattr(notice, name) for name in Key._fields)) == key else None
