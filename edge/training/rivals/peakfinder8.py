"""peakfinder8 as an opponent: its settings, the grid that they are tuned on, and what it finds.

It runs in an environment of the user's own (`edge.training.rivals.calling`), made with
`python -m venv PF8 && PF8/bin/pip install ondamonitor "numpy<2"`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.physics.peak_judging import Found, Tally
from edge.training.rivals.calling import RivalError, call

MODULE = "om.algorithms.crystallography"
MISSING = (
    'not run: peakfinder8 is not there. `python -m venv PF8 && PF8/bin/pip install ondamonitor "numpy<2"`, '
    "then --rival-python PF8/bin/python"
)
CHILD = Path(__file__).with_name("peakfinder8_child.py")
TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Settings:
    """Parameters of peakfinder8, by its own names. The first three are tuned; others than these values of the last two
    changed F1 by less than 0.002."""

    minimum_snr: float = 5.0
    adc_threshold: float = 0.0
    min_pixel_count: int = 2
    local_bg_radius: int = 3
    max_pixel_count: int = 500


def grid() -> list[Settings]:
    """All settings that tuning tries."""
    tried = product((2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0), (0.0, 1.0, 3.0, 6.0), (1, 2, 3, 4, 5, 6))
    return [Settings(snr, adc, pixels) for snr, adc, pixels in tried]


def find(
    python: Path,
    frames: Sequence[tuple[NDArray[np.uint16], tuple[float, float]]],
    settings: Sequence[Settings],
    fast: bool = False,
    timed: bool = False,
) -> tuple[list[list[Found]], NDArray[np.float64]]:
    """What peakfinder8 finds, by setting and by frame, and the seconds [settings, frames] that it took; a frame is an
    image and its beam (row, column). A score is the signal to noise.

    `fast`: its mode that takes the radial statistics from a sample of the pixels. `timed`: each frame is searched
    before, too, so that the seconds hold no first touch of memory. Raises RivalError.
    """
    arrays = {"images": np.stack([image for image, _ in frames]), "beams": np.array([beam for _, beam in frames])}
    asked = {"settings": [asdict(one) for one in settings], "fast": fast, "timed": timed}
    answer = call(python, CHILD, arrays, asked, TIMEOUT_S)
    try:
        return unpacked(answer["count"], answer["place"], answer["score"]), answer["seconds"]
    except (KeyError, ValueError) as error:
        raise RivalError(f"{CHILD.name} under {python} answered something else: {error}") from error


def unpacked(count: NDArray[np.int64], place: NDArray[np.float64], score: NDArray[np.float64]) -> list[list[Found]]:
    """Sorts the peaks [peaks, 2] and scores [peaks], one after the other, into settings and frames as `count`
    [settings, frames] says. Raises ValueError where they do not add up."""
    if int(count.sum()) != len(place) or len(place) != len(score):
        raise ValueError(f"{int(count.sum())} peaks are announced, {len(place)} places and {len(score)} scores came")
    ends = np.cumsum(count.ravel())[:-1]
    flat = [Found(*each) for each in zip(np.split(place, ends), np.split(score, ends), strict=True)]
    return [flat[start : start + count.shape[1]] for start in range(0, count.size, count.shape[1])]


def best(tallies: Sequence[Sequence[Tally]]) -> int:
    """Index of the setting with the highest mean F1 over `tallies` [settings][groups], one a group of frames."""
    return int(np.argmax([np.mean([one.f1 for one in groups]) for groups in tallies]))
