"""A bounded MessagePack reader that copies no pixels (msgpack/msgpack, spec.md).

The general parsers copy every byte string; this one returns them as views into the message. It is also the guard:
depth and number of items are limited, and a declared length is believed only as far as the message reaches. Keys may
be texts or byte strings (as msgpack-numpy writes them), and come out as texts. Nothing is ever interpreted: extension
types are refused, and what somebody pickled stays bytes.
"""

import struct
from typing import Any

from streams.messages import CodecError, Part

MAX_DEPTH = 16
MAX_ITEMS = 65_536
MAX_TEXT_BYTES = 1024 * 1024

_NUMBERS = {
    0xCA: struct.Struct(">f"), 0xCB: struct.Struct(">d"),
    0xCC: struct.Struct(">B"), 0xCD: struct.Struct(">H"), 0xCE: struct.Struct(">I"), 0xCF: struct.Struct(">Q"),
    0xD0: struct.Struct(">b"), 0xD1: struct.Struct(">h"), 0xD2: struct.Struct(">i"), 0xD3: struct.Struct(">q"),
}  # fmt: skip
_U8, _U16, _U32 = struct.Struct(">B"), struct.Struct(">H"), struct.Struct(">I")
_BYTES = {0xC4: _U8, 0xC5: _U16, 0xC6: _U32}
_TEXTS = {0xD9: _U8, 0xDA: _U16, 0xDB: _U32}
_ARRAYS = {0xDC: _U16, 0xDD: _U32}
_MAPS = {0xDE: _U16, 0xDF: _U32}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def loads(part: Part) -> Any:
    """Read one document; byte strings are views into `part`.

    Raises:
        CodecError: not well-formed, beyond the limits, or bytes are left over.
    """
    reader = _Reader(memoryview(part).cast("B"))
    try:
        value = reader.item(MAX_DEPTH)
    except (IndexError, struct.error):
        raise CodecError("truncated", f"MessagePack ends after {reader.end} bytes inside an item") from None
    except UnicodeDecodeError as error:
        raise CodecError("malformed", f"MessagePack text is no UTF-8: {error.reason}") from None
    if reader.at != reader.end:
        raise CodecError("malformed", f"{reader.end - reader.at} bytes follow the MessagePack document")
    return value


class _Reader:
    """A cursor over one document. Reading past the end raises IndexError or struct.error."""

    __slots__ = ("at", "end", "items", "view")

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.end = len(view)
        self.at = 0
        self.items = MAX_ITEMS

    def item(self, depth: int) -> Any:
        """The next item; `depth` levels may be opened inside it."""
        first = self.view[self.at]
        self.at += 1
        if first < 0x80:
            return first
        if first >= 0xE0:
            return first - 0x100
        if first < 0x90:
            return self._map(first & 0x0F, depth)
        if first < 0xA0:
            return self._array(first & 0x0F, depth)
        if first < 0xC0:
            return self._text(first & 0x1F)
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first in _NUMBERS:
            return self._number(_NUMBERS[first])
        if first in _BYTES:
            return self._take(self._number(_BYTES[first]))
        if first in _TEXTS:
            return self._text(self._number(_TEXTS[first]))
        if first in _ARRAYS:
            return self._array(self._number(_ARRAYS[first]), depth)
        if first in _MAPS:
            return self._map(self._number(_MAPS[first]), depth)
        raise CodecError("unsupported", f"MessagePack type {first:#04x}")  # extensions, and the one never used

    def _number(self, layout: struct.Struct) -> Any:
        value = layout.unpack_from(self.view, self.at)[0]
        self.at += layout.size
        return value

    def _take(self, count: int) -> memoryview:
        start = self.at
        if count > self.end - start:
            raise IndexError
        self.at = start + count
        return self.view[start : self.at]

    def _text(self, count: int) -> str:
        if count > MAX_TEXT_BYTES:
            raise CodecError("too_large", f"MessagePack text of {count} bytes")
        return str(self._take(count), "utf-8")

    def _array(self, count: int, depth: int) -> list[Any]:
        self._announce(count, depth)
        return [self.item(depth - 1) for _ in range(count)]

    def _map(self, count: int, depth: int) -> dict[str, Any]:
        self._announce(2 * count, depth)
        values: dict[str, Any] = {}
        for _ in range(count):
            key = self.item(0)
            if isinstance(key, memoryview) and len(key) <= MAX_TEXT_BYTES:
                key = str(key, "utf-8")
            if not isinstance(key, str):
                raise CodecError("unsupported", f"a MessagePack map key of type {type(key).__name__}")
            values[key] = self.item(depth - 1)
        return values

    def _announce(self, count: int, depth: int) -> None:
        """Items are about to be read: refuse what the message cannot hold, or is too much of it."""
        if depth <= 0:
            raise CodecError("too_large", f"MessagePack of more than {MAX_DEPTH} levels")
        if count > self.end - self.at:  # each takes a byte at least
            raise CodecError("truncated", f"MessagePack announces {count} items, {self.end - self.at} bytes are left")
        self.items -= count
        if self.items < 0:
            raise CodecError("too_large", f"MessagePack of more than {MAX_ITEMS} items")
