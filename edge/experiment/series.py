"""What the device keeps of each series of a run."""

from dataclasses import dataclass, field
from typing import Any

from streams.codecs.results import SeriesEnded


@dataclass(frozen=True)
class SeriesRecord:
    """The account of one series, as `edge serve` gave it at its end.

    `verdict` is "complete" where each triggered image was received and its result published, else "incomplete";
    "unknown" where the end never came. Scan points do not depend on it: each was checked by its own image ids.
    """

    series_id: int
    series_uid: str
    images: int  # triggered
    doubt: str  # why it was closed before the run's end, and why its points may be wrong; "" where neither
    verdict: str
    problems: str = ""  # what went wrong at closing
    arrivals: dict[str, int | None] = field(default_factory=dict)
    account: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)  # frame received to result published: p50, p99, max


@dataclass
class OpenSeries:
    """The series that is armed, and how many of its images were triggered."""

    id: int
    uid: str = ""
    images: int = 0
    triggers: int = 0
    stopped: bool = False  # the detector was told to abort it, from another thread
    doubts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def record(self, ended: SeriesEnded | None) -> SeriesRecord:
        """What remains of it; `ended` is None where its end never came."""
        problems, doubts = list(self.problems), list(self.doubts)
        if ended is None:
            problems.append("its end was not announced")
            return SeriesRecord(self.id, self.uid, self.images, "; ".join(doubts), "unknown", "; ".join(problems))
        if ended.arrivals.get("unexpected"):  # they came after their number had been told
            doubts.append(too_many(self.images))
        return SeriesRecord(
            self.id,
            self.uid,
            self.images,
            "; ".join(doubts),
            ended.verdict,
            "; ".join(problems),
            ended.arrivals,
            ended.account,
            dict(ended.missing),
            ended.latency_ms,
        )


def too_many(images: int) -> str:
    """A doubt about a series that has more images than were triggered."""
    return f"more images than the {images} triggered came: points of this series may hold images of others"


def series_of(detector: object) -> tuple[SeriesRecord, ...]:
    """The accounts that a detector keeps; none where it is of another kind."""
    series = getattr(detector, "series", ())
    return tuple(one for one in series if isinstance(one, SeriesRecord)) if isinstance(series, tuple) else ()
