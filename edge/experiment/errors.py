"""What can go wrong at the experiment's side, in words for whoever stands at the beamline."""

from collections.abc import Sequence

from streams.controller import Problem


class DetectorError(RuntimeError):
    """The detector, or a device of the simulated beamline, did not do what it was told; or its stream is not heard."""


class CommandRefused(DetectorError):
    """It answered, and its answer was no."""


class NotReady(DetectorError):
    """The detector was not armed, for its frames would not have been served.

    Attributes:
        problems: what stood in the way, each with its remedy.
    """

    def __init__(self, text: str, problems: Sequence[Problem]) -> None:
        super().__init__(text)
        self.problems = tuple(problems)


class PointIncomplete(RuntimeError):
    """The results of a scan point are not all there, or cannot be told from others.

    Attributes:
        series_id: the detector's series.
        lacking: image ids without a result.
    """

    def __init__(self, text: str, series_id: int, lacking: Sequence[int]) -> None:
        super().__init__(text)
        self.series_id = series_id
        self.lacking = tuple(lacking)


class PointFailed(RuntimeError):
    """A scan point could not be measured in the allowed number of attempts."""


class BeamLost(PointFailed):
    """There was no beam at a scan point, in all attempts."""


class AgentFailed(RuntimeError):
    """The agent gives no more suggestions, and no fallback position is left."""
