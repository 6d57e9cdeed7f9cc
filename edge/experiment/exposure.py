"""What a triggered detector is asked to do, and what comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edge.experiment.inbox import Received


@dataclass(frozen=True)
class Exposure:
    """What one trigger does, and how often it may be given.

    Attributes:
        frames: images a trigger, all of one scan point.
        frame_time_s: from the start of one image to that of the next, seconds.
        triggers: for how many the detector is armed; a new series is armed where a run needs more.
    """

    frames: int = 1
    frame_time_s: float = 0.1
    triggers: int = 10_000

    def __post_init__(self) -> None:
        if self.frames < 1 or self.triggers < 1 or not self.frame_time_s > 0:
            raise ValueError(f"an exposure has one frame and one trigger at least, and a frame time above 0: {self}")

    @property
    def duration_s(self) -> float:
        return self.frames * self.frame_time_s


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds.

    Attributes:
        prepare_s: for `initialize` and `arm`, which take seconds on a large detector, and for an unstaging to end.
        ready_s: before an arm, until the data plane is ready; a new start of Triton takes seconds.
        margin_s: for the answer to a trigger, beyond the exposure itself.
        announce_s: after an arm, until the data plane has seen the new series.
        results_s: after an exposure, until its results are in.
        end_s: after the disarm, until the data plane has closed the series.
    """

    prepare_s: float = 60.0
    ready_s: float = 20.0
    margin_s: float = 5.0
    announce_s: float = 10.0
    results_s: float = 10.0
    end_s: float = 10.0


class Commands(Protocol):
    """What of a SIMPLON detector is used; all of it raises DetectorError."""

    @property
    def url(self) -> str: ...
    def state(self) -> str: ...
    def get(self, name: str, module: str = "detector", kind: str = "config") -> object: ...
    def put(self, name: str, value: object, module: str = "detector") -> None: ...
    def arm(self, timeout_s: float | None = None) -> int: ...
    def command(self, name: str, timeout_s: float | None = None) -> None: ...


@dataclass(frozen=True)
class Taken:
    """The results of one scan point, in the order of their image ids."""

    series_id: int
    first_image: int
    results: Sequence[Received]
    latency_s: float  # from the end of the exposure until the last result was in; 0 where all came before
