"""Whether the images of a series are such as the model of a route was trained for: the label `untrained` of results.

What a header tells is judged once, when the series is opened. The counts in a frame are measured: in the first images
of a series, then in one every few seconds, so that it costs little. The first image is judged at once and the second by
itself too; after them it is the median of the last three that were measured, so that a single odd one (a beam that was
lost for a moment) labels no others. A change is thus seen with the next image in the first ones, and later after up to
`EVERY_NS` and two images. Pure: it is told the time.
"""

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any

from edge.models.card import Validity
from edge.models.validity import counts_outside, outside, told

FIRST_IMAGES = 5
"""Images of a series that are measured one after the other."""

OF = 3
"""The counts are the median of the last so many that were measured."""

EVERY_NS = 2_000_000_000
"""How often one is measured after them; where it is on the other side of the range, the next two images are too."""

MOST_REASONS = 16
"""Different ones that are kept of a series: numbers in them may change from result to result."""


class Range:
    """The range of one route's model, and one series.

    Attributes:
        reasons: why the images of now lie outside; empty: as far as is known, they do not.
        given: those that any result was labelled with.
    """

    def __init__(self, valid: Validity = Validity()) -> None:  # noqa: B008 (frozen)
        self.reasons: tuple[str, ...] = ()
        self.given: tuple[str, ...] = ()
        self._valid = valid
        self._of_header: dict[str, str] = {}
        self._counts: deque[float] = deque(maxlen=OF)
        self._at_once = FIRST_IMAGES  # images still to be measured
        self._due_ns = 0

    def opened(self, header: Mapping[str, Any], geometry: Mapping[str, Any]) -> None:
        """The header of the series, and the geometry of the route's images (`edge.conditioning.description`)."""
        self._of_header = outside(self._valid, told(header, geometry))
        self._judge()

    def due(self, now_ns: int) -> bool:
        """Whether the counts of the next image are asked for."""
        if self._valid.counts_per_frame is None:
            return False
        return self._at_once > 0 or now_ns >= self._due_ns

    def measured(self, counts: float, now_ns: int) -> None:
        """The counts of an image."""
        if self._at_once:
            self._at_once -= 1
        elif bool(counts_outside(self._valid, counts)) != bool(counts_outside(self._valid, self._typical())):
            self._at_once = OF - 1
        self._due_ns = now_ns + EVERY_NS
        self._counts.append(counts)
        self._judge()

    def label(self, reasons: tuple[str, ...]) -> None:
        """A result left with these; each is kept once."""
        new = tuple(reason for reason in reasons if reason not in self.given)
        self.given = (*self.given, *new)[:MOST_REASONS]

    def _judge(self) -> None:
        found = dict(self._of_header)
        if self._counts:
            found |= counts_outside(self._valid, self._typical())
        self.reasons = tuple(found.values())

    def _typical(self) -> float:
        """Of the counts measured so far; two have no middle."""
        return median(self._counts) if len(self._counts) == OF else self._counts[-1]
