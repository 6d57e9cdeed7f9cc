"""What became of a series on a route: each image needs one result in the files and one handed out, or a reason.

The reason stands in the account of the series' file: images that never arrived are `missing`, others `failed`,
`dropped` or `unpublished`, each with why; results that were handed out and are not in the files are
`unlogged` where no file claims to be complete. What is neither here nor there is unaccounted.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py

from edge.bench.chaos.frames import Shown
from edge.results.channel import Status
from edge.results.hdf import dataset_at, group_at
from edge.results.reader import open_result_file, summarise_file
from edge.results.summary import summarise_log
from edge.results.survey import Survey


@dataclass
class Kept:
    """What the files of a series on a route hold."""

    times: Counter[int] = field(default_factory=Counter)  # results, by image id
    wrong: int = 0  # checksums that are not those of their image
    verdict: str = ""
    expected: int | None = None  # images
    reasons: Counter[str] = field(default_factory=Counter)  # why images have no result, as the account says
    files: int = 0


@dataclass
class Judged:
    """The verdict on one series and route, or on many."""

    frames: int = 0  # that were sent
    results: int = 0  # of them: with one result in the files and one handed out
    unaccounted: int = 0
    duplicates: int = 0
    wrong: int = 0
    lost: Counter[str] = field(default_factory=Counter)  # by reason
    undelivered: int = 0  # in the files, not handed out
    examples: list[str] = field(default_factory=list)

    def add(self, other: "Judged") -> None:
        """Take it in."""
        for name in ("frames", "results", "unaccounted", "duplicates", "wrong", "undelivered"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.lost += other.lost
        self.examples += other.examples

    @property
    def failures(self) -> int:
        """All that may not be."""
        return self.unaccounted + self.duplicates + self.wrong


def judge(name: str, sent: int, kept: Kept, delivered: Mapping[int, int], wrong: int = 0) -> Judged:
    """Images 0 to `sent` - 1 were sent; `delivered` is how often a result of each was handed out.

    Args:
        name: of the series, for what is said about it.
        wrong: results that were handed out and are not those of their image.
    """
    images = range(sent)
    found = Judged(frames=sent, wrong=wrong + kept.wrong)
    found.results = sum(image in kept.times and image in delivered for image in images)
    found.undelivered = sum(image in kept.times and image not in delivered for image in images)
    found.duplicates = sum(max(0, times - 1) for what in (kept.times, delivered) for times in what.values())
    strange = (kept.times.keys() | delivered.keys()) - set(images)
    unlogged = sum(image not in kept.times and image in delivered for image in images)
    nowhere = sum(image not in kept.times and image not in delivered for image in images)
    if unlogged and kept.verdict != "complete":
        found.lost["unlogged"] = unlogged
        unlogged = 0
    reasons = Counter(kept.reasons)
    if kept.expected is not None:  # what was announced and never sent is missing, too
        reasons["missing"] -= max(0, kept.expected - sent)
    for reason, count in (+reasons).items():
        told = min(count, nowhere)
        nowhere -= told
        found.lost[reason] += told
    found.lost = +found.lost
    found.unaccounted = nowhere + unlogged + len(strange)
    if found.failures:
        found.examples.append(
            f"{name}: {found.unaccounted} unaccounted ({nowhere} nowhere, {unlogged} handed out and not in a file, "
            f"{len(strange)} never sent), {found.duplicates} twice, {found.wrong} wrong; {kept.files} files, "
            f"verdict {kept.verdict!r}, expected {kept.expected}, {dict(kept.reasons)}"
        )
    return found


def read_kept(paths: Sequence[Path], shown: Shown) -> Kept:
    """What the result files, or where there is none the logs, of a series on a route hold.

    Raises:
        ResultFileError: one cannot be read.
    """
    kept = Kept(files=len(paths))
    for path in paths:
        is_log = path.suffix == ".log"
        summary = summarise_log(path) if is_log else summarise_file(path, statistics=False)
        _account(kept, summary.verdict, summary.arrivals, summary.account)
        for image, said in _logged(path) if is_log else _rows(path):
            _enter(kept, image, said, shown)
    return kept


def _account(kept: Kept, verdict: str, arrivals: Mapping[str, Any], account: Mapping[str, Any]) -> None:
    kept.verdict = "incomplete" if "incomplete" in (verdict, kept.verdict) else verdict
    kept.expected = arrivals.get("images")
    reasons = {name: arrivals.get(name) or 0 for name in ("missing", "late", "refused")}
    for kind in ("failed", "dropped", "unpublished"):
        reasons |= {f"{kind}: {why}": count for why, count in (account.get(kind) or {}).items()}
    kept.reasons = Counter(reasons) | kept.reasons


def _enter(kept: Kept, image: int, said: Any, shown: Shown) -> None:
    kept.times[image] += 1
    if said is not None:
        kept.wrong += tuple(map(int, said)) != shown.checksum(image)


def _logged(path: Path) -> Iterator[tuple[int, Any]]:
    return ((row.result.image_id, row.arrays.get("checksum")) for row in Survey(path).rows())


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    with open_result_file(path) as file:
        process = _default(group_at(file, "entry"))
        for group in process.values():
            if isinstance(group, h5py.Group) and "status" in group:
                published = dataset_at(group, "status")[()] == Status.PUBLISHED
                ids = dataset_at(group, "image_id")[()][published]
                sums: Any = dataset_at(group, "checksum")[()][published] if "checksum" in group else [None] * len(ids)
                yield from zip(map(int, ids), sums, strict=True)


def _default(group: h5py.Group) -> h5py.Group:
    return group_at(group, str(group.attrs["default"]))
