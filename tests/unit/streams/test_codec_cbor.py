"""The bounded CBOR reader, with cbor2 as the judge."""

import json
import math
import tracemalloc

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codecs import cbor
from streams.codecs.cbor import MAX_DEPTH, MAX_ITEMS, MAX_TEXT_BYTES, Tag
from streams.messages import CodecError

scalars = (
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()
)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers(-(2**64), 2**64 - 1), inner)
        | st.builds(cbor2.CBORTag, st.integers(60_000, 2**64 - 1), inner)
    ),
    max_leaves=30,
)


def same(ours, theirs):
    """Whether our reading equals that of cbor2."""
    if isinstance(ours, memoryview):
        return isinstance(theirs, bytes) and bytes(ours) == theirs
    if isinstance(ours, Tag):
        return isinstance(theirs, cbor2.CBORTag) and ours.number == theirs.tag and same(ours.value, theirs.value)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in ours)
    return type(ours) is type(theirs) and ours == theirs


@given(documents)
def test_equals_cbor2(document):
    data = cbor2.dumps(document)
    assert same(cbor.loads(data), cbor2.loads(data))


@given(st.floats())
def test_floats_of_every_width_equal_cbor2(number):
    for canonical in (False, True):  # canonical: the shortest width that holds the number
        ours, theirs = (load(cbor2.dumps(number, canonical=canonical)) for load in (cbor.loads, cbor2.loads))
        assert ours == theirs or (math.isnan(ours) and math.isnan(theirs))


@pytest.mark.parametrize(
    ("data", "value"),  # RFC 8949, appendix A
    [
        ("00", 0), ("17", 23), ("1818", 24), ("1903e8", 1000), ("1a000f4240", 1000000),
        ("1bffffffffffffffff", 2**64 - 1), ("3bffffffffffffffff", -(2**64)), ("20", -1), ("3903e7", -1000),
        ("f93c00", 1.0), ("f97bff", 65504.0), ("f90001", 5.960464477539063e-8), ("fa47c35000", 100000.0),
        ("fb3ff199999999999a", 1.1), ("f97c00", math.inf), ("f4", False), ("f5", True), ("f6", None), ("f7", None),
        ("60", ""), ("62c3bc", "ü"), ("80", []), ("83010203", [1, 2, 3]), ("a0", {}),
        ("a201020304", {1: 2, 3: 4}), ("9fff", []), ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}), ("7f657374726561646d696e67ff", "streaming"), ("7fff", ""),
        ("c074323031332d30332d32315432303a30343a30305a", Tag(0, "2013-03-21T20:04:00Z")),
        ("7818" + "61" * 24, "a" * 24), ("790003616263", "abc"), ("9800", []), ("b800", {}),
    ],
)  # fmt: skip
def test_vectors(data, value):
    read = cbor.loads(bytes.fromhex(data))
    assert read == value and type(read) is type(value)


def test_byte_strings_are_views_into_the_message():
    message = cbor2.dumps({"pixels": b"x" * 10_000_000})
    tracemalloc.start()
    try:
        pixels = cbor.loads(memoryview(message))["pixels"]
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert isinstance(pixels, memoryview) and pixels.obj is message and len(pixels) == 10_000_000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"\x18", "truncated"),
        (b"\x1b\0\0\0", "truncated"),
        (b"\xfb\0", "truncated"),
        (b"\x44abc", "truncated"),
        (b"\x64abc", "truncated"),
        (b"\x78\x20abc", "truncated"),
        (b"\x82\x01", "truncated"),
        (b"\xa1\x01", "truncated"),
        (b"\x9f\x01", "truncated"),
        (b"\x7f\x61a", "truncated"),
        (b"\xc0", "truncated"),
        (b"\x5b" + b"\xff" * 8, "truncated"),  # 16 EiB of bytes
        (b"\x9b" + b"\xff" * 8, "truncated"),  # and as many items
        (b"\xbb" + b"\xff" * 8, "truncated"),
        (b"\x01\x01", "malformed"),
        (b"\x1c", "malformed"),  # reserved
        (b"\x3f", "malformed"),
        (b"\xdf\x01", "malformed"),
        (b"\xff", "malformed"),  # a break outside
        (b"\x82\x01\xff", "malformed"),
        (b"\xbf\x61a\xff", "malformed"),  # a key without value
        (b"\x61\xff", "malformed"),  # no UTF-8
        (b"\x7f\x41a\xff", "malformed"),  # bytes in a text
        (b"\x7f\x7f\x61a\xff\xff", "malformed"),
        (b"\x5f\x41a\xff", "unsupported"),
        (b"\xe0", "unsupported"),
        (b"\xf8\xff", "unsupported"),
        (b"\xa1\x80\x01", "too_large"),  # a list as key
        (b"\xa1\xf6\x01", "unsupported"),
        (b"\xa1\x41a\x01", "unsupported"),
        (b"\x81" * (MAX_DEPTH + 1) + b"\x01", "too_large"),
        (b"\xc1" * 100_000 + b"\x01", "too_large"),
        (b"\x9f" * 100_000, "too_large"),
        (b"\x9f" + b"\x01" * (MAX_ITEMS + 1) + b"\xff", "too_large"),
        (b"\x9a\0\1\0\1" + b"\x01" * (MAX_ITEMS + 1), "too_large"),
        (b"\xb9\xff\xff" + b"\x01" * (3 * MAX_ITEMS), "too_large"),
        (b"\x7a\0\x10\0\1" + b"a" * (MAX_TEXT_BYTES + 1), "too_large"),
        (b"\x7f" + (b"\x79\xff\xff" + b"a" * 65535) * 17 + b"\xff", "too_large"),
    ],
)
def test_what_is_not_well_formed_or_beyond_the_limits_is_refused(data, reason):
    with pytest.raises(CodecError) as caught:
        cbor.loads(data)
    assert caught.value.reason == reason


def test_the_deepest_document_allowed():
    assert cbor.loads(b"\x81" * MAX_DEPTH + b"\x01")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    try:
        ours = cbor.loads(data)
    except CodecError:
        return
    cbor.plain(ours)


@given(documents, st.data())
def test_truncation_is_always_noticed(document, data):
    encoded = cbor2.dumps(document)
    with pytest.raises(CodecError) as caught:
        cbor.loads(encoded[: data.draw(st.integers(0, len(encoded) - 1))])
    assert caught.value.reason == "truncated"


@given(documents)
def test_plain_is_json_without_extensions(document):
    value = cbor.plain(cbor.loads(cbor2.dumps(document)))
    assert json.loads(json.dumps(value, allow_nan=False)) == value


def test_plain_keeps_numbers_drops_arrays_and_unwraps_tags():
    array = cbor2.CBORTag(40, [[1, 2], cbor2.CBORTag(64, b"ab")])
    document = {
        "date": cbor2.CBORTag(0, "2026-01-01T00:00:00Z"),
        "rational": [3, 100_000_000],
        "big": 2**70,
        "mask": {"threshold_1": array},
        "list": [1, array],
        "table": cbor2.CBORTag(85, b"\0" * 8),
        "bytes": b"\xff",
        "nan": math.nan,
        5: "number",
    }
    assert cbor.plain(cbor.loads(cbor2.dumps(document))) == {
        "date": "2026-01-01T00:00:00Z",
        "rational": [3, 100_000_000],
        "big": str(2**70),
        "mask": {},
        "list": [1, None],
        "bytes": "/w==",
        "nan": None,
        "5": "number",
    }
