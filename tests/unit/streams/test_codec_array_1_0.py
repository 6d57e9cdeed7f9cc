"""array-1.0: what PSI's senders and areaDetector's ZeroMQ plugin really send, as byte vectors."""

import json
import struct

import bitshuffle
import lz4.block
import numpy as np
import pytest

from streams.codecs.array_1_0 import EPICS_EPOCH_S, ArrayDecoder
from streams.codecs.array_1_0_encoder import ArrayEncoder
from streams.codecs.compression import compress
from streams.codecs.options import OptionError
from streams.messages import Acquisition, CodecError, Compression, Frame, SeriesStart
from tests.decoded import pixels

NOW = 1_700_000_000_000_000_000
IMAGE = (np.arange(96 * 160) % 251).astype("<u2").reshape(96, 160)  # 160 wide, 96 high
SHUFFLED = bitshuffle.compress_lz4(IMAGE.ravel(), 4096).tobytes()
TAKEN = 1_000_000_000.5  # since 1990
JUNK = bytes(range(256)) * 200


def header(**changes):
    fields = {
        "htype": "array-1.0",
        "shape": [96, 160],
        "type": "uint16",
        "frame": 5,
        "timeStamp": TAKEN,
        "encoding": "",
        "ndattr": {"Temperature": 21.5, "ColorMode": 0, "Mode": "fast"},
    }
    return json.dumps({**fields, **changes}).encode()


def image(blob=None, **changes):
    return [header(**changes), IMAGE.tobytes() if blob is None else blob]


def refused(parts, decoder=None):
    with pytest.raises(CodecError) as caught:
        (decoder or ArrayDecoder("ad")).decode(parts, NOW)
    return caught.value.reason


@pytest.fixture
def decoder():
    return ArrayDecoder("ad")


def test_an_image_and_the_series_that_it_opens(decoder):
    start, frame = decoder.decode(image(), NOW)
    assert start == SeriesStart("ad", f"{NOW}_5", 1_700_000_000, None, ("image",), (96, 160), "uint16", first_image=5)
    assert frame.key == ("ad", start.series_uid, 5, "image")
    assert frame.user_data == {
        "timestamp": TAKEN + EPICS_EPOCH_S,  # the plugin counts from 1990
        "ndattr": {"Temperature": 21.5, "ColorMode": 0, "Mode": "fast"},
    }
    np.testing.assert_array_equal(pixels(frame), IMAGE)
    assert len(decoder.decode(image(frame=6, timeStamp=TAKEN + 1), NOW + 1)) == 1


def test_pixels_are_views_into_the_message(decoder):
    for encoding, blob in (("", IMAGE.tobytes()), ("lz4", PLAIN_LZ4 + JUNK[: IMAGE.nbytes - len(PLAIN_LZ4)])):
        parts = image(blob, encoding=encoding)
        assert decoder.decode(parts, NOW)[-1].blob.obj is parts[1]


def test_the_list_htype_of_older_plugins_comes_with_x_y_z(decoder):
    frame = decoder.decode(image(htype=["array-1.0"], shape=[160, 96]), NOW)[-1]
    np.testing.assert_array_equal(pixels(frame), IMAGE)
    frame = decoder.decode(image(htype=["array-1.0"], shape=[160, 96, 1]), NOW)[-1]
    assert frame.shape == (96, 160)


def test_a_stack_of_one_image_is_that_image(decoder):
    assert decoder.decode(image(shape=[1, 96, 160]), NOW)[-1].shape == (96, 160)


@pytest.mark.parametrize("key", ["endianness", "endianess"])  # the specification's example spells it so
def test_big_endian_in_either_spelling(decoder, key):
    frame = decoder.decode(image(IMAGE.astype(">u2").tobytes(), **{key: "big"}), NOW)[-1]
    assert frame.dtype == ">u2"
    np.testing.assert_array_equal(pixels(frame), IMAGE)
    assert refused(image(**{key: "middle"})) == "malformed"


