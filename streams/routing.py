"""Which frames go where: the routes' selection rules, and which results call for a second look at the same image."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
from numpy.typing import NDArray

from streams.messages import Frame

WhenFull: TypeAlias = Literal["block", "drop_oldest", "latest"]
"""What a route does with more images than its model takes.

block: nothing is dropped; the source is not read on while there is no slot, so its sender and all its routes wait.
drop_oldest: the oldest image that waits makes room for a new one. latest: only the newest image waits.
"""

MAX_CONDITION_CHARS = 1000
"""Of the text of a condition. Whoever needs more wants a model that says yes or no."""

EXAMPLE = '"count >= 15", "count > 0 and intensity[0] >= 1e4 or count > 40"'

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}

_SPACE = re.compile(r"\s*", re.ASCII)
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_INDEX = re.compile(r"\[\s*(\d+)\s*\]", re.ASCII)
_OPERATOR = re.compile(r"[><]=?(?![=<>])|[=!]=(?!=)", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])", re.ASCII)


class ConditionError(ValueError):
    """A condition cannot be read, or asks for what a result does not have; the text says where, and what to write."""


class Comparison(msgspec.Struct, frozen=True):
    """One number of a result, compared with a fixed one. A NaN is like nothing: no comparison with it holds."""

    name: str  # of an output
    index: int | None  # into it; None: it is a single number
    operator: str
    number: float

    def __str__(self) -> str:
        return f"{self.subject} {self.operator} {_shown(self.number)}"

    @property
    def subject(self) -> str:
        """What is compared, as it is written: `count`, `row[3]`."""
        return self.name if self.index is None else f"{self.name}[{self.index}]"

    def holds(self, arrays: Mapping[str, NDArray[Any]]) -> bool:
        """Whether it is so of one frame; arrays by name, without a batch axis.

        Raises:
            ConditionError: the number is not there.
        """
        value = self._value(arrays)
        return value == value and _COMPARISONS[self.operator](value, self.number)

    def _value(self, arrays: Mapping[str, NDArray[Any]]) -> float:
        array = arrays.get(self.name)
        value = None
        if array is not None and self.index is None and array.size == 1:
            value = array.item()
        elif array is not None and self.index is not None and array.ndim == 1 and self.index < len(array):
            value = array[self.index].item()
        if not isinstance(value, int | float):
            raise ConditionError(f"the result has no number {self.subject}; it has {_described(arrays)}")
        return value


class Condition(msgspec.Struct, frozen=True):
    """What must be so of a result: `NAME OP NUMBER`, joined by `and` and `or`, where `and` binds tighter.

    There is nothing else to write: no parentheses, no sums, no code.
    """

    any_of: tuple[tuple[Comparison, ...], ...]  # in at least one of these all must hold

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Read a condition.

        Raises:
            ConditionError: it cannot be understood.
        """
        if len(text) > MAX_CONDITION_CHARS:
            raise ConditionError(f"has {len(text)} characters; at most {MAX_CONDITION_CHARS} are read")
        reader = _Reader(text)
        any_of = [[reader.comparison()]]
        while not reader.done:
            if reader.join() == "or":
                any_of.append([])
            any_of[-1].append(reader.comparison())
        return cls(tuple(map(tuple, any_of)))

    def __str__(self) -> str:
        return " or ".join(" and ".join(map(str, all_of)) for all_of in self.any_of)

    def holds(self, arrays: Mapping[str, NDArray[Any]]) -> bool:
        """Whether it is so of one frame; arrays by name, without a batch axis.

        Raises:
            ConditionError: a number that it asks for is not there.
        """
        return any(all(each.holds(arrays) for each in all_of) for all_of in self.any_of)

    def unknown(self, offered: Mapping[str, int | None]) -> list[str]:
        """What it asks for that results do not offer, each once.

        Args:
            offered: by name, how many numbers there are; None: a single one, which needs no index.
        """
        asked = {each.subject: each for all_of in self.any_of for each in all_of}
        return [subject for subject, each in asked.items() if not _offers(offered, each)]


