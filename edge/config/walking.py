"""A configuration against its types, setting by setting: all that does not fit, not only the first. Pure."""

import math
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import NoneType
from typing import Any, get_args, get_origin

import msgspec
from msgspec import inspect

from edge.config.problems import Problem, Steps, as_toml

REFERENCE = "edge/README.md lists the settings"


def misfits(plain: Mapping[str, Any], table: type[msgspec.Struct], steps: Steps = ()) -> Iterator[Problem]:
    """What of `plain` is no setting of `table`, is missing, or has a value that cannot be; tables below it as well."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(table)}
    for name in plain:
        if name not in fields:
            yield Problem((*steps, name), _unknown(name, list(fields)))
    for name, field in fields.items():
        if name in plain:
            yield from _value(plain[name], field.type, (*steps, name), _remedy(field))
        elif field.required:
            what = f"[[{name}]]" if not steps else name
            yield Problem(steps, f"{what} is missing; " + (REFERENCE if steps else "at least one is needed"))


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, 1)
    return "there is no such setting; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}")


def _remedy(field: msgspec.structs.FieldInfo) -> str:
    default = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    if default is msgspec.NODEFAULT or default in (None, "", {}, ()) or isinstance(default, msgspec.Struct):
        return ""
    return f"; the default is {as_toml(default)}"


def _value(value: Any, kind: Any, steps: Steps, remedy: str) -> Iterator[Problem]:
    inner = get_args(kind)
    kinds = [one for one in inner if one is not NoneType] if NoneType in inner else [kind]
    if _is_table(kinds[0]):
        if isinstance(value, dict):
            yield from misfits(value, kinds[0], steps)
        else:
            yield Problem(steps, f"must be a table; write [{_dotted(steps)}] and its settings below it")
    elif get_origin(kind) is tuple and _is_table(inner[0]) and not isinstance(value, list):
        yield Problem(steps, f"must be a list of tables; write [[{_dotted(steps)}]] above the settings of each")
    elif get_origin(kind) is tuple and isinstance(value, list):
        for at, item in enumerate(value):
            yield from _value(item, inner[0], (*steps, at), remedy)
    elif get_origin(kind) is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from _value(item, inner[1], (*steps, key), remedy)
    elif not _fits(value, kind):
        yield Problem(steps, f"must be {words(inspect.type_info(kind))}{_near(value, kind)}{remedy}")
    elif isinstance(value, str) and "\0" in value:  # no path, address or name goes beyond it
        yield Problem(steps, "holds a NUL character; leave it out")


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _dotted(steps: Steps) -> str:
    return ".".join(step for step in steps if isinstance(step, str))


def _fits(value: Any, kind: Any) -> bool:
    try:
        converted = msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return not isinstance(converted, float) or math.isfinite(converted)


def _near(value: Any, kind: Any) -> str:
    """For one of several words: the one that was meant, perhaps."""
    allowed = [one for one in get_args(kind) if isinstance(one, str)]
    near = get_close_matches(value, allowed, 1) if isinstance(value, str) else []
    return f"; did you mean {as_toml(near[0])}?" if near else ""


def words(kind: inspect.Type) -> str:
    """What a type takes, in words."""
    match kind:
        case inspect.Metadata(type=inner, extra_json_schema=schema):
            return (schema or {}).get("description") or words(inner)
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType():
            return "text in quotation marks"
        case inspect.IntType():
            return f"a whole number{_limits(kind)}"
        case inspect.FloatType():
            return f"a number{_limits(kind)}"
        case inspect.LiteralType(values=values):
            return f"one of {', '.join(map(as_toml, values))}"
        case inspect.VarTupleType(item_type=item):
            return f"a list, each of it {words(item)}"
        case inspect.DictType(value_type=value):
            return f"a table, each value {words(value)}"
        case inspect.UnionType(types=types):
            return " or ".join(map(words, types))
        case inspect.StructType():
            return "a table"
        case _:
            return "another value"


def _limits(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge} to {kind.le}"
    limits = {"above": kind.gt, "of at least": kind.ge, "below": kind.lt, "of at most": kind.le}
    said = [f"{word} {limit}" for word, limit in limits.items() if limit is not None]
    return f" {' and '.join(said)}" if said else ""
