"""Settings of a decoder, as `[source.options]` holds them: what a protocol leaves open."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

_Options = TypeVar("_Options", bound=msgspec.Struct)


class OptionError(ValueError):
    """A decoder has no such option, or not with that value; the text says which it has."""


class NoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of protocols that leave nothing open."""


def read_options(kind: type[_Options], options: Mapping[str, Any]) -> _Options:
    """`options` as the Struct `kind`, which refuses unknown fields.

    Raises:
        OptionError: they do not fit.
    """
    try:
        return msgspec.convert(dict(options), kind)
    except msgspec.ValidationError as error:
        known = ", ".join(kind.__struct_fields__) or "no options at all"
        raise OptionError(f"{error}; there are: {known}") from None
