"""Documents taken apart into what is the same in all of their form and what is not (`streams.codecs.cbor_template`)."""

import re
from collections.abc import Collection, Iterable, Iterator
from enum import Enum, auto

import msgspec

from streams.codecs import cbor
from streams.codecs.cbor_shape import ANY_NUMBER, Shape, Unlearnable
from streams.codecs.cbor_template import Ending, Step, Template

MAX_BYTES = 4096
MAX_ITEMS = 128
"""Largest form that is learnt: bytes and items outside of byte strings and the free value."""

_COUNT = rb"([\x00-\x17]|\x18.|\x19..|\x1a.{4}|\x1b.{8})"
_BLOB_HEAD = rb"([\x40-\x57]|\x58.|\x59..|\x5a.{4}|\x5b.{8})"


class Roles(msgspec.Struct, frozen=True):
    """What the values of the outermost map mean, by their keys. Of all others the numbers and byte strings are any."""

    counter: str  # an unsigned integer that is taken out
    free: str  # anything, taken out
    blobs: str  # its byte strings are taken out, all else in it is always the same
    fixed: Collection[str]  # always the same


def learn(view: memoryview, roles: Roles) -> Template:
    """The form of a document, which is a map in any tags, and has been read with success.

    Raises:
        Unlearnable: it has a key twice, is too large, or something in it is of indefinite length.
    """
    return _Learner(view, roles).document()


class _Mode(Enum):
    """What the numbers and byte strings of a value are."""

    FIXED = auto()  # the same always
    BLOBS = auto()  # the same, and taken out
    LOOSE = auto()  # any
    COUNTER = auto()  # taken out
    SHAPED = auto()  # all taken out


class _Learner:
    """A cursor over one document that writes down its form."""

    def __init__(self, view: memoryview, roles: Roles) -> None:
        self._view = view
        self._roles = roles
        self._at = 0
        self._bytes = self._items = 0  # written down
        self._announced = 0  # items, as `cbor` counts them
        self._steps: list[Step] = []
        self._expression: list[bytes] = []
        self._counts = self._counted = False  # this expression; any

    def document(self) -> Template:
        depth, shape = cbor.MAX_DEPTH - 1, None
        while self._major() == 6:
            self._literal(self._head()[1])
            depth -= 1
        for key in self._keys():
            if key == self._roles.free:
                self._step(Ending.FREE)
                shape = self._shape(depth)
            else:
                self._item(self._mode(key))
        self._step(Ending.NOTHING)
        if not self._counted:
            raise Unlearnable
        return Template(self._steps, cbor.MAX_ITEMS - self._announced, depth, shape)

    def _shape(self, depth: int) -> Shape | None:
        """Step over the free value; its shape, where it is an array or a map that has one."""
        value, end = cbor.item_at(self._view, self._at, depth, cbor.MAX_ITEMS)
        inside = _Learner(self._view, self._roles)
        inside._at, self._at = self._at, end
        try:
            inside._item(_Mode.SHAPED)
            expression = _compiled(inside._expression)
            return Shape(expression, value) if isinstance(value, dict | list) else None
        except Unlearnable:
            return None

    def _mode(self, key: str | int) -> _Mode:
        if key == self._roles.counter:
            return _Mode.COUNTER
        if key == self._roles.blobs:
            return _Mode.BLOBS
        return _Mode.FIXED if key in self._roles.fixed else _Mode.LOOSE

    def _item(self, mode: _Mode) -> None:
        major, (argument, end) = self._major(), self._head()
        if major in (0, 1) or (major == 7 and end - self._at > 2):  # two bytes of floats at least
            self._number(major, end, mode)
        elif major == 2:
            self._blob(argument, end, mode)
        elif major == 3:
            self._literal(end + argument)
        elif major == 5:
            for _ in self._keys():
                self._item(mode)
        else:  # arrays, tags, and simple values, which hold nothing
            self._literal(end)
            self._announced += argument if major == 4 else 0
            for _ in range({4: argument, 6: 1}.get(major, 0)):
                self._item(mode)

    def _number(self, major: int, end: int, mode: _Mode) -> None:
        if mode is _Mode.COUNTER:
            if major != 0 or self._counted:
                raise Unlearnable
            self._counts = self._counted = True
            self._write(_COUNT, end)
        elif mode is _Mode.SHAPED:
            self._write(b"(" + ANY_NUMBER + b")", end)
        elif mode is _Mode.LOOSE:
            self._write(ANY_NUMBER, end)
        else:
            self._literal(end)

    def _blob(self, length: int, end: int, mode: _Mode) -> None:
        if mode not in (_Mode.BLOBS, _Mode.LOOSE):
            raise Unlearnable
        self._write(_BLOB_HEAD, end)
        self._step(Ending.BLOB if mode is _Mode.BLOBS else Ending.SKIPPED)
        self._at += length

    def _keys(self) -> Iterator[str | int]:
        """Step into a map: the keys, each when the cursor stands behind it."""
        pairs, end = self._head()
        self._announced += 2 * pairs
        self._literal(end)
        seen: set[str | int] = set()
        for _ in range(pairs):
            key = self._key()
            if key in seen:
                raise Unlearnable
            seen.add(key)
            yield key

    def _key(self) -> str | int:
        major, (argument, end) = self._major(), self._head()
        if major == 3:
            key: str | int = str(self._view[end : end + argument], "utf-8")
            end += argument
        else:  # the only others that `cbor` takes
            key = argument if major == 0 else -1 - argument
        self._literal(end)
        return key

    def _major(self) -> int:
        return self._view[self._at] >> 5

    def _head(self) -> tuple[int, int]:
        """The argument of the next item, and where its head ends."""
        info = self._view[self._at] & 0x1F
        if info > 27:
            raise Unlearnable
        end = self._at + 1 + (1 << info - 24 if info >= 24 else 0)
        return info if info < 24 else int.from_bytes(self._view[self._at + 1 : end], "big"), end

    def _literal(self, end: int) -> None:
        """The bytes up to `end` are the same always."""
        if end - self._at > MAX_BYTES:
            raise Unlearnable
        self._write(re.escape(bytes(self._view[self._at : end])), end)

    def _write(self, expression: bytes, end: int) -> None:
        """`expression` stands for the bytes up to `end`."""
        self._bytes += end - self._at
        self._items += 1
        if self._bytes > MAX_BYTES or self._items > MAX_ITEMS:
            raise Unlearnable
        self._expression.append(expression)
        self._at = end

    def _step(self, ending: Ending) -> None:
        if ending is not Ending.NOTHING or self._expression:
            self._steps.append((_compiled(self._expression), self._counts, ending))
        self._expression, self._counts = [], False


def _compiled(expression: Iterable[bytes]) -> re.Pattern[bytes]:
    """Each series has forms of its own, some 10 kB each: `re` shall not keep the last 512 of them."""
    pattern = re.compile(b"".join(expression), re.DOTALL)
    re.purge()
    return pattern
