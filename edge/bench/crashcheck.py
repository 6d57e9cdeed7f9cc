"""Holds results against the capture: each recorded frame needs one in the files and one that was handed out."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from edge.models.identity import checksum
from edge.results.channel import Status
from edge.results.hdf import dataset_at, group_at
from edge.results.reader import open_result_file
from edge.results.survey import Survey
from streams.codecs import decoder
from streams.codecs.results import Notice, Result
from streams.messages import CodecError, Frame
from streams.recording.reader import read_capture, read_marks, survey
from streams.recording.segments import Message

Key: TypeAlias = tuple[str, int]
"""(series uid, image id)"""

Checksum: TypeAlias = tuple[int, ...]


@dataclass
class Delivered:
    """Results by image: how often, and what they said."""

    times: Counter[Key] = field(default_factory=Counter)
    said: dict[Key, Checksum] = field(default_factory=dict)

    def add(self, key: Key, said: Checksum) -> None:
        """One result."""
        self.times[key] += 1
        self.said[key] = said

    def take(self, notice: Notice, arrays: Mapping[str, NDArray[Any]]) -> None:
        """What a subscriber handed out."""
        if isinstance(notice, Result):
            self.add((notice.series_uid, notice.image_id), tuple(map(int, arrays["checksum"])))


@dataclass
class Judged:
    """The verdict. Every number but the first three should be 0."""

    series: int = 0
    frames: int = 0  # in the capture
    repeats: int = 0  # results that came again and that the subscriber kept back
    unaccounted_files: int = 0  # frames in the capture without a result in the files
    unaccounted_subscriber: int = 0
    duplicates_files: int = 0  # results beyond the first of a frame
    duplicates_subscriber: int = 0
    strange: int = 0  # results of frames that are not in the capture
    wrong: int = 0  # results that are not those of their frame
    damaged_bytes: int = 0  # of the capture, before whole records
    examples: list[str] = field(default_factory=list)

    @property
    def unaccounted(self) -> int:
        """Frames without a result, here or there."""
        return self.unaccounted_files + self.unaccounted_subscriber

    @property
    def duplicates(self) -> int:
        """Results too many, here or there."""
        return self.duplicates_files + self.duplicates_subscriber

    @property
    def failures(self) -> int:
        """All that may not be. Nothing recorded proves nothing."""
        losses = self.unaccounted + self.duplicates + self.strange + self.wrong
        return losses + (self.damaged_bytes > 0) + (self.frames == 0)


def judge(
    capture: Path, results: Path, delivered: Delivered, image: Callable[[int, int], NDArray[np.uint16]]
) -> Judged:
    """Compare; `image` tells the pixels of (series id, image id).

    Raises:
        RecordingError, ResultFileError: something cannot be read.
    """
    frames = frames_of(capture)
    kept = in_files(results)
    found = Judged(series=len({uid for uid, _ in frames}), frames=len(frames))
    if not frames:
        found.examples.append("no frame was recorded")
    found.damaged_bytes = survey(capture, verify=True).damaged_bytes
    for where, what in (("files", kept), ("subscriber", delivered)):
        absent = sorted(frames.keys() - what.times.keys())
        twice = sorted(key for key, times in what.times.items() if times > 1)
        strange = sorted(what.times.keys() - frames.keys())
        wrong = sorted(key for key, series_id in frames.items() if _differs(what.said.get(key), image, series_id, key))
        setattr(found, f"unaccounted_{where}", len(absent))
        setattr(found, f"duplicates_{where}", sum(what.times[key] - 1 for key in twice))
        found.strange += len(strange)
        found.wrong += len(wrong)
        for name, keys in {"none": absent, "twice": twice, "not recorded": strange, "wrong": wrong}.items():
            found.examples += [f"{where}: {name}: {len(keys)} results, such as image {keys[0]}"] if keys else []
    return found


def frames_of(capture: Path) -> dict[Key, int]:
    """The frames in a capture, and the number of their series."""
    frames: dict[Key, int] = {}
    reads = decoder("stream-v2", "det")
    for record in read_capture(capture):
        if isinstance(record, Message):
            try:
                said = reads.decode(record.parts, record.received_ns)
            except CodecError:
                continue
            frames |= {(one.series_uid, one.image_id): one.series_id for one in said if isinstance(one, Frame)}
    return frames


def unsettled(capture: Path) -> set[str]:
    """Unique ids of the series in a capture of which no mark says that they need nothing more."""
    settled = {mark.facts.get("settled") for mark in read_marks(capture)}
    return {uid for uid, _ in frames_of(capture)} - settled


def in_files(results: Path) -> Delivered:
    """All results in a folder: those of a log, or where it was removed those of the file that was built of it."""
    found = Delivered()
    logs = sorted(results.glob("*.log"))
    built = sorted(set(results.glob("*.h5")) - {log.with_suffix(".h5") for log in logs})
    for log in logs:
        held = Survey(log)
        for row in held.rows():
            found.add((held.series.series_uid, row.result.image_id), tuple(map(int, row.arrays["checksum"])))
    for path in built:
        with open_result_file(path) as file:
            for key, said in _rows(file):
                found.add(key, said)
    return found


def _rows(file: h5py.File) -> Iterator[tuple[Key, Checksum]]:
    entry = group_at(file, "entry")
    uid = str(dataset_at(entry, "entry_identifier").asstr()[()])
    process = group_at(entry, str(entry.attrs["default"]))
    for group in process.values():
        if isinstance(group, h5py.Group) and "status" in group:
            published = dataset_at(group, "status")[()] == Status.PUBLISHED
            ids, sums = dataset_at(group, "image_id")[()], dataset_at(group, "checksum")[()]
            for image_id, said in zip(ids[published], sums[published], strict=True):
                yield (uid, int(image_id)), tuple(map(int, said))


def _differs(said: Checksum | None, image: Callable[[int, int], NDArray[np.uint16]], series_id: int, key: Key) -> bool:
    return said is not None and said != tuple(map(int, checksum(image(series_id, key[1]))))
