"""SIMPLON stream V1: what detectors and their simulators really send, as byte vectors."""

import hashlib
import json
import struct

import lz4.block
import msgspec
import numpy as np
import pytest

from streams.codecs.compression import compress, read_array
from streams.codecs.options import OptionError
from streams.codecs.simplon_v1 import SimplonV1Decoder
from streams.codecs.simplon_v1_encoder import SimplonV1Encoder
from streams.messages import Acquisition, CodecError, Compression, Frame, SeriesEnd, SeriesStart
from tests.decoded import pixels

NOW = 1_700_000_000_000_000_000
IMAGE = (np.arange(96 * 160) % 60_000).astype("<u2").reshape(96, 160)  # 160 wide, 96 high
CONFIG = {
    "auto_summation": 1,  # firmware 1.6 sends numbers for booleans, and 1.8 true and false
    "flatfield_correction_applied": True,
    "bit_depth_image": 16,
    "data_collection_date": "2026-01-02T03:04:05.678",
    "nimages": 3,
    "ntrigger": 5,
    "trigger_mode": "ints",
    "x_pixels_in_detector": 160,
    "y_pixels_in_detector": 96,
    "detector_orientation": [-1, 0, 0, 0, 1, 0],
    "a_key_of_the_future": {"nested": [1, None]},
}
UID = "2026-01-02T03:04:05.678_4"


def as_json(**fields):
    return json.dumps(fields).encode()


def head(series=4, detail="basic"):
    return as_json(htype="dheader-1.0", series=series, header_detail=detail)


def config(**changes):
    return json.dumps({**CONFIG, **changes}).encode()


FLATFIELD = np.linspace(0.5, 1.5, 96 * 160, dtype="<f4").reshape(96, 160)
MASK = (np.arange(96 * 160) % 3 == 0).astype("<u4").reshape(96, 160)


def arrays():
    parts = []
    for htype, shape, values in (
        ("dflatfield-1.0", [160, 96], FLATFIELD),
        ("dpixelmask-1.0", [160, 96], MASK),
        ("dcountrate_table-1.0", [2, 1000], np.zeros((2, 1000), "<f4")),
    ):
        parts += [as_json(htype=htype, shape=shape, type=values.dtype.name), values.tobytes()]
    return parts


def image(image=IMAGE, encoding="<", frame=0, series=4, blob=None, **changes):
    blob = image.tobytes() if blob is None else blob
    claim = {
        "htype": "dimage_d-1.0",
        "shape": [image.shape[1], image.shape[0]],
        "type": image.dtype.newbyteorder("=").name,
        "encoding": encoding,
        "size": len(blob),
        **changes,
    }
    return [
        as_json(htype="dimage-1.0", series=series, frame=frame, hash="0" * 32),
        json.dumps(claim).encode(),
        blob,
        as_json(htype="dconfig-1.0", start_time=834759834759, stop_time=834759934759, real_time=100000),
    ]


def end(series=4):
    return [as_json(htype="dseries_end-1.0", series=series)]


def refused(parts, decoder=None):
    with pytest.raises(CodecError) as caught:
        (decoder or SimplonV1Decoder("eiger")).decode(parts, NOW)
    return caught.value.reason


@pytest.fixture
def decoder():
    return SimplonV1Decoder("eiger")


@pytest.mark.parametrize(
    ("parts", "user_data"),
    [
        ([head(), config()], None),  # 2 parts
        ([head(detail="all"), config(), *arrays()], None),  # 8 parts
        ([head(detail="all"), config(), *arrays(), b'{"scan": 1}'], {"scan": 1}),  # 9 parts
        ([head(detail="all"), config(), *arrays(), b"no JSON \xff"], "no JSON \N{REPLACEMENT CHARACTER}"),
        ([head(), config(), b'{"scan": 1}'], {"scan": 1}),  # not in the text, but seen
    ],
)
def test_global_header(decoder, parts, user_data):
    (start,) = decoder.decode(parts, NOW)
    assert msgspec.structs.replace(start, pixel_mask={}, flatfield={}) == SeriesStart(
        "eiger", UID, 4, 15, ("image",), (96, 160), "uint16", CONFIG, user_data
    )
    assert bool(start.pixel_mask) == bool(start.flatfield) == (len(parts) >= 8)


