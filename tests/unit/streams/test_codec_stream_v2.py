"""Stream V2: what detectors send and what else the format allows, written by cbor2."""

import struct

import bitshuffle
import cbor2
import msgspec
import numpy as np
import pytest
from cbor2 import CBORTag
from dectris.compression import decompress as dectris_decompress

from streams.codecs.compression import compress, read_array
from streams.codecs.stream_v2 import StreamV2Decoder
from streams.codecs.stream_v2_encoder import StreamV2Encoder
from streams.messages import Acquisition, CodecError, Compression, Frame, SeriesEnd, SeriesStart
from tests.decoded import pixels

NOW = 1_700_000_000_000_000_000
IMAGE = (np.arange(96 * 160) % 60_000).astype("<u2").reshape(96, 160)
UID = "01GRXX1646J0WP80EEC1RDBHFC"
START = {
    "type": "start",
    "arm_date": CBORTag(0, "2026-01-02T03:04:05.678+01:00"),
    "beam_center_x": 80.0,
    "channels": ["threshold_1", "difference"],
    "countrate_correction_lookup_table": CBORTag(85, bytes(4000)),
    "detector_translation": [0.0, 0.0, -0.5],
    "flatfield": {"threshold_1": CBORTag(40, [[96, 160], CBORTag(85, bytes(96 * 160 * 4))])},
    "goniometer": {"omega": {"increment": 0.1, "start": 0}},
    "image_dtype": "uint16",
    "image_size_x": 160,
    "image_size_y": 96,
    "number_of_images": 7,
    "series_id": 4,
    "series_unique_id": UID,
    "threshold_energy": {"threshold_1": 4000.0},
    "user_data": {"scan": {"axes": ["row", "col"]}},
}


def mda(typed, shape=(96, 160), tag=40):
    return CBORTag(tag, [list(shape), typed])


def packed(array=IMAGE, tag=69, name="bslz4", size=2, blob=None):
    blob = compress(array, Compression.BSLZ4) if blob is None else blob
    return CBORTag(tag, CBORTag(56500, [name, size, blob]))


def image(data=None, **changes):
    return {
        "type": "image",
        "data": {"threshold_1": mda(packed())} if data is None else data,
        "image_id": 5,
        "real_time": [1_000_000, 100_000_000],
        "series_date": CBORTag(0, "2026-01-02T03:04:05Z"),
        "series_id": 4,
        "series_unique_id": UID,
        "start_time": [0, 100_000_000],
        "stop_time": [1_000_000, 100_000_000],
        "user_data": None,
        **changes,
    }


def wire(document, magic=True):
    return [cbor2.dumps(CBORTag(55799, document) if magic else document)]


def without(document, key):
    return {name: value for name, value in document.items() if name != key}


def refused(parts, decoder=None):
    with pytest.raises(CodecError) as caught:
        (decoder or StreamV2Decoder("eiger")).decode(parts, NOW)
    return caught.value.reason


@pytest.fixture
def decoder():
    return StreamV2Decoder("eiger")


@pytest.mark.parametrize("magic", [True, False])
def test_start(decoder, magic):
    (start,) = decoder.decode(wire(START, magic), NOW)
    assert isinstance(start, SeriesStart)
    assert (start.source, start.series_uid, start.series_id, start.expected) == ("eiger", UID, 4, 7)
    assert (start.channels, start.shape, start.dtype) == (("threshold_1", "difference"), (96, 160), "uint16")
    assert start.user_data == {"scan": {"axes": ["row", "col"]}}
    assert start.header["arm_date"] == "2026-01-02T03:04:05.678+01:00"
    assert start.header["goniometer"] == {"omega": {"increment": 0.1, "start": 0}}
    assert start.header["flatfield"] == {}  # arrays do not travel
    assert set(start.flatfield) == {"threshold_1"} and start.pixel_mask == {}
    assert not {"user_data", "countrate_correction_lookup_table"} & set(start.header)


def test_start_with_only_what_is_needed(decoder):
    assert decoder.decode(wire({"type": "start", "series_id": 4, "series_unique_id": UID}), NOW) == [
        SeriesStart("eiger", UID, 4, None, (), None, None, {"type": "start", "series_id": 4, "series_unique_id": UID})
    ]


def f32(values):
    return np.asarray(values, "<f4").tobytes()


FLATFIELD = np.linspace(0.5, 1.5, 96 * 160, dtype="<f4").reshape(96, 160)
MASK = (np.arange(96 * 160) % 3 == 0).astype("<u4").reshape(96, 160)


