"""Values that differ in their numbers only, such as the position that rides along with each image of a scan."""

import math
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from operator import itemgetter
from typing import Any

from streams.codecs import cbor

ANY_NUMBER = rb"(?:[\x00-\x17\x20-\x37]|[\x18\x38].|[\x19\x39\xf9]..|[\x1a\x3a\xfa].{4}|[\x1b\x3b\xfb].{8})"
"""Integers of either sign and floats, all well-formed whatever their bits (RFC 8949, 3)."""

_ARGUMENT = {1: 0x1F, 2: 0xFF, 3: 0xFFFF, 5: 0xFFFF_FFFF, 9: 0xFFFF_FFFF_FFFF_FFFF}
"""The bits of a head, by its length, that are the argument."""

_FLOATS = {0xF9: struct.Struct(">xe"), 0xFA: struct.Struct(">xf"), 0xFB: struct.Struct(">xd")}

Make = Callable[[Sequence[Any]], Any]
"""Makes a value of the numbers in it."""


class Unlearnable(Exception):
    """A value or a document has no form that would be of use."""


class Shape:
    """What such values have in common.

    Args:
        expression: what they look like; its groups are the numbers in order.
        like: one of them, as `cbor` reads it.

    Raises:
        Unlearnable: it cannot be made of its numbers again.
    """

    def __init__(self, expression: re.Pattern[bytes], like: Any) -> None:
        self._expression = expression
        self._make = _maker(like, count())

    def read(self, view: memoryview, at: int) -> tuple[Any, int] | None:
        """The value at byte `at`, in types that JSON has (`cbor.plain`), and where it ends; None: it is another one."""
        fit = self._expression.match(view, at)
        return None if fit is None else (self._make([_number(text) for text in fit.groups()]), fit.end())


def argument_of(head: bytes) -> int:
    """The argument of an item with this head."""
    return int.from_bytes(head, "big") & _ARGUMENT[len(head)]


def _number(text: bytes) -> Any:
    layout = _FLOATS.get(text[0])
    if layout is None:
        argument = argument_of(text)
        return argument if text[0] < 0x20 else cbor.plain(-1 - argument)
    number = layout.unpack(text)[0]
    return number if math.isfinite(number) else None


def _maker(like: Any, numbers: Iterator[int]) -> Make:
    if isinstance(like, str | bool | None):
        return lambda _: like
    if isinstance(like, int | float):
        return itemgetter(next(numbers))
    if isinstance(like, list):
        makers = [_maker(element, numbers) for element in like]
        return lambda found: [make(found) for make in makers]
    if isinstance(like, dict) and all(isinstance(key, str) for key in like):
        pairs = [(key, _maker(value, numbers)) for key, value in like.items()]
        return lambda found: {key: make(found) for key, make in pairs}
    raise Unlearnable
