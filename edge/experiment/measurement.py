"""From the results of a scan point's frames to the numbers of its event (pure)."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.models.peaks import bragg_intensity

Arrays = Mapping[str, NDArray[Any]]


class Measurement(Protocol):
    """How a detector reduces a scan point. The first key described is the value; `<value>_variance` is its variance."""

    @property
    def route(self) -> str:
        """The route whose results it takes."""
        ...

    def describe(self) -> dict[str, dict[str, Any]]:
        """By key: event-model's `dtype`, `shape`, and `units`."""
        ...

    def reduce(self, arrays: Sequence[Arrays]) -> dict[str, float]:
        """A value for each key, from the results of the point's frames in the order of their ids."""
        ...


class BraggIntensity:
    """Summed intensity of the Bragg peaks that the route finds.

    The frames of a point are repeats of one exposure: their intensities add, and so do their variances.
    """

    def __init__(self, route: str = "peaks") -> None:
        self._route = route

    @property
    def route(self) -> str:
        return self._route

    def describe(self) -> dict[str, dict[str, Any]]:
        number = {"dtype": "number", "shape": []}
        return {
            "intensity": {**number, "units": "counts"},
            "intensity_variance": {**number, "units": "counts^2"},
            "peaks": {**number, "units": "1"},
        }

    def reduce(self, arrays: Sequence[Arrays]) -> dict[str, float]:
        intensities, variances = zip(*map(bragg_intensity, arrays), strict=True)
        return {
            "intensity": float(sum(intensities)),
            "intensity_variance": float(sum(variances)),
            "peaks": float(np.mean([int(one["count"][0]) for one in arrays])),
        }
