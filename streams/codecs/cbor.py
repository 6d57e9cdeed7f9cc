"""A bounded CBOR reader that copies no pixels (RFC 8949).

General parsers copy every byte string: 5 to 11 ms for one image of 2048 x 2048 pixels, more than all other work
on it. This one returns byte strings as views into the message. It is also the guard: depth, number of items
and length of texts are limited, and a declared length is believed only as far as the message reaches.

Tags come back as `Tag`; nothing is interpreted. Byte strings of indefinite length are refused, because they
could only be delivered by copying; arrays, maps and texts of indefinite length are read.
"""

import base64
import math
import struct
from typing import Any

import msgspec

from streams.messages import CodecError, Part

MAX_DEPTH = 32
MAX_ITEMS = 65_536
MAX_TEXT_BYTES = 1024 * 1024

TAG_DATE = 0  # RFC 8949, 3.4.1
TAG_BIGNUM, TAG_NEGATIVE_BIGNUM = 2, 3  # 3.4.3
TAG_SELF_DESCRIBED = 55799  # 3.4.6
TAG_ROW_MAJOR, TAG_COLUMN_MAJOR = 40, 1040  # RFC 8746, 3.1
TAGS_TYPED_ARRAY = range(64, 88)  # RFC 8746, 2.1
TAG_COMPRESSED = 56500  # DECTRIS: [algorithm, element size, compressed bytes], stands for a byte string

MAX_BIGNUM_BYTES = 128

_ARGUMENTS = tuple(struct.Struct(code) for code in (">B", ">H", ">I", ">Q"))
_FLOATS = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
_SIMPLE = {20: False, 21: True, 22: None, 23: None}  # 23 is "undefined"
_BREAK = 0xFF
_INDEFINITE = -1


class Tag(msgspec.Struct, frozen=True, gc=False):
    """A tagged item, not interpreted."""

    number: int
    value: Any


def loads(part: Part) -> Any:
    """Read one document; byte strings are views into `part`, "undefined" becomes None.

    Raises:
        CodecError: not well-formed, beyond the limits, or bytes are left over.
    """
    view = memoryview(part).cast("B")
    value, at = item_at(view, 0, MAX_DEPTH, MAX_ITEMS)
    if at != len(view):
        raise CodecError("malformed", f"{len(view) - at} bytes follow the CBOR document")
    return value


def item_at(view: memoryview, at: int, depth: int, items: int) -> tuple[Any, int]:
    """Read the item that begins at byte `at` of `view`, and where it ends; `depth` levels may be opened, `items` read.

    Raises:
        CodecError: not well-formed, or beyond the limits.
    """
    reader = _Reader(view, at, items)
    try:
        return reader.item(depth), reader.at
    except (IndexError, struct.error):
        raise CodecError("truncated", f"CBOR ends after {reader.end} bytes inside an item") from None
    except UnicodeDecodeError as error:
        raise CodecError("malformed", f"CBOR text is no UTF-8: {error.reason}") from None


