"""Images whose form was learnt are decoded as those that the general parser reads; what it refuses is refused."""

import tracemalloc
from typing import Any

import cbor2
import numpy as np
import pytest
from cbor2 import CBORTag
from hypothesis import given
from hypothesis import strategies as st

from streams.codecs import cbor, stream_v2_forms
from streams.codecs.cbor_shape import Unlearnable
from streams.codecs.compression import compress
from streams.codecs.stream_v2 import StreamV2Decoder
from streams.codecs.stream_v2_forms import LEARN_EVERY, MOST_FORMS
from streams.messages import CodecError, Compression, Frame
from tests.unit.streams.test_codec_cbor_template import ANYTHING, NUMBERS, damaged

NOW = 1_700_000_000_000_000_000
PIXELS = np.arange(6, dtype="<u2").reshape(2, 3)


def raw(pixels=PIXELS, tag=69, order=40):
    return CBORTag(order, [list(pixels.shape), CBORTag(tag, pixels.tobytes())])


def packed(pixels=PIXELS, name="bslz4", blob=None):
    blob = compress(pixels, Compression.BSLZ4) if blob is None else blob
    return CBORTag(40, [list(pixels.shape), CBORTag(69, CBORTag(56500, [name, 2, blob]))])


def image(image_id: Any = 5, data=None, **changes):
    document = {
        "type": "image",
        "series_id": 4,
        "series_unique_id": "01GRXX1646J0WP80EEC1RDBHFC",
        "image_id": image_id,
        "real_time": [1_000_000, 100_000_000],
        "series_date": CBORTag(0, "2026-01-02T03:04:05Z"),
        "start_time": [0, 100_000_000],
        "user_data": None,
        "data": {"threshold_1": raw()} if data is None else data,
    } | changes
    return {key: value for key, value in document.items() if value is not ...}


def wire(document):
    return memoryview(cbor2.dumps(CBORTag(55799, document)))


def outcome(decoder, view):
    """The messages with bytes for views, or the error."""
    try:
        return [(message.__class__, repr_of(message)) for message in decoder.decode([view], NOW)]
    except CodecError as error:
        return error.reason, str(error)


def repr_of(message):
    values = (getattr(message, name) for name in message.__struct_fields__)
    return repr([bytes(value) if isinstance(value, memoryview) else value for value in values])


def learnt(*documents):
    """A decoder that has had these images."""
    decoder = StreamV2Decoder("eiger")
    for document in documents:
        decoder.decode([wire(document)], NOW)
    return decoder


SERIES = {
    "raw": [image(n, real_time=[2**n, -n]) for n in range(40)],
    "packed": [image(n, {"a": packed(blob=bytes(n)), "b": packed(blob=bytes(9))}) for n in (1, 300, 70_000)],
    "positions": [image(n, user_data={"position": {"row": n / 3, "col": -n}}) for n in range(300)],
    "column-major": [image(n, {"a": raw(order=1040)}) for n in range(3)],
    "without a name": [image(n, series_unique_id=...) for n in range(3)],
    "an empty name": [image(n, series_unique_id="") for n in range(3)],
    "in tags": [image(CBORTag(1, n), data=CBORTag(7, {"a": raw()})) for n in range(3)],
    "more bytes": [image(n, spectrum=CBORTag(85, bytes(4 * n))) for n in range(300)],
}


@pytest.mark.parametrize("images", SERIES.values(), ids=SERIES)
def test_images_of_one_form_are_parsed_once(images, monkeypatch):
    decoder = learnt(images[0])
    wanted = [outcome(StreamV2Decoder("eiger"), wire(document)) for document in images]
    monkeypatch.setattr(cbor, "loads", None)
    assert [outcome(decoder, wire(document)) for document in images] == wanted
    assert all(isinstance(one, list) for one in wanted)


