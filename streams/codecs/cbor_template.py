"""The form that the documents of one stream share: learnt from one of them, held against the next ones.

The images of a series differ in a few numbers and in their pixels. What is the same in all of them - keys, texts, tags,
lengths of arrays and maps, the order of it all - becomes regular expressions over bytes; numbers may be any numbers.
A document that they fit is one that `streams.codecs.cbor` reads, and to the same outcome. One that they do not fit is
not judged here at all: it may have another form, be damaged, or be written in a rarer way.

No expression repeats but for a fixed length, so one takes time in proportion to its own length at most.
"""

import re
from enum import Enum, auto
from typing import Any, TypeAlias

from streams.codecs import cbor
from streams.codecs.cbor_shape import Shape, argument_of
from streams.messages import CodecError

MAX_KEPT_BYTES = 256
"""Longest free value that is kept, in case that it comes again."""


Found: TypeAlias = tuple[int, list[memoryview], Any]
"""What a document has of its own: the counter; the byte strings that are wanted, in order; the free value in types
that JSON has (`cbor.plain`), None where there is none."""


class Ending(Enum):
    """What stands behind an expression, and has a length of its own."""

    BLOB = auto()
    SKIPPED = auto()  # a byte string that nobody wants
    FREE = auto()
    NOTHING = auto()  # the document ends


_BLOB, _SKIPPED, _FREE = Ending.BLOB, Ending.SKIPPED, Ending.FREE
Step = tuple[re.Pattern[bytes], bool, Ending]
"""An expression, whether its first group is the counter, what follows. In front of byte strings the last is a head."""


class Template:
    """A form, as `streams.codecs.cbor_learning` makes it.

    Args:
        steps: in order.
        items: what is left of `cbor.MAX_ITEMS` for the free value.
        depth: levels that may be opened inside it.
        shape: of the free value where it was learnt; others may follow.
    """

    def __init__(self, steps: list[Step], items: int, depth: int, shape: Shape | None = None) -> None:
        self._steps = steps
        self._items = items
        self._depth = depth
        self._shape = shape
        self._kept: tuple[bytes, Any] = (b"", None)  # the free value that came last, as it was written and as it reads

    def find(self, view: memoryview) -> Found | None:
        """What the document in `view` (bytes) has of its own; None where it does not fit."""
        at, end, counter = 0, len(view), 0
        blobs: list[memoryview] = []
        free: Any = None
        for expression, counts, ending in self._steps:
            fit = expression.match(view, at)
            if fit is None:
                return None
            at = fit.end()
            if counts:
                counter = argument_of(fit[1])
            if ending is _BLOB or ending is _SKIPPED:
                start, at = at, at + argument_of(fit[fit.lastindex or 0])
                if at > end:
                    return None
                if ending is _BLOB:
                    blobs.append(view[start:at])
            elif ending is _FREE:
                try:
                    free, at = self._read_free(view, at)
                except CodecError:
                    return None
        return (counter, blobs, free) if at == end else None

    def _read_free(self, view: memoryview, at: int) -> tuple[Any, int]:
        written, value = self._kept
        stop = at + len(written)
        if written and view[at:stop] == written:  # no item begins with another one: it is the same, and ends there
            return value, stop
        if self._shape is not None and (shaped := self._shape.read(view, at)) is not None:
            return shaped
        found, stop = cbor.item_at(view, at, self._depth, self._items)
        value = cbor.plain(found)
        if stop - at <= MAX_KEPT_BYTES:
            self._kept = (bytes(view[at:stop]), value)
        return value, stop
