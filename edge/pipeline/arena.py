"""The shared memory of one source, carved into one lane per channel for the frames that are coming."""

from edge.pipeline.slots import Lane, Memory

ALIGNMENT = 64
"""Lanes start at a cache line."""

MAX_SLOTS = 8192
"""Slots of one lane at most: what is known of each slot is kept in ordinary memory, however small frames are."""


class FrameTooLarge(ValueError):
    """Not one slot of that size fits; the text names the setting."""


class Arena:
    """Lanes by channel, all of one pitch. A change of shape or of channels drains, then carves anew."""

    def __init__(self, region: Memory, source: str) -> None:
        self.region = region
        self.source = source
        self._lanes: dict[str, Lane] = {}

    @property
    def lanes(self) -> dict[str, Lane]:
        return self._lanes

    def fits(self, channel: str, nbytes: int) -> bool:
        """Whether the lanes as they are carved take an image of `nbytes` of `channel`."""
        lane = self._lanes.get(channel)
        return lane is not None and lane.pitch == nbytes

    @property
    def drained(self) -> bool:
        """Whether every slot is free, so that the region may be carved anew."""
        return all(lane.free == lane.count for lane in self._lanes.values())

    def carve(self, channels: tuple[str, ...], nbytes: int) -> None:
        """Make one lane for each of `channels` with slots of `nbytes`. Only when `drained`.

        Raises:
            FrameTooLarge: the region does not hold one image of each channel.
        """
        share = self.region.nbytes // len(channels) // ALIGNMENT * ALIGNMENT
        count = min(share // nbytes, MAX_SLOTS)
        if count < 1:
            needed = -(-nbytes * len(channels) // 2**20)
            raise FrameTooLarge(
                f"an image of {nbytes} bytes in {len(channels)} channels does not fit the memory of source "
                f"{self.source!r}; set memory_mib to {4 * needed} or more"
            )
        self._lanes = {channel: Lane(self.region, at * share, nbytes, count) for at, channel in enumerate(channels)}

    def usage(self) -> tuple[int, int]:
        """Slots that are free, and slots that are not."""
        free = sum(lane.free for lane in self._lanes.values())
        return free, sum(lane.count for lane in self._lanes.values()) - free
