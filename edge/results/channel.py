"""The results of one channel of a series, each in its place by absolute image id. Pure."""

from dataclasses import dataclass, field
from enum import IntEnum

from streams.codecs.results import ArraySpec, Result

MAX_ROWS = 1 << 24
"""Images of one channel: 4.6 hours at 1 kHz. One further from the first stays in the log: ids come from the wire,
memory is ours."""

MAX_CHANNELS = 8
"""Each may cost `MAX_ROWS` bytes while a file is built."""

MAX_NAMED = 64
"""Scan axes, and values, of one channel."""

MAX_LENGTH = 1 << 30
"""The longest axis of an output."""


class Status(IntEnum):
    """What became of one image on the route, as the file says it."""

    MISSING = 0  # no result was published, or it did not get into the log
    PUBLISHED = 1
    MISFIT = 2  # published, but of another model, shape or dtype than the rest: it is in the log only


@dataclass
class Channel:
    """The results of one channel so far."""

    name: str
    specs: tuple[ArraySpec, ...]
    model: tuple[str, str, str]  # name, version, SHA-256 of the weights
    origin: int = 0  # the image id of the first status
    status: bytearray = field(default_factory=bytearray)  # Status by image id, up to the largest
    axes: dict[str, None] = field(default_factory=dict)  # of positions, in order of appearance
    values: dict[str, None] = field(default_factory=dict)
    stored: int = 0

    def mark(self, image_id: int, status: Status) -> None:
        """Enter what is known of an image."""
        row = image_id - self.origin
        self.status.extend(bytes(max(0, row + 1 - len(self.status))))
        self.status[row] = status

    def known(self, image_id: int) -> Status:
        """What was entered of an image."""
        row = image_id - self.origin
        return Status(self.status[row]) if row < len(self.status) else Status.MISSING

    def rows(self, first_image: int) -> bytearray:
        """Status by row of the file, whose row 0 is image `first_image`."""
        return self.status[first_image - self.origin :]

    def name_all(self, result: Result) -> None:
        """Remember what scalars come with the arrays."""
        for known, news in ((self.axes, result.position or {}), (self.values, result.values)):
            for name in news:
                if len(known) < MAX_NAMED:
                    known.setdefault(name)


def model_of(result: Result) -> tuple[str, str, str]:
    return (result.model, result.model_version, result.model_sha256)


def storable(specs: tuple[ArraySpec, ...]) -> bool:
    return len({spec.name for spec in specs}) == len(specs) and all(
        max(spec.shape, default=0) <= MAX_LENGTH for spec in specs
    )
