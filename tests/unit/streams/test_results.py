import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streams.codecs import handshake, results
from streams.messages import CodecError


def result(*arrays: np.ndarray) -> results.Result:
    return results.Result(
        source="det",
        series_uid="u",
        series_id=1,
        image_id=3,
        channel="image",
        route="ptycho",
        model="ptycho",
        model_version="1",
        model_sha256="00",
        origin="o",
        seq=5,
        received_ns=1,
        published_ns=2,
        specs=tuple(results.describe(f"a{i}", array, "rad") for i, array in enumerate(arrays)),
        position={"row": 1.5},
    )


@given(
    st.lists(
        hnp.arrays(st.sampled_from(sorted(results.DTYPES - {"float16"})), hnp.array_shapes(min_dims=0, min_side=0)),
        max_size=3,
    )
)
def test_round_trip(arrays):
    parts = [bytes(part) for part in results.encode(result(*arrays), arrays)]
    notice, read = results.decode(parts)
    assert notice == result(*arrays)
    for at, array in enumerate(arrays):
        assert read[f"a{at}"].dtype == array.dtype
        np.testing.assert_array_equal(read[f"a{at}"], array)


def test_header_holds_every_promised_field():
    parts = results.encode(result(np.zeros(2, np.float32)), [np.zeros(2, np.float32)])
    assert bytes(parts[0]) == b"ptycho\0"
    header = msgpack.unpackb(parts[1])
    assert set(header) >= {
        *("v", "type", "source", "series_uid", "series_id", "image_id", "channel", "route", "model"),
        *("model_version", "model_sha256", "origin", "seq", "received_ns", "published_ns", "position"),
        *("recovered", "arrays", "values"),
    }
    assert header["type"] == "result"
    assert header["arrays"] == [{"name": "a0", "dtype": "float32", "shape": [2], "units": "rad"}]


INT64 = st.integers(-(2**63), 2**64 - 1)
NUMBERS = st.dictionaries(st.text(max_size=9), st.floats())
SPECS = st.lists(st.builds(results.ArraySpec, shape=st.lists(INT64, max_size=8).map(tuple))).map(tuple)
ROUTES = st.text(st.characters(min_codepoint=1, codec="utf-8"), min_size=1)


@given(
    st.builds(
        results.Result,
        route=ROUTES,
        **dict.fromkeys(("series_id", "image_id", "seq", "received_ns", "published_ns"), INT64),
        specs=SPECS,
        values=NUMBERS,
        position=st.none() | NUMBERS,
        recovered=st.booleans(),
    )
)
def test_a_header_is_what_a_plain_msgpack_map_would_be(result):
    assert bytes(results.pack(result)[1]) == msgpack.packb(msgspec.to_builtins(result), use_bin_type=True)


def test_what_a_detector_attached_is_text_in_notices_of_series():
    started = results.SeriesStarted("det", "u", 1, "r", "o", 0, 0, None, True, {"blob": b"\xff\x00"})
    read, _ = results.decode(results.encode(started))
    assert isinstance(read, results.SeriesStarted) and read.header == {"blob": "/wA="}


@given(
    hnp.arrays(
        st.sampled_from(sorted(results.DTYPES)),
        st.tuples(st.integers(1, 5), *[st.integers(0, 40)] * 2),
        fill=st.nothing(),
    )
)
def test_the_rows_of_a_batch_are_the_contents_of_its_frames(batch):
    rows = results.contents(batch)
    assert [bytes(row) for row in rows] == [array.tobytes() for array in batch]


@pytest.mark.parametrize(("nbytes", "own"), [(results.SMALL_BYTES, True), (results.SMALL_BYTES + 1, False)])
def test_a_small_row_keeps_no_batch_alive(nbytes, own):
    rows = results.contents(np.zeros((3, nbytes), np.uint8))
    assert all(isinstance(row, bytes) is own for row in rows)


def test_arrays_are_not_copied():
    array = np.arange(4.0)
    part = results.encode(result(array), [array])[2]
    array[0] = 7
    assert np.frombuffer(part)[0] == 7