@pytest.mark.parametrize("name", ["bslz4", "lz4", "bszstd", None])
def test_masks_and_flat_fields_by_channel(decoder, name):
    """Header detail "all"; they may be compressed like images."""
    ways = {"bslz4": Compression.BSLZ4, "lz4": Compression.LZ4_HDF5, "bszstd": Compression.BSZSTD}

    def array(values, tag):
        if name is None:
            return mda(CBORTag(tag, values.tobytes()))
        return mda(packed(tag=tag, name=name, size=0 if name == "lz4" else 4, blob=compress(values, ways[name])))

    arrays = {
        "pixel_mask": {"threshold_1": array(MASK, 70), "difference": array(1 - MASK, 70)},
        "flatfield": {"threshold_1": array(FLATFIELD.view("<u4"), 85)},
    }
    (start,) = decoder.decode(wire({**START, **arrays}), NOW)
    np.testing.assert_array_equal(read_array(start.pixel_mask["threshold_1"]), MASK, strict=True)
    np.testing.assert_array_equal(read_array(start.pixel_mask["difference"]), 1 - MASK, strict=True)
    np.testing.assert_array_equal(read_array(start.flatfield["threshold_1"]), FLATFIELD, strict=True)
    assert set(start.flatfield) == {"threshold_1"} and "not_read" not in start.header


READ = {64: "|u1", 65: ">u2", 66: ">u4", 68: "|u1", 69: "<u2", 70: "<u4", 72: "|i1", 73: ">i2", 74: ">i4"}
READ |= {77: "<i2", 78: "<i4", 80: ">f2", 81: ">f4", 84: "<f2", 85: "<f4"}


@pytest.mark.parametrize("tag", [*range(64, 76), *range(77, 88)])
def test_header_arrays_of_every_type_are_read_or_refused(decoder, tag):
    """RFC 8746, 2.1; those of 64 bits and more are in no detector's header."""
    values = np.arange(6).reshape(2, 3).astype(READ.get(tag, "<u8"))
    document = {**START, "pixel_mask": {"threshold_1": mda(CBORTag(tag, values.tobytes()), (2, 3))}}
    (start,) = decoder.decode(wire(document), NOW)
    if tag in READ:
        found = read_array(start.pixel_mask["threshold_1"])
        np.testing.assert_array_equal(found, values)
        assert found.dtype == np.dtype(READ[tag]).newbyteorder("=")
    else:
        assert start.pixel_mask == {}
        assert start.header["not_read"]["pixel_mask/threshold_1"].startswith("unsupported")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (CBORTag(40, 5), "malformed"),
        (mda(packed(name="trpx", tag=70, size=4)), "unsupported"),
        (mda(CBORTag(70, b"short")), "truncated"),
        (mda(CBORTag(76, bytes(8)), (2, 4)), "unsupported"),
        (mda(CBORTag(70, bytes(32)), (2, 2, 2)), "unsupported"),
        (mda(CBORTag(70, bytes(4)), (2**40, 2**40)), "too_large"),
        ("mask", "malformed"),
    ],
)
def test_a_mask_that_cannot_be_read_leaves_the_series_alone(decoder, array, reason):
    (start,) = decoder.decode(wire({**START, "pixel_mask": {"difference": array}}), NOW)
    assert (start.expected, start.pixel_mask, set(start.flatfield)) == (7, {}, {"threshold_1"})
    assert start.header["not_read"]["pixel_mask/difference"].startswith(reason)
    (start,) = decoder.decode(wire({**START, "pixel_mask": array, "flatfield": None}), NOW)
    assert start.pixel_mask == start.flatfield == {}


def test_a_compressed_mask_that_does_not_hold_what_it_says(decoder):
    blob = compress(MASK, Compression.BSLZ4)[:-5]
    document = {**START, "pixel_mask": {"threshold_1": mda(packed(tag=70, size=4, blob=blob))}}
    (start,) = decoder.decode(wire(document), NOW)
    with pytest.raises(CodecError, match="malformed"):
        read_array(start.pixel_mask["threshold_1"])