def test_pixel_mask_and_flat_field_of_a_detailed_header_are_views(decoder):
    parts = [head(detail="all"), config(), *arrays()]
    (start,) = decoder.decode(parts, NOW)
    np.testing.assert_array_equal(read_array(start.pixel_mask["image"]), MASK, strict=True)
    np.testing.assert_array_equal(read_array(start.flatfield["image"]), FLATFIELD, strict=True)
    assert start.flatfield["image"].blob is parts[3] and start.pixel_mask["image"].blob is parts[5]


@pytest.mark.parametrize(
    ("changes", "blob", "reason"),
    [
        ({"type": "float64"}, MASK.tobytes(), "unsupported"),
        ({"shape": [160, 97]}, MASK.tobytes(), "truncated"),
        ({"shape": [160, 95]}, MASK.tobytes(), "malformed"),
        ({"shape": [-160, -96]}, MASK.tobytes(), "malformed"),
        ({"shape": [2**20, 2**20]}, MASK.tobytes(), "too_large"),
    ],
)
def test_a_mask_that_is_none_leaves_the_series_alone(decoder, changes, blob, reason):
    claim = {"htype": "dpixelmask-1.0", "shape": [160, 96], "type": "uint32", **changes}
    (start,) = decoder.decode([head(detail="all"), config(), as_json(**claim), blob], NOW)
    with pytest.raises(CodecError) as caught:
        read_array(start.pixel_mask["image"])
    assert caught.value.reason == reason


@pytest.mark.parametrize("claim", [{"shape": [160]}, {"shape": "x"}, {"type": 5, "shape": [1, 1]}])
def test_a_mask_whose_header_is_none_is_no_mask(decoder, claim):
    parts = [head(detail="all"), config(), as_json(htype="dpixelmask-1.0", **claim), b""]
    assert decoder.decode(parts, NOW)[0].pixel_mask == {}


def test_a_hash_is_not_looked_at_unless_asked():
    """Replayed captures carry stale ones."""
    parts = image()
    assert len(SimplonV1Decoder("eiger").decode(parts, NOW)) == 1
    assert refused(parts, SimplonV1Decoder("eiger", verify_hash=True)) == "corrupt"
    claim = json.loads(parts[0])
    for digest in (hashlib.md5(parts[2]).hexdigest(), hashlib.md5(parts[2]).hexdigest().upper()):
        parts[0] = json.dumps({**claim, "hash": digest}).encode()
        assert len(SimplonV1Decoder("eiger", verify_hash=True).decode(parts, NOW)) == 1
    with pytest.raises(OptionError, match="there are: verify_hash"):
        SimplonV1Decoder("eiger", hash=True)


def test_images_that_overtook_their_header_are_of_its_series(decoder):
    (frame,) = decoder.decode(image(), NOW)
    (start,) = decoder.decode([head(), config()], NOW + 1_000_000)
    assert start.series_uid == frame.series_uid == f"{NOW}_4"
    assert decoder.decode(end(), NOW + 2_000_000)[0].series_uid == start.series_uid
    (again,) = decoder.decode([head(), config(data_collection_date="2026-01-02T03:05:00")], NOW + 3_000_000)
    assert again.series_uid == "2026-01-02T03:05:00_4"  # one header takes a name over, not two


def test_a_header_long_after_images_of_its_number_is_that_of_another_series(decoder):
    (frame,) = decoder.decode(image(), NOW)
    (start,) = decoder.decode([head(), config()], NOW + 6_000_000_000)
    assert start.series_uid == UID != frame.series_uid


def test_the_first_start_time_need_not_be_zero_and_booleans_may_be_numbers(decoder):
    """As in captures of real detectors, beside an image appendix of two bytes."""
    decoder.decode([head(), config(auto_summation=1, pixel_mask_applied=0)], NOW)
    (frame,) = decoder.decode([*image(), b"{}"], NOW)
    assert frame.user_data == {}


def test_header_detail_none_opens_a_series_of_unknown_length(decoder):
    assert decoder.decode([head(detail="none")], NOW) == [
        SeriesStart("eiger", f"{NOW}_4", 4, None, ("image",), None, None, {})
    ]
    assert decoder.decode(image(), NOW + 1)[0].series_uid == f"{NOW}_4"
    assert decoder.decode(end(), NOW + 2) == [SeriesEnd("eiger", f"{NOW}_4", 4)]