@pytest.mark.parametrize("name", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
def test_pixel_types(decoder, name):
    values = (IMAGE % 100).astype(name)
    frame = decoder.decode(image(values.tobytes(), type=name), NOW)[-1]
    np.testing.assert_array_equal(pixels(frame), values, strict=True)


@pytest.mark.parametrize("name", ["uint64", "int64", "float16", "float32", "float64", "object", "bool"])
def test_types_that_are_no_counts_are_refused(name):
    assert refused(image(type=name)) == "unsupported"


PLAIN_LZ4 = lz4.block.compress(IMAGE.tobytes(), store_size=False)
HDF5_LZ4 = compress(IMAGE, Compression.LZ4_HDF5)


@pytest.mark.parametrize(
    ("encoding", "blob", "compression"),
    [
        ("lz4", PLAIN_LZ4, Compression.LZ4_BLOCK),
        ("lz4hdf5", HDF5_LZ4, Compression.LZ4_HDF5),
        ("bslz4", SHUFFLED, Compression.BSLZ4_BARE),  # areaDetector strips the header of 12 bytes
        ("bslz4", struct.pack(">QI", IMAGE.nbytes, 8192) + SHUFFLED, Compression.BSLZ4),
    ],
)
def test_encodings_with_and_without_trailing_bytes(decoder, encoding, blob, compression):
    """The plugin sends as many bytes as the image has uncompressed; those behind the compressed ones mean nothing."""
    for sent in (blob, blob + JUNK[: IMAGE.nbytes - len(blob)]):
        frame = decoder.decode(image(sent, encoding=encoding), NOW)[-1]
        assert frame.compression is compression
        np.testing.assert_array_equal(pixels(frame), IMAGE)


@pytest.mark.parametrize("shape", [(5, 7), (30, 35), (206, 213)])
def test_trailing_bytes_behind_a_number_of_pixels_that_is_no_multiple_of_eight(decoder, shape):
    """As an EIGER 1M has."""
    values = (np.arange(shape[0] * shape[1]) % 251).astype("<u2").reshape(shape)
    blob = compress(values, Compression.BSLZ4_BARE)
    sent = blob + JUNK[: max(0, values.nbytes - len(blob))] + b"more"
    frame = decoder.decode(image(sent, encoding="bslz4", shape=shape), NOW)[-1]
    np.testing.assert_array_equal(pixels(frame), values)


@pytest.mark.parametrize("encoding", ["jpeg", "blosc", "x" * 100])
def test_encodings_that_are_for_viewers(encoding):
    assert refused(image(encoding=encoding)) == "unsupported"


def test_junk_behind_a_raw_block_that_cannot_be_told_apart_fails_when_decoded(decoder):
    frame = decoder.decode(image(JUNK[: IMAGE.nbytes], encoding="lz4"), NOW)[-1]
    with pytest.raises(CodecError):
        pixels(frame)


def raw_header(ndattr, head=b""):
    """A header as the plugin's print statements write it."""
    return [
        b'{"htype":["array-1.0"], "type":"uint16", "shape":[160,96], "frame":7, ' + head + b'"timeStamp":1000000000.5, '
        b'"encoding":"", "ndattr":' + ndattr + b"}",
        IMAGE.tobytes(),
    ]


@pytest.mark.parametrize(
    ("ndattr", "found"),
    [
        (b'{"X":1.5,"Y":-2}', {"X": 1.5, "Y": -2}),
        (b"{}", {}),
        (b'{"X":nan,"Y":2}', {"Y": 2}),
        (b'{"X":-nan,"Y":inf,"Z":-inf,"A":1e-3}', {"A": 1e-3}),
        (b'{"X":Undefined,"Y":2}', {"Y": 2}),
        (b'{"X":"Undefined","Y":2}', {"X": "Undefined", "Y": 2}),
        (b'{,"Y":2}', {"Y": 2}),  # an undefined attribute, of which only the comma is written
        (b'{"X":1,,"Y":2}', {"X": 1, "Y": 2}),
        (b'{"X":\x05,"Y":2}', {"Y": 2}),  # an 8-bit number is written as a character
        (b'{"File":"say "cheese"","Y":2}', {"Y": 2}),
        (b'{"Path":"C:\\data\\run","Y":2}', {"Y": 2}),
        (b'{"Text":"two\nlines","Y":2}', {"Text": "two\nlines", "Y": 2}),
        (b'{"Units":"\xb5m","Y":2}', {"Units": "\N{REPLACEMENT CHARACTER}m", "Y": 2}),  # Latin-1
    ],
)
def test_attributes_as_the_plugin_writes_them(decoder, ndattr, found):
    frame = decoder.decode(raw_header(ndattr), NOW)[-1]
    assert (frame.image_id, frame.shape, frame.user_data["ndattr"]) == (7, (96, 160), found)


def test_a_position_among_the_attributes(decoder):
    frame = decoder.decode(image(ndattr={"position.row": 1.5, "position.col": 2}), NOW)[-1]
    assert frame.user_data["position"] == {"row": 1.5, "col": 2}


def test_a_time_that_is_not_finite_is_no_time(decoder):
    parts = [raw_header(b"{}")[0].replace(b"1000000000.5", b"-nan"), IMAGE.tobytes()]
    assert decoder.decode(parts, NOW)[-1].user_data["timestamp"] is None


def test_the_control_message_stop_is_no_error(decoder):
    assert decoder.decode([b"STOP"], NOW) == []
    assert refused([b"HALT"]) == "malformed"


def starts(decoder, images):
    """Which of the (frame, time) images open a series."""
    found = []
    for at, (number, taken) in enumerate(images):
        decoded = decoder.decode(image(frame=number, timeStamp=taken), NOW + at)
        found.append(isinstance(decoded[0], SeriesStart))
        assert isinstance(decoded[-1], Frame)
    return found


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([(0, 1.0), (1, 2.0), (5, 3.0)], [True, False, False]),  # a gap
        ([(0, 1.0), (1, 2.0), (1, 2.0), (0, 1.0)], [True, False, False, False]),  # repeated
        ([(0, 1.0), (2, 3.0), (1, 2.0)], [True, False, False]),  # overtaken
        ([(0, 1.0), (1, 2.0), (0, 3.0), (1, 4.0)], [True, False, True, False]),  # begun anew
        ([(0, 1.0), (0, 2.0)], [True, True]),  # a counter that was reset after its first image
        ([(4, 1.0), (4, 1.0)], [True, False]),
        ([(0, 1.0), (9, 10.0), (0, 3.0), (1, 4.0)], [True, False, True, False]),  # the same first image, taken later
        ([(0, None), (1, None), (0, None)], [True, False, False]),  # no telling
        ([(0, None), (500, None), (436, None), (435, None)], [True, False, False, True]),
        ([(0, 0.0), (500, 0.0), (0, 0.0)], [True, False, True]),  # times that are none
        ([(500, 2.0), (1, 1.0)], [True, False]),  # an old image that comes twice, or late
    ],
)
def test_what_opens_a_series_anew(decoder, images, expected):
    assert starts(decoder, images) == expected