def test_the_superset_of_jungfraujoch(decoder):
    """Spots and more beside the images, calibration messages; what is not ours is skipped."""
    calibration = {"type": "calibration", "data": {"pedestal_G0": mda(CBORTag(69, IMAGE.tobytes()))}}
    assert decoder.decode(wire(calibration), NOW) == []
    extras = {
        "spots": [{"x": 1.5, "y": 2.5, "I": 100.0, "indexed": True}] * 500,
        "az_int_profile": CBORTag(85, f32(range(100))),
        "indexing_result": False,
        "bkg_estimate": 1.25,
        "data_collection_efficiency": 1.0,
    }
    data = {"default": mda(packed(name="bszstd", blob=compress(IMAGE, Compression.BSZSTD)))}
    (frame,) = decoder.decode(wire(image(data, **extras)), NOW)
    np.testing.assert_array_equal(pixels(frame), IMAGE)
    (start,) = decoder.decode(wire({**START, "unit_cell": {"a": 79.0}, "gain_file_names": ["a.bin"]}), NOW)
    assert start.header["unit_cell"] == {"a": 79.0}


@pytest.mark.parametrize("magic", [True, False])
def test_image(decoder, magic):
    user_data = {"position": {"row": 1.5, "col": np.float32(0.1).item()}}
    (frame,) = decoder.decode(wire(image(user_data=user_data), magic), NOW)
    assert isinstance(frame, Frame)
    assert frame.key == ("eiger", UID, 5, "threshold_1")
    assert (frame.shape, frame.dtype, frame.compression) == ((96, 160), "<u2", Compression.BSLZ4)
    assert frame.user_data == user_data
    np.testing.assert_array_equal(pixels(frame), IMAGE)


def test_channels_of_one_exposure_become_frames(decoder):
    other = IMAGE[::-1].astype("<u4")
    data = {"threshold_1": mda(packed()), "difference": mda(packed(other, tag=70, size=4))}
    first, second = decoder.decode(wire(image(data)), NOW)
    assert (first.channel, second.channel) == ("threshold_1", "difference")
    assert first.image_id == second.image_id == 5
    np.testing.assert_array_equal(pixels(first), IMAGE)
    np.testing.assert_array_equal(pixels(second), other)


def test_an_exposure_without_channels(decoder):
    assert decoder.decode(wire(image({})), NOW) == []