def test_header_detail_none_with_an_appendix(decoder):
    (start,) = decoder.decode([head(detail="none"), b'"note"'], NOW)
    assert start.user_data == "note"


def test_configuration_as_a_message_of_its_own(decoder):
    assert decoder.decode([head()], NOW) == []
    (start,) = decoder.decode([config()], NOW + 1)
    assert (start.series_uid, start.expected) == (UID, 15)
    assert [m.series_uid for m in decoder.decode(image(), NOW + 2)] == [UID]
    assert refused([config()], decoder) == "malformed"  # a second one


def test_every_part_as_a_message_of_its_own(decoder):
    messages = [decoder.decode([part], NOW) for part in [head(detail="all"), config(), *arrays()]]
    assert [len(found) for found in messages] == [0, 1, 0, 0, 0, 0, 0, 0]
    assert isinstance(decoder.decode(image(), NOW)[0], Frame)


def test_an_array_that_never_comes_does_not_swallow_the_next_message(decoder):
    decoder.decode([head(), config()], NOW)
    assert decoder.decode(arrays()[:1], NOW) == []
    assert decoder.decode(end(), NOW) == [SeriesEnd("eiger", UID, 4)]


def test_a_configuration_that_never_comes_does_not_lose_the_images(decoder):
    decoder.decode([head()], NOW)
    start, frame = decoder.decode(image(), NOW + 5)
    assert isinstance(start, SeriesStart) and start.expected is None
    assert start.series_uid == frame.series_uid == f"{NOW}_4"


def test_a_stale_image_does_not_open_the_series_that_awaits_its_configuration(decoder):
    decoder.decode([head(series=5)], NOW)
    (frame,) = decoder.decode(image(series=4), NOW + 1)
    assert frame.series_id == 4
    (start,) = decoder.decode([config()], NOW + 2)
    assert start.series_uid == "2026-01-02T03:04:05.678_5"


def test_a_header_and_nothing_else_is_opened_by_its_end_and_by_the_next_header(decoder):
    decoder.decode([head()], NOW)
    assert [type(message) for message in decoder.decode(end(), NOW)] == [SeriesStart, SeriesEnd]
    decoder.decode([head(series=5)], NOW)
    assert [message.series_id for message in decoder.decode([head(series=6), config()], NOW)] == [5, 6]
    decoder.decode([head(series=7)], NOW)
    assert [message.series_id for message in decoder.decode([head(series=8)], NOW)] == [7]


def test_a_header_sent_again_whole_opens_its_series_once(decoder):
    decoder.decode([head()], NOW)
    assert [m.series_uid for m in decoder.decode([head(), config()], NOW)] == [UID]
    assert decoder.decode(image(), NOW)[0].series_uid == UID


@pytest.mark.parametrize(
    ("mode", "nimages", "ntrigger", "expected"),
    [
        ("ints", 3, 5, 15), ("exts", 3, 5, 15), ("inte", 3, 5, 5), ("exte", 3, 5, 5),
        ("ints", 3, None, None), ("exte", 3, None, None), ("exte", None, 5, 5), (None, 3, 5, 15), ("ints", -1, 5, None),
        ("ints", 2**62, 2**62, None),
    ],
)  # fmt: skip
def test_expected_images_by_trigger_mode(decoder, mode, nimages, ntrigger, expected):
    (start,) = decoder.decode([head(), config(trigger_mode=mode, nimages=nimages, ntrigger=ntrigger)], NOW)
    assert start.expected == expected


@pytest.mark.parametrize("changes", [{"bit_depth_image": None}, {"bit_depth_image": 12}])
def test_firmware_that_does_not_tell_the_bit_depth(decoder, changes):
    assert decoder.decode([head(), config(**changes)], NOW)[0].dtype is None


@pytest.mark.parametrize("date", [None, "", "x" * 201])
def test_a_series_without_a_usable_date_is_named_by_its_arrival(decoder, date):
    assert decoder.decode([head(), config(data_collection_date=date)], NOW)[0].series_uid == f"{NOW}_4"


def test_a_series_number_used_again_after_a_power_cycle_is_another_series(decoder):
    decoder.decode([head(), config()], NOW)
    decoder.decode([head(), config(data_collection_date="2026-02-02T00:00:00")], NOW)
    assert decoder.decode(image(), NOW)[0].series_uid == "2026-02-02T00:00:00_4"
    decoder.decode([head()], NOW + 7)
    assert [m.series_uid for m in decoder.decode(image(), NOW + 8)] == [f"{NOW + 7}_4"] * 2


