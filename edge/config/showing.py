"""The whole of a configuration as TOML, what nobody wrote marked as default. Pure."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from edge.config.problems import Steps, as_toml, key_as_toml
from edge.config.tables import Config

DEFAULT = "# default"

INNER = ("positions", "conditioning")
"""Settings of a source that are tables."""


class Row(NamedTuple):
    """One setting."""

    table: Steps  # ("source", 0, "positions")
    name: str
    value: Any
    default: bool  # nobody wrote it

    @property
    def setting(self) -> str:
        """`source[0].positions.axes`."""
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in (*self.table, self.name))[1:]


def rows(config: Config, plain: Mapping[str, Any]) -> Iterator[Row]:
    """Every setting of `config`; `plain` is what was written."""
    for name, table in msgspec.to_builtins(config).items():
        if isinstance(table, list | tuple):
            for at, one in enumerate(table):
                yield from _rows((name, at), one, plain[name][at])
        else:
            yield from _rows((name,), table, plain.get(name, {}))


def _rows(steps: Steps, table: Mapping[str, Any], written: Mapping[str, Any]) -> Iterator[Row]:
    for name, value in table.items():
        if name not in INNER:
            yield Row(steps, name, value, name not in written)
    for name in INNER:
        if table.get(name) is not None:
            yield from _rows((*steps, name), table[name], written[name])


def as_text(found: Iterator[Row]) -> str:
    """The rows as TOML."""
    return "\n".join(f"{_head(table)}\n{''.join(map(_line, group))}" for table, group in groupby(found, _table))


def _table(row: Row) -> Steps:
    return row.table


def _head(table: Steps) -> str:
    dotted = ".".join(step for step in table if isinstance(step, str))
    return f"[[{dotted}]]" if isinstance(table[-1], int) else f"[{dotted}]"


def _line(row: Row) -> str:
    return f"{key_as_toml(row.name)} = {as_toml(row.value)}{f'  {DEFAULT}' if row.default else ''}\n"