@pytest.mark.parametrize(
    ("tag", "dtype"),
    [
        (64, "|u1"), (65, ">u2"), (66, ">u4"), (68, "|u1"), (69, "<u2"), (70, "<u4"),
        (72, "|i1"), (73, ">i2"), (74, ">i4"), (77, "<i2"), (78, "<i4"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("raw", [True, False])
def test_typed_arrays(decoder, tag, dtype, raw):
    array = (IMAGE % 100).astype(dtype)
    typed = CBORTag(tag, array.tobytes()) if raw else packed(array, tag, size=array.itemsize)
    (frame,) = decoder.decode(wire(image({"threshold_1": mda(typed)})), NOW)
    assert frame.dtype == dtype
    np.testing.assert_array_equal(pixels(frame), array)


@pytest.mark.parametrize("tag", [67, 71, 75, 76, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 63])
def test_typed_arrays_that_are_no_counts(tag):
    assert refused(wire(image({"threshold_1": mda(CBORTag(tag, bytes(96 * 160 * 8)))}))) == "unsupported"


@pytest.mark.parametrize(
    ("name", "size", "compression"),
    [("bslz4", 2, Compression.BSLZ4), ("lz4", 0, Compression.LZ4_HDF5), ("bszstd", 2, Compression.BSZSTD)],
)
def test_compressions(decoder, name, size, compression):
    typed = packed(name=name, size=size, blob=compress(IMAGE, compression))
    (frame,) = decoder.decode(wire(image({"threshold_1": mda(typed)})), NOW)
    assert frame.compression is compression  # "lz4" is not the "lz4<" of SIMPLON v1
    np.testing.assert_array_equal(pixels(frame), IMAGE)


def test_leftover_elements_after_whole_blocks(decoder):
    array = IMAGE.ravel()[: 37 * 53].reshape(37, 53)
    blob = struct.pack(">QI", array.nbytes, 8192) + bitshuffle.compress_lz4(array.ravel(), 4096).tobytes()
    (frame,) = decoder.decode(wire(image({"threshold_1": mda(packed(blob=blob), (37, 53))})), NOW)
    np.testing.assert_array_equal(pixels(frame), array)


def test_column_major(decoder):
    typed = packed(np.ascontiguousarray(IMAGE.T))
    (frame,) = decoder.decode(wire(image({"threshold_1": mda(typed, tag=1040)})), NOW)
    assert frame.strides == (2, 2 * IMAGE.shape[0])
    np.testing.assert_array_equal(pixels(frame), IMAGE)


def test_pixels_are_views_into_the_message(decoder):
    (message,) = wire(image())
    (frame,) = decoder.decode([memoryview(message)], NOW)
    assert isinstance(frame.blob, memoryview) and frame.blob.obj is message


def test_end(decoder):
    assert decoder.decode(wire({"type": "end", "series_id": 4, "series_unique_id": UID}), NOW) == [
        SeriesEnd("eiger", UID, 4)
    ]


def test_a_series_without_unique_id_is_named_by_its_date(decoder):
    (start,) = decoder.decode(wire(without(START, "series_unique_id")), NOW)
    assert start.series_uid == "2026-01-02T03:04:05.678+01:00_4"
    (frame,) = decoder.decode(wire(without(image(), "series_unique_id")), NOW + 1)
    (end,) = decoder.decode(wire({"type": "end", "series_id": 4}), NOW + 2)
    assert start.series_uid == frame.series_uid == end.series_uid


def test_joined_late_without_unique_id(decoder):
    frames = [decoder.decode(wire(without(image(), "series_unique_id")), NOW + n)[0] for n in range(2)]
    assert [frame.series_uid for frame in frames] == [f"{NOW}_4"] * 2


def test_numbers_of_every_width_and_keys_of_the_future(decoder):
    document = image(user_data={"position": {"row": 1.5, "col": -2}}, more={"x": [1, {"y": CBORTag(1234, None)}]})
    message = b"\xd9\xd9\xf7" + cbor2.dumps(document, canonical=True)  # sorted keys, shortest floats
    (frame,) = decoder.decode([message], NOW)
    assert frame.user_data == {"position": {"row": 1.5, "col": -2}}
    wide = message.replace(b"\x68image_id\x05", b"\x68image_id\x1b" + struct.pack(">Q", 5))
    assert wide != message and decoder.decode([wide], NOW)[0].image_id == 5


def test_tags_on_plain_values_are_skipped(decoder):
    (frame,) = decoder.decode(wire(image(image_id=CBORTag(4321, 6))), NOW)
    assert frame.image_id == 6


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"t": mda(packed(name="trpx"))}, "unsupported"),
        ({"t": mda(packed(size=4))}, "unsupported"),
        ({"t": mda(packed(size="2"))}, "unsupported"),
        ({"t": mda(packed(), (96, 160, 1))}, "unsupported"),
        ({"t": mda(packed(), (15360,))}, "unsupported"),
        ({"t": mda(packed(), (0, 160))}, "malformed"),
        ({"t": mda(packed(), (-96, -160))}, "malformed"),
        ({"t": mda(packed(), (96.0, 160))}, "malformed"),
        ({"t": mda(packed(), (2**40, 2**40))}, "too_large"),
        ({"t": mda(CBORTag(69, IMAGE.tobytes()[:-1]))}, "truncated"),
        ({"t": mda(CBORTag(69, IMAGE.tobytes() + b"x"))}, "malformed"),
        ({"t": mda(IMAGE.tobytes())}, "malformed"),
        ({"t": packed()}, "malformed"),
        ({"t": CBORTag(40, 5)}, "malformed"),
        ({"t": CBORTag(40, [])}, "malformed"),
        ({"t": mda(CBORTag(69, 5))}, "malformed"),
        ({"t": mda(CBORTag(69, CBORTag(56500, ["bslz4", 2])))}, "malformed"),
        ({"t": mda(CBORTag(69, CBORTag(56500, [2, "bslz4", b""])))}, "malformed"),
        ({"t": None}, "malformed"),
        ({"": mda(packed())}, "malformed"),
        ({5: mda(packed())}, "malformed"),
        ({"t" * 201: mda(packed())}, "malformed"),
        ({f"t{n}": mda(CBORTag(64, b"ab"), (1, 2)) for n in range(65)}, "malformed"),
        ([], "malformed"),
        (5, "malformed"),
    ],
)
def test_data_that_is_no_image(data, reason):
    assert refused(wire(image(data))) == reason


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([], "malformed"),
        (wire(image()) * 2, "malformed"),
        ([b""], "truncated"),
        ([wire(image())[0][:-1]], "truncated"),
        ([wire(image())[0] + b"x"], "malformed"),
        (wire([1, 2]), "malformed"),
        (wire({"type": "metadata"}), "unsupported"),
        (wire({"type": 5}), "unsupported"),
        (wire({}), "unsupported"),
        (wire(without(image(), "image_id")), "malformed"),
        (wire(without(image(), "series_id")), "malformed"),
        (wire(without(image(), "data")), "malformed"),
        (wire(image(image_id=-1)), "malformed"),
        (wire(image(image_id=2**63)), "malformed"),
        (wire(image(image_id=True)), "malformed"),
        (wire(image(series_id=1.0)), "malformed"),
        (wire(image(series_unique_id=5)), "malformed"),
        (wire(image(series_unique_id="u" * 201)), "malformed"),
        (wire({**START, "channels": "all"}), "malformed"),
        (wire({**START, "channels": [1]}), "malformed"),
        (wire({**START, "number_of_images": "many"}), "malformed"),
        (wire({"type": "end"}), "malformed"),
        (wire({"type": "end", "series_id": 77}), "unknown_series"),
    ],
)
def test_messages_that_are_none(parts, reason):
    assert refused(parts) == reason


