"""Pixels into slots: decompressed once, conditioned, and copied once more for each selection of routes."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.flags import as_counts, flags_of
from edge.conditioning.plan import Conditioner
from edge.conditioning.selection import Selection, Selector
from edge.pipeline.preparing import Shot
from streams.codecs.compression import decompress_into
from streams.codecs.limits import image_bytes
from streams.messages import Frame

REMEMBERED = 32
"""Selections of one shape and type whose buffers are kept."""


class Filling:
    """Writes images into the slots of one source. Its buffers grow to the largest image and stay."""

    def __init__(self) -> None:
        self.copied = 0  # images that were copied once more, for a selection
        self._decoded = np.empty(0, np.uint8)
        self._whole = np.empty(0, np.uint8)
        self._selectors: OrderedDict[tuple[Selection, tuple[int, int], str], Selector] = OrderedDict()

    def fill(
        self, shot: Shot, whole: NDArray[np.uint8] | None, parts: Sequence[tuple[Selection, NDArray[np.uint8]]] = ()
    ) -> None:
        """Write one image.

        Args:
            shot: the image.
            whole: the slot for all of it, bytes [height * width * itemsize]; None: only `parts` are wanted.
            parts: selections, and the slot for each, which is exactly as large as what it takes.

        Raises:
            CodecError: a blob does not hold its image; the slots' contents are undefined then.
        """
        if whole is None:
            nbytes = image_bytes(shot.frame.shape, shot.frame.dtype)
            self._whole = _grown(self._whole, nbytes)
            whole = self._whole[:nbytes]
        if shot.conditioner is None:
            decompress_into(shot.parts[0] or shot.frame, whole)
        else:
            self._condition(shot, shot.conditioner, whole)
        for selection, slot in parts:
            self._select(shot.frame, whole, selection, slot)

    def _condition(self, shot: Shot, conditioner: Conditioner, whole: NDArray[np.uint8]) -> None:
        decoded = whole
        if conditioner.moves:
            nbytes = conditioner.modules * image_bytes(conditioner.module_shape, shot.frame.dtype)
            self._decoded = _grown(self._decoded, nbytes)
            decoded = self._decoded[:nbytes]
        _decode_parts(shot, decoded)
        flags = conditioner.flags
        conditioner.apply(as_counts(decoded, flags), as_counts(whole, flags).reshape(conditioner.shape))

    def _select(self, frame: Frame, whole: NDArray[np.uint8], selection: Selection, slot: NDArray[np.uint8]) -> None:
        key = (selection, frame.shape, frame.dtype)
        selector = self._selectors.get(key)
        if selector is None:
            selector = self._selectors[key] = Selector(selection, frame.shape, flags_of(frame.dtype))
            if len(self._selectors) > REMEMBERED:
                self._selectors.popitem(last=False)
        image = as_counts(whole, selector.flags).reshape(frame.shape)
        selector.copy(image, as_counts(slot, selector.flags).reshape(selector.shape))
        self.copied += 1


def _decode_parts(shot: Shot, decoded: NDArray[np.uint8]) -> None:
    """All modules one after the other; one that did not come is all flags: its bits are all set, which is a gap."""
    for module, part in zip(decoded.reshape(len(shot.parts), -1), shot.parts, strict=True):
        if part is None:
            module[...] = 0xFF
        else:
            decompress_into(part, module)


def _grown(buffer: NDArray[np.uint8], nbytes: int) -> NDArray[np.uint8]:
    return buffer if buffer.size >= nbytes else np.empty(nbytes, np.uint8)