@given(st.data())
def test_a_damaged_message_is_a_codec_error_or_still_a_message(data):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    parts = [bytearray(bytes(part)) for part in results.encode(result(array), [array])]
    which = data.draw(st.sampled_from([1, 1, 1, 2]))
    if data.draw(st.booleans()):
        del parts[which][data.draw(st.integers(0, len(parts[which]) - 1)) :]
    else:
        parts[which][data.draw(st.integers(0, len(parts[which]) - 1))] = data.draw(st.integers(0, 255))
    try:
        results.decode([bytes(part) for part in parts])
    except CodecError as error:
        assert error.reason in {"malformed", "truncated", "unsupported", "too_large"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda parts: [parts[0], parts[1].replace(b"\xa5shape\x92\x02\x03", b"\xa5shape\x99" + b"\x01" * 9), b""],
            "malformed",
        ),
        (lambda parts: [parts[0], parts[1].replace(b"\xa5shape\x92\x02", b"\xa5shape\x92\xff"), b""], "malformed"),
        (lambda parts: parts[:1], "malformed"),
        (lambda parts: parts[:2], "malformed"),
        (lambda parts: [*parts, b""], "malformed"),
        (lambda parts: [parts[0], b"\xc1", parts[2]], "malformed"),
        (lambda parts: [parts[0], parts[1], parts[2][:-1]], "truncated"),
        (lambda parts: [parts[0], b"\0" * (results.MAX_HEADER_BYTES + 1), parts[2]], "too_large"),
        (lambda parts: [parts[0], parts[1].replace(b"float32", b"object_"), parts[2]], "unsupported"),
        (lambda parts: [parts[0], parts[1].replace(b"\xa1v\x01", b"\xa1v\x09"), parts[2]], "unsupported"),
    ],
)
def test_bad_messages(change, reason):
    array = np.zeros((2, 3), np.float32)
    parts = [bytes(part) for part in results.encode(result(array), [array])]
    with pytest.raises(CodecError) as caught:
        results.decode(change(parts))
    assert caught.value.reason == reason


def test_topic_of_one_route_is_no_prefix_of_another():
    assert not results.topic("peaks2").startswith(results.topic("peaks"))
    for name in ("", "a\0b"):
        with pytest.raises(ValueError, match="not empty"):
            results.topic(name)
        assert not handshake.hello_topic(b"x").startswith(name.encode() + b"\0a")


@pytest.mark.parametrize("message", [handshake.Hello(b"\0\xfftoken"), handshake.Replay("r", 3, 9)])
def test_handshake_requests_round_trip(message):
    assert handshake.unpack_request(handshake.pack(message)) == message


@pytest.mark.parametrize("message", [handshake.Welcome("o", "tcp://x:1", {"r": 3}), handshake.Replayed("r", 1, 2, 0)])
def test_handshake_replies_round_trip(message):
    assert handshake.unpack_reply(handshake.pack(message)) == message


@given(st.binary(max_size=200))
def test_garbage_at_the_handshake_is_a_codec_error(garbage):
    try:
        handshake.unpack_request(garbage)
    except CodecError:
        return


@pytest.mark.parametrize("size", [handshake.MAX_REQUEST_BYTES, handshake.MAX_TOKEN_BYTES])
def test_handshake_limits(size):
    with pytest.raises(CodecError, match="too_large"):
        handshake.unpack_request(handshake.pack(handshake.Hello(b"x" * (size + 1))))


@pytest.mark.parametrize("value", [None, "text", {"a": [1, 2.5, {"b": True}]}, 2**64 - 1])
def test_what_can_travel_travels(value):
    assert results.portable(value) == value


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [2**70, {"a": -(2**70)}, "\ud800", {"a": object()}, "x" * (1 << 20), nested(40), nested(500), nested(990)],
)
def test_what_cannot_travel_is_left_out(value):
    assert results.portable(value) is None


def test_why_an_image_is_untrained_travels_and_may_be_absent():
    """What an older sender leaves out is no reason."""
    told = msgspec.structs.replace(result(), untrained=("energy 12 keV, trained at 8.8 keV",))
    assert results.decode([bytes(part) for part in results.encode(told)])[0] == told
    topic, header = results.encode(result())
    old = msgpack.unpackb(header)
    del old["untrained"]
    assert results.decode([bytes(topic), msgpack.packb(old)])[0] == result()