ACQUISITION = Acquisition(
    4, UID, "2026-01-02T03:04:05Z", 7, (96, 160), "uint16", channels=("threshold_1",), user_data={"scan": 1}
)


def test_encoder_sends_the_magic_first_and_the_type_next():
    encoder = StreamV2Encoder(ACQUISITION)
    for parts, kind in (
        (encoder.start()[0], "start"),
        (encoder.image(0, {"threshold_1": IMAGE}), "image"),
        (encoder.end()[0], "end"),
    ):
        assert len(parts) == 1 and bytes(parts[0][:3]) == b"\xd9\xd9\xf7"
        document = cbor2.loads(parts[0])
        assert next(iter(document.items())) == ("type", kind)
        assert (document["series_id"], document["series_unique_id"]) == (4, UID)


@pytest.mark.parametrize("detail", ["none", "basic", "all"])
@pytest.mark.parametrize("compression", [Compression.NONE, Compression.BSLZ4, Compression.LZ4_HDF5])
def test_encoder_sends_masks_and_flat_fields_with_header_detail_all(decoder, detail, compression):
    channels = ("threshold_1", "difference")
    acquisition = msgspec.structs.replace(ACQUISITION, channels=channels, compression=compression, header_detail=detail)
    ((part,),) = StreamV2Encoder(acquisition).start()
    (start,) = decoder.decode([part], NOW)
    there = {"threshold_1", "difference"} if detail == "all" else set()
    assert set(start.pixel_mask) == set(start.flatfield) == there
    assert ("countrate_correction_lookup_table" in cbor2.loads(part)) == bool(there)
    for arrays, value, dtype in ((start.pixel_mask, 0, "uint32"), (start.flatfield, 1, "float32")):
        for array in arrays.values():
            found = read_array(array)
            assert (found.shape, found.dtype) == ((96, 160), dtype) and (found == value).all()


@pytest.mark.parametrize(
    ("compression", "name", "size"),
    [(Compression.BSLZ4, "bslz4", 2), (Compression.LZ4_HDF5, "lz4", 0), (Compression.BSZSTD, "bszstd", 2)],
)
def test_cbor2_and_the_vendors_decoder_read_what_the_encoder_writes(compression, name, size):
    acquisition = Acquisition(4, UID, "2026-01-02T03:04:05Z", 7, (96, 160), "uint16", compression=compression)
    (message,) = StreamV2Encoder(acquisition).image(3, {"image": IMAGE.astype(">u2")}, {"position": {"row": 0.5}})
    document = cbor2.loads(message)
    assert (document["image_id"], document["user_data"]) == (3, {"position": {"row": 0.5}})
    array = document["data"]["image"]
    assert array.tag == 40 and list(array.value[0]) == [96, 160] and array.value[1].tag == 69
    inner = array.value[1].value
    assert inner.tag == 56500 and list(inner.value[:2]) == [name, size]
    assert dectris_decompress(inner.value[2], name, elem_size=2) == IMAGE.tobytes()


@pytest.mark.parametrize("changes", [{"dtype": "int32"}, {"compression": Compression.LZ4_BLOCK}])
def test_encoder_refuses_what_the_protocol_cannot_say(changes):
    fields = {"series_id": 4, "series_uid": "u", "arm_date": "2026", "images": 3, "shape": (96, 160), "dtype": "uint16"}
    with pytest.raises(ValueError, match="stream-v2"):
        StreamV2Encoder(Acquisition(**{**fields, **changes}))


@pytest.mark.parametrize(
    "images", [{"threshold_1": IMAGE.T}, {"threshold_1": IMAGE.astype("u4")}, {"image": IMAGE}, {}]
)
def test_encoder_refuses_images_of_another_series(images):
    with pytest.raises(ValueError, match="in a series of"):
        StreamV2Encoder(ACQUISITION).image(0, images)
