"""What a Karabo bridge message holds, in either version of the protocol: one train, by source and key."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from streams.codecs import msgpack_views
from streams.codecs.limits import MAX_JSON_BYTES
from streams.messages import CodecError, Part

MAX_AXES = 8

_SCALARS = {"|b1": "?", "|u1": "B", "|i1": "b"}
_SCALARS |= {
    f"{order}{kind}": order + code
    for kind, code in {
        "u2": "H",
        "u4": "I",
        "u8": "Q",
        "i2": "h",
        "i4": "i",
        "i8": "q",
        "f2": "e",
        "f4": "f",
        "f8": "d",
    }.items()
    for order in "<>"
}
"""NumPy types of single numbers, and how `struct` reads them."""


class Array(msgspec.Struct, frozen=True, gc=False):
    """An array as the message has it. Its type is a claim: `limits.wire_dtype` knows which can be read."""

    dtype: str
    shape: tuple[int, ...]
    blob: Part


class TrainSource(msgspec.Struct, gc=False):
    """What one source said of the train."""

    metadata: Mapping[str, Any]
    values: dict[str, Any]
    arrays: dict[str, Array]


def read_train(parts: Sequence[Part]) -> dict[str, TrainSource]:
    """The sources of a train, arrays as views into the message.

    Version 2.2 is pairs of (header, payload), version 1.0 a single part; see karabo-bridge-py, serializer.py.

    Raises:
        CodecError: it is none of them.
    """
    if len(parts) == 1:
        return _version_1_0(parts[0])
    if not parts or len(parts) % 2:
        raise CodecError("truncated", f"a Karabo bridge message of {len(parts)} parts; they come in pairs")
    train: dict[str, TrainSource] = {}
    for header, payload in zip(parts[::2], parts[1::2], strict=True):
        _enter(train, _map(header, "header"), payload)
    return train


def _enter(train: dict[str, TrainSource], header: Mapping[str, Any], payload: Part) -> None:
    source, content = header.get("source"), header.get("content")
    if not isinstance(source, str):
        raise CodecError("malformed", "a Karabo bridge header that names no source")
    if content == "msgpack":
        metadata = header.get("metadata")
        values = _map(payload, f"data of {source[:64]}")
        train[source] = TrainSource(metadata if isinstance(metadata, dict) else {}, values, {})
    elif content == "array":
        if source not in train:
            raise CodecError("malformed", f"an array of {source[:64]} comes before its other data")
        key = header.get("path")
        if not isinstance(key, str):
            raise CodecError("malformed", f"an array of {source[:64]} without a path")
        train[source].arrays[key] = _array(header.get("dtype"), header.get("shape"), payload)
    else:
        raise CodecError("unsupported", f"Karabo bridge content {str(content)[:40]!r}")


def _version_1_0(part: Part) -> dict[str, TrainSource]:
    """One map of sources, its arrays as msgpack-numpy writes them: {nd, type, kind, shape, data}."""
    train: dict[str, TrainSource] = {}
    for source, content in _document(part, "train").items():
        if not isinstance(content, dict):
            raise CodecError("malformed", f"data of {source[:64]} are no map")
        metadata = content.pop("metadata", {})
        arrays: dict[str, Array] = {}
        for key, value in content.items():
            if isinstance(value, dict) and value.get("nd") is True:
                arrays[key] = _numpy_array(value)
        values = {key: _number(value) for key, value in content.items() if key not in arrays}
        train[source] = TrainSource(metadata if isinstance(metadata, dict) else {}, values, arrays)
    return train


def _numpy_array(value: Mapping[str, Any]) -> Array:
    """Kinds "O" (pickled objects) and "V" (structures) have types that nobody reads; their bytes are left alone."""
    data, kind = value.get("data"), value.get("kind")
    if not isinstance(data, memoryview):
        raise CodecError("malformed", "an array without bytes")
    plain = isinstance(value.get("type"), str) and kind in (None, "", b"")
    return _array(value["type"] if plain else "object", value.get("shape"), data)


def _number(value: Any) -> Any:
    """The number in a NumPy scalar of msgpack-numpy; anything else as it is."""
    if isinstance(value, dict) and value.get("nd") is False and isinstance(value.get("data"), memoryview):
        return scalar(str(value.get("type")), value["data"])
    return value


def scalar(dtype: str, data: Part) -> float | int | bool | None:
    """The number that `data` holds; None where it holds none that we can read."""
    kind = _SCALARS.get(dtype)
    if kind is None or struct.calcsize(kind) != len(data):
        return None
    return struct.unpack(kind, data)[0]


def _array(dtype: Any, shape: Any, blob: Part) -> Array:
    if not isinstance(dtype, str) or not isinstance(shape, list) or len(shape) > MAX_AXES:
        raise CodecError("malformed", "an array without a type or a shape")
    if not all(type(length) is int and length >= 0 for length in shape):
        raise CodecError("malformed", "an array with a shape that is none")
    return Array(dtype, tuple(shape), blob)


def _map(part: Part, what: str) -> dict[str, Any]:
    if len(part) > MAX_JSON_BYTES:
        raise CodecError("too_large", f"a {what} of {len(part)} bytes")
    return _document(part, what)


def _document(part: Part, what: str) -> dict[str, Any]:
    document = msgpack_views.loads(part)
    if not isinstance(document, dict):
        raise CodecError("malformed", f"the {what} is no map")
    return document
