"""Slots and lanes: where decompressed images live, and who still needs them.

A lane is a ring of equal slots in one stretch of shared memory, pitch exactly one frame, so that images
that arrived one after the other are one contiguous batch. A slot goes round

    FREE -> FILLING -> READY -> IN_FLIGHT -> FREE

It is counted over the routes that share it: `holders` still want its image, `readers` are requests that the
server may be reading it for. A slot that nobody wants but that may still be read is QUARANTINED; it is free
when that request is settled.
"""

from enum import StrEnum
from typing import Protocol

import numpy as np


class Memory(Protocol):
    """Bytes with a name by which the inference server knows them."""

    @property
    def name(self) -> str: ...

    @property
    def nbytes(self) -> int: ...

    @property
    def view(self) -> np.ndarray:
        """uint8 [nbytes]."""
        ...


class SlotState(StrEnum):
    FREE = "free"
    FILLING = "filling"
    READY = "ready"
    IN_FLIGHT = "in_flight"
    QUARANTINED = "quarantined"


class Lane:
    """Equal slots in a row.

    Args:
        region: the shared memory that the lane is part of.
        offset: first byte of the lane in the region.
        pitch: bytes of one slot.
        count: slots.
    """

    def __init__(self, region: Memory, offset: int, pitch: int, count: int) -> None:
        self.region = region.name
        self.offset = offset
        self.pitch = pitch
        self.count = count
        self._memory = region.view
        self._holders = [0] * count
        self._readers = [0] * count
        self._filling = [False] * count
        self._free = count
        self._next = 0

    @property
    def free(self) -> int:
        """Slots that can be acquired."""
        return self._free

    def acquire(self) -> int | None:
        """The next free slot, which becomes FILLING; None where there is none.

        Slots are handed out in ring order. One that is not free yet is passed over, which ends a batch there. Where all
        are free the first one is next: memory that was written a moment ago is still in the processor's cache.
        """
        if not self._free:
            return None
        slot = self._next if self._free < self.count else 0
        while not self._is_free(slot):
            slot = (slot + 1) % self.count
        self._next = (slot + 1) % self.count
        self._filling[slot] = True
        self._free -= 1
        return slot

    def buffer(self, slot: int) -> np.ndarray:
        """The bytes of `slot`: uint8 [pitch], writable."""
        start = self.offset_of(slot)
        return self._memory[start : start + self.pitch]

    def run(self, slot: int, length: int) -> np.ndarray:
        """The bytes of `length` neighbouring slots: uint8 [length * pitch]."""
        start = self.offset_of(slot)
        return self._memory[start : start + length * self.pitch]

    def offset_of(self, slot: int) -> int:
        """First byte of `slot` in the region."""
        return self.offset + slot * self.pitch

    def fill(self, slot: int, holders: int) -> None:
        """FILLING is over: `holders` routes want the image; with 0 (it could not be read) the slot is free."""
        self._filling[slot] = False
        self._holders[slot] = holders
        self._freed(slot)

    def hold(self, slot: int) -> None:
        """One more route wants the image, which another one still holds."""
        self._holders[slot] += 1

    def send(self, slot: int) -> None:
        """A request that reads `slot` is on its way."""
        self._readers[slot] += 1

    def settle(self, slot: int) -> None:
        """That request can no longer read it."""
        self._readers[slot] -= 1
        self._freed(slot)

    def release(self, slot: int) -> None:
        """One route is done with the image."""
        self._holders[slot] -= 1
        self._freed(slot)

    def state(self, slot: int) -> SlotState:
        """Where `slot` is on its round."""
        if self._filling[slot]:
            return SlotState.FILLING
        if self._holders[slot]:
            return SlotState.IN_FLIGHT if self._readers[slot] else SlotState.READY
        return SlotState.QUARANTINED if self._readers[slot] else SlotState.FREE

    def _is_free(self, slot: int) -> bool:
        return not (self._filling[slot] or self._holders[slot] or self._readers[slot])

    def _freed(self, slot: int) -> None:
        if self._is_free(slot):
            self._free += 1