def test_joined_late_images_are_delivered_and_the_series_keeps_its_name(decoder):
    first, later = decoder.decode(image(frame=41), NOW), decoder.decode(image(frame=42), NOW + 9)
    assert [frame.key for frame in first + later] == [
        ("eiger", f"{NOW}_4", 41, "image"),
        ("eiger", f"{NOW}_4", 42, "image"),
    ]
    assert decoder.decode(end(), NOW + 10) == [SeriesEnd("eiger", f"{NOW}_4", 4)]


def test_the_end_of_a_series_never_heard_of():
    assert refused(end()) == "unknown_series"


def test_only_a_few_series_are_remembered(decoder):
    for series in range(1, 100):
        decoder.decode(image(series=series), NOW + series)
    assert decoder.decode(end(series=99), NOW)[0].series_uid == f"{NOW + 99}_99"
    assert refused(end(series=1), decoder) == "unknown_series"
    assert len(decoder._names._names) <= 8


BS = struct.pack(">QI", IMAGE.nbytes, 8192)
BYTES = (IMAGE % 251).astype("u1")
LONGS = IMAGE.astype("<u4")


@pytest.mark.parametrize(
    ("array", "encoding", "compression", "dtype"),
    [
        (IMAGE, "<", Compression.NONE, "<u2"),
        (IMAGE.astype(">u2"), ">", Compression.NONE, ">u2"),
        (BYTES, "<", Compression.NONE, "|u1"),
        (BYTES, ">", Compression.NONE, "|u1"),
        (IMAGE, "lz4<", Compression.LZ4_BLOCK, "<u2"),
        (IMAGE.astype(">u2"), "lz4>", Compression.LZ4_BLOCK, ">u2"),
        (LONGS, "-lz4<", Compression.LZ4_BLOCK, "<u4"),
        (BYTES, "lz4", Compression.LZ4_BLOCK, "|u1"),
        (BYTES, "bs8-lz4<", Compression.BSLZ4, "|u1"),
        (IMAGE, "bs16-lz4<", Compression.BSLZ4, "<u2"),
        (IMAGE, "bs16lz4<", Compression.BSLZ4, "<u2"),
        (IMAGE.astype(">u2"), "bs16-lz4>", Compression.BSLZ4, ">u2"),
        (LONGS, "bs32-lz4<", Compression.BSLZ4, "<u4"),
        (LONGS.astype(">u4"), "bs32-lz4>", Compression.BSLZ4, ">u4"),
    ],
)
def test_encodings(decoder, array, encoding, compression, dtype):
    (frame,) = decoder.decode(image(array, encoding, blob=compress(array, compression)), NOW)
    assert (frame.dtype, frame.compression, frame.shape) == (dtype, compression, (96, 160))
    np.testing.assert_array_equal(pixels(frame), array)


def test_the_simulator_header_of_twelve_zeros(decoder):
    blob = bytes(12) + compress(IMAGE, Compression.BSLZ4)[12:]
    (frame,) = decoder.decode(image(encoding="bs16-lz4<", blob=blob), NOW)
    np.testing.assert_array_equal(pixels(frame), IMAGE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoding": ""}, "unsupported"),
        ({"encoding": "bs16<"}, "unsupported"),
        ({"encoding": "bs16-zstd<"}, "unsupported"),
        ({"encoding": "bs8-lz4<"}, "unsupported"),  # pixels of 16 bits
        ({"encoding": 5}, "malformed"),
        ({"type": "float32"}, "unsupported"),
        ({"type": "uint64"}, "unsupported"),
        ({"type": None}, "malformed"),
        ({"shape": [160]}, "unsupported"),
        ({"shape": [160, 96, 3]}, "unsupported"),
        ({"shape": [160, 0]}, "malformed"),
        ({"shape": [-160, -96]}, "malformed"),
        ({"shape": [160.5, 96]}, "malformed"),
        ({"shape": [10**30, 96]}, "too_large"),
        ({"shape": [100_000, 100_000]}, "too_large"),
        ({"shape": "160x96"}, "malformed"),
        ({"shape": [160, 97]}, "truncated"),
        ({"shape": [160, 95]}, "malformed"),
        ({"size": IMAGE.nbytes + 1}, "truncated"),
        ({"size": IMAGE.nbytes - 1}, "malformed"),
        ({"size": "many"}, "malformed"),
        ({"htype": "dimage_d-2.0"}, "malformed"),
    ],
)
def test_claims_that_do_not_hold(changes, reason):
    assert refused(image(**changes)) == reason


