"""What is wrong with a configuration, said with file, line, setting, value and remedy. Pure."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

Steps: TypeAlias = tuple[str | int, ...]
"""The way to a setting: names of tables and settings, and numbers (from 0) in lists: `("source", 0, "memory_mib")`."""

MAX_SHOWN_CHARS = 60
"""Of a value, in a message."""

BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. What checks find has `steps` and `text`; `placed_in` adds where that stands."""

    steps: Steps
    text: str  # what is wrong, and what to do
    found: str = ""  # the value as TOML; empty where there is none
    setting: str = ""  # `source "eiger": memory_mib`; empty: by its steps alone
    file: str = ""
    line: int | None = None  # from 1

    def __str__(self) -> str:
        head = ":".join(str(part) for part in (self.file, self.line) if part)
        value = f" = {self.found}" if self.found else ""
        setting = self.setting or _dotted(self.steps)
        return ": ".join(part for part in (head, f"{setting}{value}", self.text) if part)


class ConfigError(ValueError):
    """The configuration cannot be used; the text says for each problem where it is, what was found, and the remedy.

    Args:
        text: where there is one problem only, and it is not of a setting in a file.
        problems: all that were found; they are the text, a line each.
    """

    def __init__(self, text: str = "", problems: Iterable[Problem] = ()) -> None:
        self.problems = tuple(problems) or (Problem((), text),)
        super().__init__("\n".join(map(str, self.problems)))


def placed_in(problem: Problem, plain: Mapping[str, Any], places: Mapping[Steps, int], file: str = "") -> Problem:
    """The problem with the place and the value that `plain`, the content of `file`, has for it.

    Args:
        places: the line of each table and setting (`edge.config.lines`).
    """
    value = _value(plain, problem.steps)
    is_table = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value))
    shown = "" if value is None or (is_table and len(problem.steps) < 3) else _short(as_toml(value))
    return replace(
        problem,
        found=problem.found or shown,
        setting=problem.setting or _setting(plain, problem.steps),
        file=problem.file or file,
        line=problem.line or _line(places, problem.steps),
    )


def as_toml(value: Any) -> str:
    """A value as TOML on one line (https://toml.io/en/v1.0.0)."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, dict):
        inner = ", ".join(f"{key_as_toml(key)} = {as_toml(one)}" for key, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, int) and value >= 1 << 64:
        return f"{value:#x}"  # Python writes no decimal number of thousands of digits, nor does it read one below 0
    return str(value)  # numbers and dates


def key_as_toml(key: str) -> str:
    """A key, in quotes where it needs them."""
    return key if BARE.fullmatch(key) else as_toml(key)


def _short(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[: MAX_SHOWN_CHARS - 3]}..."


def _value(plain: Any, steps: Steps) -> Any:
    for step in steps:
        try:
            plain = plain[step]
        except (KeyError, IndexError, TypeError):
            return None
    return plain


def _setting(plain: Mapping[str, Any], steps: Steps) -> str:
    """`source "eiger": memory_mib`, `results.publish`; a table without a name goes by its number, from 1."""
    if len(steps) < 2 or not isinstance(steps[1], int):
        return _dotted(steps)
    name = _value(plain, (*steps[:2], "name"))
    which = as_toml(name) if isinstance(name, str) else str(steps[1] + 1)
    return ": ".join(part for part in (f"{steps[0]} {which}", _dotted(steps[2:])) if part)


def _dotted(steps: Steps) -> str:
    said = ""
    for step in steps:
        said += f"[{step}]" if isinstance(step, int) else f".{key_as_toml(step)}"
    return said.removeprefix(".")


def _line(places: Mapping[Steps, int], steps: Steps) -> int | None:
    """The line of the setting, else of the table that it is missing in."""
    while steps and steps not in places:
        steps = steps[:-1]
    return places.get(steps)
