"""The shared memory of one source, carved into one lane per channel for the frames that are coming."""

from edge.pipeline.slots import Lane, Memory, SlotState

ALIGNMENT = 64
"""Lanes start at a cache line."""


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
        count = share // nbytes
        if count < 1:
            needed = -(-nbytes * len(channels) // 2**20)
            raise FrameTooLarge(
                f"an image of {nbytes} bytes in {len(channels)} channels does not fit the memory of source "
                f"{self.source!r}; set memory_mib to {4 * needed} or more"
            )
        self._lanes = {channel: Lane(self.region, at * share, nbytes, count) for at, channel in enumerate(channels)}

    def states(self) -> dict[SlotState, int]:
        """How many slots are in which state."""
        tally = dict.fromkeys(SlotState, 0)
        for lane in self._lanes.values():
            for slot in range(lane.count):
                tally[lane.state(slot)] += 1
        return tally