def test_what_was_claimed_of_the_image_before_does_not_count(decoder):
    """Words that come again are not read again; they count for images of their size only."""
    wanted = [((96, 160), "<u2"), ((160, 96), "<u2"), ((160, 96), "<u2"), ((96, 160), "<u2")]
    for frame, ((height, width), dtype) in enumerate(wanted):
        (found,) = decoder.decode(image(frame=frame, shape=[width, height]), NOW)
        assert (found.shape, found.dtype, found.image_id) == ((height, width), dtype, frame)
    good, other = image(), image(encoding="x")
    assert refused([good[0], good[1], good[2][:-1]], decoder) == "truncated"
    assert refused(other, decoder) == "unsupported"
    assert refused(other, decoder) == "unsupported"
    assert refused([good[0], good[1], good[2] + b"x"], decoder) == "malformed"
    assert decoder.decode(good, NOW)[0].shape == (96, 160)


def test_a_third_dimension_of_one_and_a_missing_size_are_taken(decoder):
    parts = image(shape=[160, 96, 1])
    claim = json.loads(parts[1])
    del claim["size"]
    parts[1] = json.dumps(claim).encode()
    np.testing.assert_array_equal(pixels(decoder.decode(parts, NOW)[0]), IMAGE)


@pytest.mark.parametrize(
    ("appendix", "user_data"),
    [
        ([], None),
        ([b"{}"], {}),
        ([b'{"position": {"row": 1.5}}'], {"position": {"row": 1.5}}),
        ([b"free text"], "free text"),
    ],
)
def test_image_appendix(decoder, appendix, user_data):
    assert decoder.decode(image() + appendix, NOW)[0].user_data == user_data


@pytest.mark.parametrize("count", [1, 2])
def test_an_image_message_cut_short(count):
    assert refused(image()[:count]) == "truncated"


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([], "truncated"),
        ([b""], "malformed"),
        ([b"\x80\xff\x00"], "malformed"),
        ([b"[1, 2]"], "malformed"),
        ([b'{"htype": "\xff"}'], "malformed"),
        ([b'{"a":' * 100_000], "malformed"),  # deep
        ([b'{"htype": "dheader-1.0"' + b" " * 1024 * 1024 + b"}"], "too_large"),
        ([as_json(htype="something-1.0")], "unsupported"),
        ([as_json(htype="dheader-1.0", header_detail="basic")], "malformed"),  # no series
        ([head(series=-1)], "malformed"),
        ([head(series=2**63)], "malformed"),
        ([head(series=10**30)], "malformed"),
        ([head(series=1.5)], "malformed"),
        ([head(), b"no JSON"], "malformed"),
        ([head(), b"[]"], "malformed"),
        ([head(), config(nimages="three")], "malformed"),
        ([head(), b'{"nimages": NaN}'], "malformed"),
        ([head(), b'{"a": ' + b"[" * 100_000], "malformed"),
        ([head(), b'{"a": "' + b"a" * 1024 * 1024 + b'"}'], "too_large"),
        ([head(), config(), b'"' + b"a" * 1024 * 1024 + b'"'], "too_large"),
        ([as_json(htype="dimage-1.0", series=4), *image()[1:]], "malformed"),  # no frame
        ([as_json(htype="dimage-1.0", frame=4), *image()[1:]], "malformed"),
        ([*image()[:1], b"{}", *image()[2:]], "malformed"),
        ([*image(), b'"' + b"a" * 1024 * 1024 + b'"'], "too_large"),
        ([as_json(htype="dseries_end-1.0")], "malformed"),
    ],
)
def test_messages_that_are_none(parts, reason):
    assert refused(parts) == reason


def test_pixels_are_not_copied(decoder):
    blob = memoryview(IMAGE.tobytes())
    assert decoder.decode(image(blob=blob), NOW)[0].blob is blob


ACQUISITION = Acquisition(4, "uid", "2026-01-02T03:04:05Z", 3, (96, 160), "uint16")