@pytest.mark.parametrize(
    "document",
    [
        image(2**63 - 1),
        image(2**63),
        image(-1),
        image(5.0),
        image(5, series_id=5),
        image(5, series_unique_id="another"),
        image(5, series_unique_id=...),
        image(5, {"other": raw()}),
        image(5, {"threshold_1": raw(PIXELS.T)}),
        image(5, {"threshold_1": raw(PIXELS.astype("<u4"), 70)}),
        image(5, {"threshold_1": CBORTag(40, [[2, 3], CBORTag(69, bytes(11))])}),
        image(5, {"threshold_1": CBORTag(40, [[2, 3], CBORTag(69, bytes(13))])}),
        image(5, {"threshold_1": packed()}),
        image(5, {"threshold_1": packed(name="bszip")}),
        image(5, {}),
        image(5, type="end"),
        image(5, type="imagf"),
        image(5, user_data=[0] * 65536),
        image(5, user_data=float("nan")),
    ],
)
def test_other_messages_are_left_to_the_general_parser(document):
    assert outcome(learnt(image()), wire(document)) == outcome(StreamV2Decoder("eiger"), wire(document))


@given(
    data=st.data(),
    learnt_data=st.sampled_from([{"a": raw()}, {"a": packed()}, {"a": packed(), "b": raw()}, {"a": raw(order=1040)}]),
    changes=st.fixed_dictionaries(
        {}, optional={"image_id": NUMBERS, "user_data": ANYTHING, "real_time": ANYTHING, "series_unique_id": ANYTHING}
    ),
)
def test_whatever_comes_has_the_outcome_that_it_had_without_forms(data, learnt_data, changes):
    document = image(7, learnt_data)
    view = data.draw(damaged(wire(document | changes)))
    assert outcome(learnt(document), view) == outcome(StreamV2Decoder("eiger"), view)


def test_byte_strings_beside_the_pixels_are_not_taken_for_them():
    """The element size of "lz4" is not looked at, so it may be anything."""
    array = CBORTag(40, [[2, 3], CBORTag(69, CBORTag(56500, ["lz4", b"size", compress(PIXELS, Compression.LZ4_HDF5)]))])
    document = image(data={"a": array, "b": raw()})
    assert outcome(learnt(document), wire(document)) == outcome(StreamV2Decoder("eiger"), wire(document))


def test_the_next_series_is_learnt_anew(monkeypatch):
    decoder = StreamV2Decoder("eiger")
    uid = ""
    for uid in map(str, range(2 * MOST_FORMS)):
        for image_id in range(LEARN_EVERY):
            (frame,) = decoder.decode([wire(image(image_id, series_unique_id=uid))], NOW)
            assert isinstance(frame, Frame)
            assert (frame.series_uid, frame.image_id) == (uid, image_id)
    monkeypatch.setattr(cbor, "loads", None)
    (frame,) = decoder.decode([wire(image(3, series_unique_id=uid))], NOW)
    assert frame.series_uid == uid


def test_what_is_never_alike_is_seldom_learnt(monkeypatch):
    """Learning takes as long as to parse a few dozen images."""
    asked = []

    def asking(view, roles):
        asked.append(view)
        raise Unlearnable

    monkeypatch.setattr(stream_v2_forms, "learn", asking)
    monkeypatch.setattr(stream_v2_forms.ImageForms, "read", lambda *_: None)
    decoder = StreamV2Decoder("eiger")
    for image_id in range(20 * LEARN_EVERY):
        decoder.decode([wire(image(image_id))], NOW)
    assert MOST_FORMS <= len(asked) <= 20 + MOST_FORMS


def test_a_form_keeps_no_message_alive():
    decoder = StreamV2Decoder("eiger")
    message = bytearray(wire(image(user_data=[b"bytes"])))
    decoder.decode([memoryview(message)], NOW)
    decoder.decode([memoryview(message)], NOW)
    message.clear()  # refused while a view of it is held


def test_what_was_learnt_of_past_series_is_not_kept():
    def take(series: range) -> None:
        decoder = StreamV2Decoder("eiger")
        for uid in map(str, series):
            for image_id in range(LEARN_EVERY):
                decoder.decode([wire(image(image_id, series_unique_id=uid))], NOW)

    take(range(10))
    tracemalloc.start()
    try:
        take(range(10, 60))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 50_000  # an expression takes some 10 kB
