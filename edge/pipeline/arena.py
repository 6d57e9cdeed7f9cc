"""The shared memory of one source, carved into lanes for the images that are coming: one a channel and selection."""

from collections.abc import Mapping
from typing import TypeAlias

from edge.conditioning.selection import Selection
from edge.pipeline.slots import Lane, Memory

ALIGNMENT = 64
"""Lanes start at a cache line."""

MAX_SLOTS = 8192
"""Slots of one lane at most: what is known of each slot is kept in ordinary memory, however small frames are."""

LaneKey: TypeAlias = tuple[str, Selection]
"""The channel, and what of its images lies in the lane's slots."""


class FrameTooLarge(ValueError):
    """Not one slot of that size fits; the text names the setting."""


class Arena:
    """Lanes with pitches of their own, but all of as many slots. A change drains, then carves anew."""

    def __init__(self, region: Memory, source: str) -> None:
        self.region = region
        self.source = source
        self._lanes: dict[LaneKey, Lane] = {}

    @property
    def lanes(self) -> Mapping[LaneKey, Lane]:
        return self._lanes

    def fits(self, pitches: Mapping[LaneKey, int]) -> bool:
        """Whether there is a lane for each of `pitches`, with slots of exactly so many bytes."""
        lanes = self._lanes
        return all((lane := lanes.get(key)) is not None and lane.pitch == nbytes for key, nbytes in pitches.items())

    @property
    def drained(self) -> bool:
        """Whether every slot is free, so that the region may be carved anew."""
        return all(lane.free == lane.count for lane in self._lanes.values())

    def carve(self, pitches: Mapping[LaneKey, int]) -> None:
        """Make one lane for each of `pitches`, with slots of so many bytes. Only when `drained`.

        Raises:
            FrameTooLarge: the region does not hold one slot of each; the lanes are left as they were.
        """
        together = sum(pitches.values())
        count = min(self.region.nbytes // together, MAX_SLOTS)
        while count and self._end(pitches, count) > self.region.nbytes:
            count -= 1
        if not count:
            raise FrameTooLarge(
                f"an image takes {together} bytes in its {len(pitches)} lanes (channels, selections of routes), more "
                f"than the memory of source {self.source!r}; set memory_mib to {4 * -(-together // 2**20)} or more"
            )
        offset, lanes = 0, {}
        for key, pitch in pitches.items():
            lanes[key] = Lane(self.region, offset, pitch, count)
            offset += _aligned(pitch * count)
        self._lanes = lanes

    def usage(self) -> tuple[int, int]:
        """Slots that are free, and slots that are not."""
        free = sum(lane.free for lane in self._lanes.values())
        return free, sum(lane.count for lane in self._lanes.values()) - free

    @staticmethod
    def _end(pitches: Mapping[LaneKey, int], count: int) -> int:
        """The byte behind the last lane."""
        *before, last = pitches.values()
        return sum(_aligned(pitch * count) for pitch in before) + last * count


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