def test_images_left_over_from_before_a_restart_stay_with_their_series(decoder):
    """They were taken before the first of the present series, and yet have no lower id."""
    sent = [(0, 1.0), (20, 21.0), (0, 50.0), (21, 22.0), (1, 51.0), (22, 23.0), (2, 52.0)]
    decoded = [decoder.decode(image(frame=n, timeStamp=at), NOW + k) for k, (n, at) in enumerate(sent)]
    assert [len(each) for each in decoded] == [2, 1, 2, 1, 1, 1, 1]
    before, after = decoded[0][0].series_uid, decoded[2][0].series_uid
    assert [each[-1].series_uid for each in decoded] == [before, before, after, before, after, before, after]


def test_images_left_over_from_a_series_that_the_ledger_closed_stay_with_it(decoder):
    start, _ = decoder.decode(image(frame=5, timeStamp=5.0), NOW)
    decoder.closed(start.series_uid)
    decoder.decode(image(frame=0, timeStamp=50.0), NOW + 1)
    (late,) = decoder.decode(image(frame=6, timeStamp=6.0), NOW + 2)
    assert late.series_uid == start.series_uid


def test_two_series_never_have_one_name(decoder):
    first = decoder.decode(image(frame=0, timeStamp=1.0), NOW)[0]
    second = decoder.decode(image(frame=0, timeStamp=2.0), NOW)[0]
    assert first.series_uid != second.series_uid