class Route(msgspec.Struct, frozen=True):
    """A rule that sends frames to a model. An empty tuple means: any."""

    name: str
    model: str
    sources: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    after: str = ""  # the route whose results are looked at first; empty: none
    when: Condition | None = None  # what they must be like; None: anything

    def takes(self, source: str) -> bool:
        """Whether frames of `source` may go this way: else the route has nothing to do with its series."""
        return not self.sources or source in self.sources

    def wants(self, frame: Frame) -> bool:
        """Whether this route takes `frame`; one after another route also needs that one to take it."""
        return self.takes(frame.source) and (not self.channels or frame.channel in self.channels)


def inherited(routes: Sequence[Route]) -> tuple[Route, ...]:
    """The routes, where those after another one that name no sources or channels have the ones of that route.

    Raises:
        ValueError: a route comes after one that is not there, or they go round in a circle.
    """
    by_name = {route.name: route for route in routes}
    return tuple(_inheriting(route, leaders(route.name, by_name)) for route in routes)


def leaders(name: str, routes: Mapping[str, Route]) -> list[Route]:
    """The routes before `name`, the nearest first.

    Raises:
        ValueError: one of them is not there, or they go round in a circle.
    """
    chain = [routes[name]]
    while before := chain[-1].after:
        if before not in routes:
            raise ValueError(f"route {chain[-1].name} comes after {before}, which is no route")
        if routes[before] in chain:
            names = [route.name for route in chain]
            raise ValueError(f"routes go round in a circle: {' after '.join([*names, before])}")
        chain.append(routes[before])
    return chain[1:]


def _inheriting(route: Route, before: Sequence[Route]) -> Route:
    sources = next((one.sources for one in (route, *before) if one.sources), ())
    channels = next((one.channels for one in (route, *before) if one.channels), ())
    return msgspec.structs.replace(route, sources=sources, channels=channels)


class _Reader:
    """Reads the text of a condition from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._skip()

    @property
    def done(self) -> bool:
        """Whether nothing more is there."""
        return self._at == len(self._text)

    def comparison(self) -> Comparison:
        name = self._take(_WORD, "the name of an output")
        if name[0] in ("and", "or"):
            raise self._error("the name of an output", name.start())
        index = self._found(_INDEX)
        compared = self._take(_OPERATOR, f"one of {', '.join(_COMPARISONS)}")
        number = self._take(_NUMBER, "a number")
        value = float(number[0])
        if value in (float("inf"), float("-inf")):
            raise self._error("a number of less than 1.8e308", number.start())
        return Comparison(name[0], None if index is None else int(index[1]), compared[0], value)

    def join(self) -> str:
        word = self._take(_WORD, "and, or, or nothing more")
        if word[0] not in ("and", "or"):
            raise self._error("and, or, or nothing more", word.start())
        return word[0]

    def _take(self, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
        found = self._found(pattern)
        if found is None:
            raise self._error(expected, self._at)
        return found

    def _found(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
            self._skip()
        return found

    def _skip(self) -> None:
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at

    def _error(self, expected: str, at: int) -> ConditionError:
        rest = self._text[at : at + 20]
        there = f"at character {at + 1}, {rest!r}" if rest else "at its end"
        return ConditionError(f"{there}: expected {expected}; conditions look like {EXAMPLE}")


def _offers(offered: Mapping[str, int | None], asked: Comparison) -> bool:
    if asked.name not in offered:
        return False
    length = offered[asked.name]
    return asked.index is None if length is None else asked.index is not None and asked.index < length


def _shown(number: float) -> str:
    """The shortest text that reads back as `number`."""
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def _described(arrays: Mapping[str, NDArray[Any]]) -> str:
    return ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()) or "no arrays"
