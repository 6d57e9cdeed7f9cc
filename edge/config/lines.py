"""In which line of a TOML text each setting stands: what `tomllib` does not tell. Pure.

Only texts that `tomllib` has taken are scanned, so nothing is checked here. The grammar is that of
https://toml.io/en/v1.0.0: keys may be dotted and quoted, tables and lists inline, lists and strings over several lines.
"""

import re
import tomllib
from bisect import bisect_right
from contextlib import suppress

from edge.config.problems import Steps

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*'""")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'  # up to two quotation marks may stand before the three that end it
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}#\n]+")  # numbers, dates, truth values


def lines(text: str) -> dict[Steps, int]:
    """The line (from 1) of each table, setting and element of a list, by its steps from the top."""
    scanner = _Scanner(text)
    with suppress(ValueError):  # tomllib has refused such a text: what was found stands
        scanner.document()
    return scanner.places


class _Scanner:
    """Goes through a text once."""

    def __init__(self, text: str) -> None:
        self.places: dict[Steps, int] = {}
        self._text, self._at = text, 0
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._tables: dict[Steps, int] = {}  # of each list of tables, how many there are so far

    def document(self) -> None:
        """Go through all of it."""
        table: Steps = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> Steps:
        """`[a.b]` or `[[a.b]]`; the table that what follows belongs to."""
        begin, several = self._at, self._text.startswith("[[", self._at)
        self._at += 1 + several
        keys = self._keys()
        self._at += 1 + several
        steps: Steps = ()
        for at, key in enumerate(keys):
            steps = (*steps, key)
            if several and at == len(keys) - 1:
                self._enter(steps, begin)
                self._tables[steps] = self._tables.get(steps, 0) + 1
            if steps in self._tables:
                steps = (*steps, self._tables[steps] - 1)
        self._enter(steps, begin)
        return steps

    def _pair(self, table: Steps) -> None:
        """`a.b = value`."""
        begin = self._at
        keys = self._keys()
        for end in range(1, len(keys) + 1):
            self._enter((*table, *keys[:end]), begin)
        self._at += 1  # =
        self._skip(_SPACE)
        self._value((*table, *keys))

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            key = self._take(_KEY)
            keys.append(tomllib.loads(f"key = {key}")["key"] if key[0] in "\"'" else key)
            self._skip(_SPACE)
            if self._text[self._at : self._at + 1] != ".":
                return keys
            self._at += 1

    def _value(self, steps: Steps) -> None:
        first = self._text[self._at : self._at + 1]
        if first == "[":
            self._items(steps, "]")
        elif first == "{":
            self._items(steps, "}")
        else:
            self._take(_STRING if first and first in "\"'" else _PLAIN)

    def _items(self, steps: Steps, end: str) -> None:
        """A list, or a table on one line."""
        self._at += 1
        self._skip(_BLANK)
        count = 0
        while self._text[self._at : self._at + 1] != end:
            if end == "}":
                self._pair(steps)
            else:
                self._enter((*steps, count), self._at)
                self._value((*steps, count))
            count += 1
            self._skip(_BLANK)
            if self._text[self._at : self._at + 1] == ",":
                self._at += 1
                self._skip(_BLANK)
        self._at += 1

    def _enter(self, steps: Steps, at: int) -> None:
        self.places.setdefault(steps, bisect_right(self._starts, at))

    def _skip(self, what: re.Pattern[str]) -> None:
        found = what.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _take(self, what: re.Pattern[str]) -> str:
        found = what.match(self._text, self._at)
        if found is None:
            raise ValueError
        self._at = found.end()
        return found[0]