def test_after_the_ledger_closed_the_series_the_next_image_opens_another(decoder):
    start, _ = decoder.decode(image(frame=5), NOW)
    decoder.closed(start.series_uid)
    again, frame = decoder.decode(image(frame=6, timeStamp=TAKEN + 1), NOW + 1)
    assert frame.series_uid == again.series_uid != start.series_uid


def without(**fields):
    found = json.loads(header())
    for name in fields:
        del found[name]
    return [json.dumps(found).encode(), IMAGE.tobytes()]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([], "truncated"),
        ([header()], "malformed"),
        ([header(), b"", b""], "malformed"),
        ([b"", b""], "malformed"),
        ([b"[]", b""], "malformed"),
        ([b"{" * 5000, b""], "malformed"),
        ([rb'{"htype": "array-1.0", "\udc20": 1, "ndattr": {"a": nan}}', b""], "malformed"),
        ([b" " * (2**20 + 1), b""], "too_large"),
        (image(htype="chunk-1.0"), "unsupported"),
        (image(htype=[]), "unsupported"),
        (image(htype=5), "malformed"),
        (image(shape=[96]), "unsupported"),
        (image(shape=[3, 96, 160]), "unsupported"),
        (image(shape=[0, 160]), "malformed"),
        (image(shape=[-96, -160]), "malformed"),
        (image(shape=[2**40, 2**40]), "too_large"),
        (image(shape="96x160"), "malformed"),
        (image(frame=-1), "malformed"),
        (image(frame=2**63), "malformed"),
        (image(frame="5"), "malformed"),
        (image(IMAGE.tobytes()[:-1]), "truncated"),
        (image(IMAGE.tobytes() + b"x"), "malformed"),
        (without(htype=1), "malformed"),
        (without(shape=1), "malformed"),
        (without(type=1), "malformed"),
        (without(frame=1), "malformed"),
    ],
)
def test_messages_that_are_none(parts, reason):
    assert refused(parts) == reason


def test_it_has_no_options():
    with pytest.raises(OptionError, match="no options at all"):
        ArrayDecoder("ad", channel="x")


def acquisition(**changes):
    fields = {"series_id": 4, "series_uid": "u", "arm_date": "2026-01-02T03:04:05Z", "images": 3, "shape": (96, 160)}
    return Acquisition(**{**fields, "dtype": "uint16", "compression": Compression.BSLZ4, **changes})


def test_encoder_sends_what_the_plugin_sends():
    encoder = ArrayEncoder(acquisition())
    assert encoder.start() == encoder.end() == []
    head, blob = encoder.image(2, {"image": IMAGE}, {"position": {"row": 1.5}, "sample": "A", "deep": {"no": 1}})
    assert json.loads(head) == {
        "htype": "array-1.0",
        "type": "uint16",
        "shape": [96, 160],
        "frame": 2,
        "timeStamp": 1767323045.02 - EPICS_EPOCH_S,
        "encoding": "bslz4",
        "ndattr": {"position.row": 1.5, "sample": "A"},
    }
    assert blob == SHUFFLED


@pytest.mark.parametrize(
    "changes", [{"dtype": "float32"}, {"compression": Compression.BSZSTD}, {"channels": ("a", "b")}]
)
def test_encoder_refuses_what_the_protocol_cannot_say(changes):
    with pytest.raises(ValueError, match=r"array-1\.0"):
        ArrayEncoder(acquisition(**changes))
