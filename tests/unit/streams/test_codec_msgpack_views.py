"""MessagePack without copies: against the general library both ways, and hostile bytes."""

import struct
import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codecs import msgpack_views
from streams.messages import CodecError

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=30,
)


def copied(value):
    """With byte strings in place of views."""
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, list):
        return [copied(each) for each in value]
    return {key: copied(each) for key, each in value.items()} if isinstance(value, dict) else value


@given(values)
def test_reads_what_the_library_writes(value):
    assert copied(msgpack_views.loads(msgpack.packb(value, use_bin_type=True))) == value


@pytest.mark.parametrize("length", [0, 31, 32, 255, 256, 65535, 65536])
def test_every_width_of_length(length):
    packed = msgpack.packb({"t": "x" * length, "b": b"y" * length, "l": [None] * min(length, 60_000)})
    assert copied(msgpack_views.loads(packed)) == {
        "t": "x" * length,
        "b": b"y" * length,
        "l": [None] * min(length, 60_000),
    }


def test_byte_strings_are_views_into_the_message():
    packed = msgpack.packb({"data": bytes(1_000_000)})
    assert msgpack_views.loads(packed)["data"].obj is packed


def test_keys_that_are_byte_strings_come_out_as_texts():
    assert msgpack_views.loads(msgpack.packb({b"nd": True})) == {"nd": True}


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (b"", "truncated"),
        (b"\xa5four", "truncated"),
        (b"\xc6\xff\xff\xff\xffx", "truncated"),
        (b"\xdd\xff\xff\xff\xffx", "truncated"),
        (b"\xdf\x7f\xff\xff\xffx", "truncated"),
        (b"\xcb\x00", "truncated"),
        (b"\xc1", "unsupported"),  # never used
        (b"\xd4\x00\x00", "unsupported"),  # an extension
        (b"\x81\x01\x02", "unsupported"),  # a key that is a number
        (b"\x81\xc4\x01\xff\x02", "malformed"),
        (b"\xa1\xff", "malformed"),
        (b"\xc0\xc0", "malformed"),
        (b"\x91" * 17 + b"\xc0", "too_large"),
        (b"\xdd" + struct.pack(">I", 65537) + bytes(65537), "too_large"),
        (b"\xdb" + struct.pack(">I", 2**20 + 1) + bytes(2**20 + 1), "too_large"),
    ],
)
def test_what_is_none_is_refused_and_nothing_allocated(packed, reason):
    tracemalloc.start()
    try:
        with pytest.raises(CodecError) as caught:
            msgpack_views.loads(packed)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert caught.value.reason == reason


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(packed):
    try:
        msgpack_views.loads(packed)
    except CodecError as error:
        assert error.reason in {"truncated", "malformed", "unsupported", "too_large"}