class _Reader:
    """A cursor over one document. Reading past the end raises IndexError or struct.error."""

    __slots__ = ("at", "end", "items", "view")

    def __init__(self, view: memoryview, at: int, items: int) -> None:
        self.view = view
        self.end = len(view)
        self.at = at
        self.items = items

    def item(self, depth: int) -> Any:
        """The next item; `depth` levels may be opened inside it."""
        start = self.at
        initial = self.view[start]
        if 0x60 <= initial < 0x78:  # texts below 24 bytes are half of all items, hence this short way
            self.at = at = start + initial - 0x5F
            if at > self.end:
                raise IndexError
            return str(self.view[start + 1 : at], "utf-8")
        self.at = start + 1
        if initial < 0x18:
            return initial
        major, info = initial >> 5, initial & 0x1F
        if major == 7:
            return self._simple_or_float(info)
        argument = info if info < 24 else self._argument(major, info)
        if major == 0:
            return argument
        if major == 2:
            return self._take(argument)
        if major == 3:
            return self._text(argument)
        if major == 1:
            return -1 - argument
        if depth <= 0:
            raise CodecError("too_large", f"CBOR of more than {MAX_DEPTH} levels")
        if major == 6:
            return Tag(argument, self.item(depth - 1))
        return self._array(argument, depth - 1) if major == 4 else self._map(argument, depth - 1)

    def _argument(self, major: int, info: int) -> int:
        """The count, value or tag number that follows an initial byte."""
        if info < 28:
            layout = _ARGUMENTS[info - 24]
            argument = layout.unpack_from(self.view, self.at)[0]
            self.at += layout.size
            return argument
        if info == 31 and major in (3, 4, 5):
            return _INDEFINITE
        if info == 31 and major == 2:
            raise CodecError("unsupported", "a byte string of indefinite length")
        raise CodecError("malformed", f"CBOR initial byte {major << 5 | info:#04x}")

    def _take(self, count: int) -> memoryview:
        start = self.at
        if count > self.end - start:
            raise IndexError
        self.at = start + count
        return self.view[start : self.at]

    def _text(self, count: int) -> str:
        if count == _INDEFINITE:
            return self._text_chunks()
        if count > MAX_TEXT_BYTES:
            raise CodecError("too_large", f"CBOR text of {count} bytes")
        return str(self._take(count), "utf-8")

    def _text_chunks(self) -> str:
        chunks: list[str] = []
        left = MAX_TEXT_BYTES
        while not self._ended():
            if self.view[self.at] >> 5 != 3 or self.view[self.at] & 0x1F == 31:  # RFC 8949, 3.2.3
                raise CodecError("malformed", "a CBOR text of indefinite length holds something else")
            self._announce(1)
            started = self.at
            chunks.append(self.item(0))
            left -= self.at - started
            if left < 0:
                raise CodecError("too_large", f"CBOR text of more than {MAX_TEXT_BYTES} bytes")
        return "".join(chunks)

    def _array(self, count: int, depth: int) -> list[Any]:
        if count != _INDEFINITE:
            self._announce(count)
            return [self.item(depth) for _ in range(count)]
        values: list[Any] = []
        while not self._ended():
            self._announce(1)
            values.append(self.item(depth))
        return values

    def _map(self, count: int, depth: int) -> dict[str | int, Any]:
        values: dict[str | int, Any] = {}
        if count != _INDEFINITE:
            self._announce(2 * count)
            for _ in range(count):
                key = self.item(0)
                if type(key) is not str:
                    self._check_key(key)
                values[key] = self.item(depth)
            return values
        while not self._ended():
            self._announce(2)
            key = self.item(0)
            self._check_key(key)
            values[key] = self.item(depth)
        return values

    def _check_key(self, key: Any) -> None:
        if type(key) not in (str, int):
            raise CodecError("unsupported", f"a CBOR map key of type {type(key).__name__}")

    def _announce(self, count: int) -> None:
        """Items are about to be read: refuse what the message cannot hold, or is too much of it."""
        if count > self.end - self.at:  # each takes a byte at least
            raise CodecError("truncated", f"CBOR announces {count} items, {self.end - self.at} bytes are left")
        self.items -= count
        if self.items < 0:
            raise CodecError("too_large", f"CBOR of more than {MAX_ITEMS} items")

    def _ended(self) -> bool:
        """Step over the break byte of an indefinite length, if it is next."""
        if self.view[self.at] != _BREAK:
            return False
        self.at += 1
        return True

    def _simple_or_float(self, info: int) -> Any:
        if info in _FLOATS:
            layout = _FLOATS[info]
            number = layout.unpack_from(self.view, self.at)[0]
            self.at += layout.size
            return number
        if info in _SIMPLE:
            return _SIMPLE[info]
        reason = "unsupported" if info <= 24 else "malformed"
        raise CodecError(reason, f"CBOR simple value or break {info}")


def plain(value: Any) -> Any:
    """The value in types that JSON has. Typed arrays become None in lists and are left out of maps.

    Tags give way to what they hold, byte strings become base64 text, numbers that JSON readers cannot hold
    become None (not finite) or text (beyond 64 bits).
    """
    if isinstance(value, str | bool | None):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, list):
        return [plain(element) for element in value]
    if isinstance(value, dict):
        return {str(key): plain(element) for key, element in value.items() if not _is_array(element)}
    if isinstance(value, Tag):
        return _plain_tag(value)
    return base64.b64encode(value).decode()


def _is_array(value: Any) -> bool:
    return isinstance(value, Tag) and (
        value.number in TAGS_TYPED_ARRAY or value.number in (TAG_ROW_MAJOR, TAG_COLUMN_MAJOR, TAG_COMPRESSED)
    )


def _plain_tag(tag: Tag) -> Any:
    if _is_array(tag):
        return None
    if tag.number in (TAG_BIGNUM, TAG_NEGATIVE_BIGNUM) and isinstance(tag.value, memoryview):
        if len(tag.value) > MAX_BIGNUM_BYTES:
            return None
        number = int.from_bytes(tag.value, "big")
        return plain(number if tag.number == TAG_BIGNUM else -1 - number)
    return plain(tag.value)