def test_encoder_writes_what_strict_clients_want():
    parts = SimplonV1Encoder(ACQUISITION).image(7, {"image": IMAGE}, {"position": {"row": 1.0}})
    first, claim, blob, times, appendix = parts
    assert json.loads(first) == {
        "htype": "dimage-1.0", "series": 4, "frame": 7, "hash": hashlib.md5(blob).hexdigest(),
    }  # fmt: skip
    assert json.loads(claim) == {
        "htype": "dimage_d-1.0", "shape": [160, 96], "type": "uint16", "encoding": "bs16-lz4<", "size": len(blob),
    }  # fmt: skip
    assert struct.unpack_from(">QI", blob) == (IMAGE.nbytes, 8192)
    assert set(json.loads(times)) == {"htype", "start_time", "stop_time", "real_time"}
    assert json.loads(appendix) == {"position": {"row": 1.0}}
    (start,) = SimplonV1Encoder(ACQUISITION).start()
    wanted = {"ntrigger": 1, "nimages": 3, "trigger_mode": "ints", "bit_depth_image": 16}
    wanted |= {"x_pixels_in_detector": 160, "y_pixels_in_detector": 96}
    assert len(start) == 2 and wanted.items() <= json.loads(start[1]).items()
    assert SimplonV1Encoder(ACQUISITION).end() == [[b'{"htype":"dseries_end-1.0","series":4}']]


@pytest.mark.parametrize(
    ("detail", "user_data", "sent", "parts"),
    [
        ("none", None, "none", 1),
        ("none", {"scan": 1}, "none", 1),
        ("basic", None, "basic", 2),
        ("basic", {"scan": 1}, "all", 9),
        ("all", None, "all", 8),
        ("all", {"scan": 1}, "all", 9),
    ],
)
def test_encoder_sends_the_header_detail_that_is_asked_for(decoder, detail, user_data, sent, parts):
    acquisition = msgspec.structs.replace(ACQUISITION, header_detail=detail, user_data=user_data)
    (message,) = SimplonV1Encoder(acquisition).start()
    assert (json.loads(message[0])["header_detail"], len(message)) == (sent, parts)
    (start,) = decoder.decode(message, NOW)
    assert (start.expected is None, set(start.pixel_mask)) == (sent == "none", {"image"} if sent == "all" else set())
    assert start.user_data == (user_data if sent == "all" else None)
    for array, value in ((start.pixel_mask, 0), (start.flatfield, 1)):
        assert all((read_array(each) == value).all() for each in array.values())


def test_encoder_sends_user_data_with_header_detail_all():
    acquisition = Acquisition(4, "uid", "2026-01-02T03:04:05Z", 3, (96, 160), "uint16", user_data={"scan": 1})
    (parts,) = SimplonV1Encoder(acquisition).start()
    assert len(parts) == 9 and json.loads(parts[0])["header_detail"] == "all"
    for header, blob in zip(parts[2:8:2], parts[3:8:2], strict=True):
        claim = json.loads(header)
        assert len(blob) == claim["shape"][0] * claim["shape"][1] * 4
    assert json.loads(parts[8]) == {"scan": 1}


def test_encoder_writes_a_bare_lz4_block():
    acquisition = Acquisition(4, "u", "2026", 3, (96, 160), "uint16", compression=Compression.LZ4_BLOCK)
    blob = SimplonV1Encoder(acquisition).image(0, {"image": IMAGE.astype(">u2")})[2]
    assert lz4.block.decompress(blob, uncompressed_size=IMAGE.nbytes) == IMAGE.tobytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "int32"},
        {"channels": ("threshold_1",)},
        {"compression": Compression.BSZSTD},
        {"compression": Compression.LZ4_HDF5},
    ],
)
def test_encoder_refuses_what_the_protocol_cannot_say(changes):
    fields = {"series_id": 4, "series_uid": "u", "arm_date": "2026", "images": 3, "shape": (96, 160), "dtype": "uint16"}
    with pytest.raises(ValueError, match="simplon-v1"):
        SimplonV1Encoder(Acquisition(**{**fields, **changes}))


@pytest.mark.parametrize("images", [{"image": IMAGE.T}, {"image": IMAGE.astype("u4")}, {"other": IMAGE}, {}])
def test_encoder_refuses_images_of_another_series(images):
    with pytest.raises(ValueError, match="in a series of"):
        SimplonV1Encoder(ACQUISITION).image(0, images)
