"""JSON as it should not be: objects written by print statements, read for what they certainly say."""

import json
import re
from typing import Any

from streams.messages import CodecError, Part

MAX_ATTRIBUTES = 1024

_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_BARE = re.compile(r"(?<=:)\s*[-+]?(?:nan|inf(?:inity)?|undefined)\b\s*(?=[,}])", re.IGNORECASE)
_PAIR = re.compile(rf'"([^"\\]{{1,200}})"\s*:\s*(?:({_NUMBER})|"([^"\\]{{0,1000}})")\s*(?=[,}}]|$)')


def lenient_object(part: Part, last_key: str) -> dict[str, Any]:
    """The object in `part`, whose last member `last_key` is an object of attributes that may be no JSON.

    Of the attributes, numbers and texts are found one by one; whatever else is there is left out. Numbers that are not
    finite become None.

    Raises:
        CodecError: what stands before `last_key` is no JSON either.
    """
    text = str(part, "utf-8", "replace")
    head, found, attributes = text.partition(f'"{last_key}"')
    if found:
        head = head.rstrip().rstrip(",") + "}"
    try:
        document = json.loads(_BARE.sub("null", head), parse_constant=lambda name: None)
    except (ValueError, RecursionError) as error:
        raise CodecError("malformed", f"header: {error}") from None
    if not isinstance(document, dict):
        raise CodecError("malformed", "the header is no map")
    if found:
        document[last_key] = _attributes(attributes)
    return document


def _attributes(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for match in _PAIR.finditer(text):
        name, number, string = match.groups()
        found[name] = string if number is None else float(number)
        if len(found) >= MAX_ATTRIBUTES:
            break
    return found
