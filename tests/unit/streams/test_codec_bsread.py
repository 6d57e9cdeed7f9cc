"""bsread: pulses as SwissFEL's sources send them, as byte vectors."""

import hashlib
import json
import struct

import bitshuffle
import lz4.block
import numpy as np
import pytest

from streams.codecs.bsread import BsreadDecoder
from streams.codecs.bsread_encoder import BsreadEncoder
from streams.codecs.options import OptionError
from streams.messages import Absent, Acquisition, CodecError, Compression, SeriesStart
from tests.decoded import pixels

NOW = 1_700_000_000_000_000_000
PULSE = 20_000_000_000
IMAGE = (np.arange(96 * 160) % 60_000).astype("<u2").reshape(96, 160)  # 160 wide, 96 high
CAMERA = {"name": "CAM:FPICTURE", "type": "uint16", "shape": [160, 96], "encoding": "little", "compression": "none"}
INTENSITY = {"name": "SARFE10-PBPG050:HAMP", "type": "float64", "shape": [1]}
STAMP = struct.pack("<qq", 1_700_000_000, 250_000_000)


def lz4_of(data, order="<"):
    return struct.pack(order + "I", len(data)) + lz4.block.compress(data, store_size=False)


def shuffled(array):
    block = 8192 // array.itemsize
    return struct.pack(">qi", array.nbytes, 8192) + bitshuffle.compress_lz4(array.ravel(), block).tobytes()


PIXELS = IMAGE.tobytes()


def pulse(channels=(CAMERA,), values=(PIXELS,), pulse_id=PULSE, data_header=None, packed=None, **main):
    data_header = {"htype": "bsr_d-1.1", "channels": list(channels)} if data_header is None else data_header
    part = json.dumps(data_header).encode() if packed is None else packed
    head = {
        "htype": "bsr_m-1.1",
        "pulse_id": pulse_id,
        "global_timestamp": {"sec": 1_700_000_000, "ns": 250_000_000},
        "hash": hashlib.md5(part).hexdigest(),
        "dh_compression": "none",
        **main,
    }
    parts = [json.dumps(head).encode(), part]
    for value in values:
        parts += [value, STAMP if value else b""]
    return parts


def refused(parts, decoder=None):
    with pytest.raises(CodecError) as caught:
        (decoder or BsreadDecoder("bs")).decode(parts, NOW)
    return caught.value.reason


@pytest.fixture
def decoder():
    return BsreadDecoder("bs")


def test_a_pulse_and_the_series_that_it_opens(decoder):
    start, frame = decoder.decode(pulse(), NOW)
    assert start == SeriesStart(
        "bs",
        f"{NOW}_{PULSE}",
        1_700_000_000,
        None,
        ("CAM:FPICTURE",),
        (96, 160),
        "uint16",
        {"modulo": 1, "offset": 0},
        first_image=PULSE,
    )
    assert frame.key == ("bs", start.series_uid, PULSE, "CAM:FPICTURE")
    assert frame.user_data == {"pulse_id": PULSE, "values": {}}
    np.testing.assert_array_equal(pixels(frame), IMAGE)  # shape has the fastest axis first
    assert len(decoder.decode(pulse(pulse_id=PULSE + 1), NOW + 1)) == 1


@pytest.mark.parametrize("compression", ["none", None, "lz4", "bitshuffle_lz4"])
def test_pixels_are_views_into_the_message(decoder, compression):
    blob = {"lz4": lz4_of(IMAGE.tobytes()), "bitshuffle_lz4": shuffled(IMAGE)}.get(compression, IMAGE.tobytes())
    parts = pulse([{**CAMERA, "compression": compression}], [blob])
    frame = decoder.decode(parts, NOW)[-1]
    assert frame.blob.obj is parts[2]
    np.testing.assert_array_equal(pixels(frame), IMAGE)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_length_of_lz4_in_either_byte_order(decoder, order):
    channel = {**CAMERA, "compression": "lz4", "encoding": "big"}
    frame = decoder.decode(pulse([channel], [lz4_of(IMAGE.astype(">u2").tobytes(), order)]), NOW)[-1]
    np.testing.assert_array_equal(pixels(frame), IMAGE)


def test_big_endian_pixels(decoder):
    frame = decoder.decode(pulse([{**CAMERA, "encoding": "big"}], [IMAGE.astype(">u2").tobytes()]), NOW)[-1]
    assert frame.dtype == ">u2"
    np.testing.assert_array_equal(pixels(frame), IMAGE)


@pytest.mark.parametrize("packing", ["lz4", "bitshuffle_lz4"])
def test_a_compressed_data_header(decoder, packing):
    plain = np.frombuffer(json.dumps({"htype": "bsr_d-1.1", "channels": [CAMERA]}).encode(), "u1")
    packed = lz4_of(plain.tobytes()) if packing == "lz4" else shuffled(plain)
    frame = decoder.decode(pulse(packed=packed, dh_compression=packing), NOW)[-1]
    np.testing.assert_array_equal(pixels(frame), IMAGE)


@pytest.mark.parametrize(
    ("packed", "packing", "reason"),
    [
        (b"", "lz4", "truncated"),
        (b"\x00", "lz4", "truncated"),
        (struct.pack(">I", 2**31) + b"x" * 20, "lz4", "malformed"),  # 128, the other way round
        (struct.pack("<I", 2**31 + 2**7) + b"x" * 20, "lz4", "too_large"),
        (struct.pack(">qi", 2**40, 8192) + b"x" * 20, "bitshuffle_lz4", "too_large"),
        (struct.pack(">qi", 1000, 8192) + b"x" * 20, "bitshuffle_lz4", "malformed"),
        (b"x" * 10, "bitshuffle_lz4", "truncated"),
        (b"x" * 10, "zstd", "unsupported"),
    ],
)
def test_a_compressed_data_header_that_is_none(packed, packing, reason):
    assert refused(pulse(packed=packed, dh_compression=packing)) == reason


def test_the_data_header_is_parsed_only_where_its_hash_is_news(decoder):
    decoder.decode(pulse(), NOW)
    parts = pulse(pulse_id=PULSE + 1)
    parts[1] = b"not even JSON"
    np.testing.assert_array_equal(pixels(decoder.decode(parts, NOW)[-1]), IMAGE)
    parts = pulse([CAMERA, INTENSITY], [IMAGE.tobytes(), struct.pack("<d", 1.5)], PULSE + 2)
    assert decoder.decode(parts, NOW)[-1].user_data["values"] == {INTENSITY["name"]: 1.5}


def test_without_a_hash_the_data_header_is_parsed_every_time(decoder):
    decoder.decode(pulse(hash=None), NOW)
    parts = pulse(pulse_id=PULSE + 1, hash=None)
    parts[1] = b"not even JSON"
    assert refused(parts, decoder) == "malformed"


def test_a_data_header_that_is_none_is_not_remembered(decoder):
    decoder.decode(pulse(), NOW)
    assert refused(pulse(packed=b"{}"), decoder) == "malformed"
    assert refused(pulse(packed=b"{}"), decoder) == "malformed"
    assert len(decoder.decode(pulse(pulse_id=PULSE + 1), NOW)) == 1


def test_a_data_header_that_was_damaged_on_the_way_does_not_stand_for_all_that_follow(decoder):
    damaged = pulse()
    damaged[1] = damaged[1].replace(b"CAM:FPICTURE", b"CAM:FPICTURF")
    assert refused(damaged, decoder) == "corrupt"
    assert decoder.decode(pulse(), NOW)[-1].channel == "CAM:FPICTURE"


@pytest.mark.parametrize("digest", ["a", "", "A" * 32])
def test_a_hash_that_is_no_md5_may_be_left_alone(digest):
    assert refused(pulse(hash=digest)) == "corrupt"
    assert len(BsreadDecoder("bs", verify_hash=False).decode(pulse(hash=digest), NOW)) == 2


def test_the_hash_may_be_that_of_the_header_before_it_was_compressed(decoder):
    plain = json.dumps({"htype": "bsr_d-1.1", "channels": [CAMERA]}).encode()
    parts = pulse(packed=lz4_of(plain), dh_compression="lz4", hash=hashlib.md5(plain).hexdigest().upper())
    assert len(decoder.decode(parts, NOW)) == 2


def test_a_channel_without_a_value_in_this_pulse(decoder):
    channels = [CAMERA, {**CAMERA, "name": "CAM2"}, INTENSITY]
    decoder.decode(pulse(channels, [IMAGE.tobytes()] * 2 + [struct.pack("<d", 1.5)]), NOW)
    frame, absent = decoder.decode(pulse(channels, [b"", IMAGE.tobytes(), b""], PULSE + 1), NOW)
    assert (frame.channel, frame.image_id, frame.user_data["values"]) == ("CAM2", PULSE + 1, {})
    assert absent == Absent("bs", frame.series_uid, frame.series_id, PULSE + 1, CAMERA["name"])
    both = decoder.decode(pulse(channels, [b"", b"", b""], PULSE + 2), NOW)
    assert [(one.image_id, one.channel) for one in both] == [(PULSE + 2, CAMERA["name"]), (PULSE + 2, "CAM2")]
    assert {type(one) for one in both} == {Absent}


def test_before_its_first_image_a_channel_without_a_value_says_nothing(decoder):
    assert decoder.decode(pulse(values=[b""]), NOW) == []
    assert len(decoder.decode(pulse(pulse_id=PULSE + 1), NOW)) == 2
    decoder.closed(f"{NOW}_{PULSE + 1}")
    assert decoder.decode(pulse(values=[b""], pulse_id=PULSE + 2), NOW) == []


def test_an_image_that_is_not_due_is_not_absent(decoder):
    """Every tenth pulse has one: at the others the value is empty, and the id that of the last one."""
    channel = {**CAMERA, "modulo": 10}
    decoder.decode(pulse([channel]), NOW)
    found = [decoder.decode(pulse([channel], [b""], pulse_id=PULSE + n), NOW) for n in range(1, 21)]
    assert [one.image_id for said in found for one in said] == [PULSE // 10 + 1, PULSE // 10 + 2]


def test_an_empty_pulse_of_a_sender_that_began_anew_is_none_of_the_series_before(decoder):
    decoder.decode(pulse(), NOW)
    assert decoder.decode(pulse(values=[b""], pulse_id=5, global_timestamp={"sec": 1_700_000_009, "ns": 0}), NOW) == []


@pytest.mark.parametrize(
    ("channel", "value", "found"),
    [
        ({"type": "float64"}, struct.pack("<d", 1.5), 1.5),
        ({}, struct.pack("<d", 1.5), 1.5),  # float64 is what is meant where nothing is said
        ({"type": "float32", "encoding": "big"}, struct.pack(">f", 1.5), 1.5),
        ({"type": "int64", "encoding": "big"}, struct.pack(">q", -5), -5),
        ({"type": "uint8"}, b"\x07", 7),
        ({"type": "int8"}, b"\xf9", -7),
        ({"type": "bool"}, b"\x01", True),
        ({"type": "uint64"}, struct.pack("<Q", 2**64 - 1), 2**64 - 1),
        ({"type": "string", "shape": [4]}, "µm!".encode(), "µm!"),
        ({"type": "string"}, b"", None),
        ({"type": "string"}, b"x" * 2000, None),
        ({"type": "float64", "compression": "lz4"}, lz4_of(struct.pack("<d", 1.5)), 1.5),
        ({"type": "uint8", "compression": "lz4"}, lz4_of(b"\x07"), 7),
        ({"type": "int32", "compression": "bitshuffle_lz4"}, shuffled(np.array([-5], "<i4")), -5),
        ({"type": "float64", "compression": "bitshuffle_lz4"}, shuffled(np.array([1.5])), 1.5),
        ({"type": "float64", "shape": [1, 1]}, struct.pack("<d", 1.5), 1.5),
        ({"type": "float64", "shape": [3]}, struct.pack("<3d", 1, 2, 3), None),  # waveforms do not ride along
        ({"type": "float64"}, b"short", None),
        ({"type": "float64", "compression": "zip"}, struct.pack("<d", 1.5), None),
    ],
)
def test_values_that_ride_along(decoder, channel, value, found):
    frame = decoder.decode(pulse([CAMERA, {"name": "v", **channel}], [IMAGE.tobytes(), value]), NOW)[-1]
    assert frame.user_data["values"] == ({} if found is None else {"v": found})


def test_a_position_among_the_values(decoder):
    channel = {"name": "position.row"}
    frame = decoder.decode(pulse([CAMERA, channel], [IMAGE.tobytes(), struct.pack("<d", 1.5)]), NOW)[-1]
    assert frame.user_data["position"] == {"row": 1.5}


def test_image_ids_count_the_pulses_of_the_channel(decoder):
    channel = {**CAMERA, "modulo": 10, "offset": 3}
    start, frame = decoder.decode(pulse([channel], pulse_id=PULSE + 3), NOW)
    assert (frame.image_id, start.first_image) == (PULSE // 10, PULSE // 10)
    (frame,) = decoder.decode(pulse([channel], pulse_id=PULSE + 13), NOW)
    assert frame.image_id == PULSE // 10 + 1


def test_another_cadence_opens_another_series(decoder):
    decoder.decode(pulse(), NOW)
    start, frame = decoder.decode(pulse([{**CAMERA, "modulo": 10}], pulse_id=PULSE + 10), NOW + 1)
    assert isinstance(start, SeriesStart) and frame.image_id == PULSE // 10 + 1


def test_images_of_different_cadences_have_to_be_chosen():
    channels = [CAMERA, {**CAMERA, "name": "SLOW", "modulo": 10}]
    parts = pulse(channels, [IMAGE.tobytes()] * 2)
    with pytest.raises(CodecError, match="different modulo or offset"):
        BsreadDecoder("bs").decode(parts, NOW)
    _, frame = BsreadDecoder("bs", channels=["SLOW"]).decode(parts, NOW)
    assert (frame.channel, frame.image_id) == ("SLOW", PULSE // 10)


def test_a_channel_that_is_asked_for_and_is_no_image():
    with pytest.raises(CodecError, match=r"channel 'SARFE.* of the option channels is no image"):
        BsreadDecoder("bs", channels=[INTENSITY["name"]]).decode(
            pulse([CAMERA, INTENSITY], [IMAGE.tobytes(), STAMP]), NOW
        )
    with pytest.raises(OptionError, match="there are: channels, verify_hash"):
        BsreadDecoder("bs", channel="x")


@pytest.mark.parametrize("changes", [{"type": "float64"}, {"type": "uint64"}, {"shape": [160]}, {"shape": [2, 2, 2]}])
def test_only_two_axes_of_integers_are_images(changes):
    assert refused(pulse([{**CAMERA, **changes}])) == "unsupported"


@pytest.mark.parametrize("key", ["sec", "epoch"])
def test_a_sender_that_began_anew_is_told_by_its_time(decoder, key):
    def at(pulse_id, seconds):
        return decoder.decode(pulse(pulse_id=pulse_id, global_timestamp={key: seconds, "ns": 0}), NOW + seconds)

    assert [len(at(*each)) for each in ((5, 1), (6, 2), (5, 1), (6, 2), (5, 3))] == [2, 1, 1, 1, 2]


def test_without_a_time_only_a_far_jump_back_is_a_beginning(decoder):
    found = [len(decoder.decode(pulse(pulse_id=n, global_timestamp=None), NOW)) for n in (1000, 1001, 990, 5)]
    assert found == [2, 1, 1, 2]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([], "truncated"),
        ([b"{}"], "truncated"),
        (pulse()[:2], "truncated"),
        (pulse()[:3], "truncated"),
        ([b"no JSON", b"{}"], "malformed"),
        ([b" " * (2**20 + 1), b"{}"], "too_large"),
        (pulse(htype="bsr_m-2.0"), "unsupported"),
        (pulse(pulse_id=-1), "malformed"),
        (pulse(pulse_id="5"), "malformed"),
        (pulse(pulse_id=2**63), "malformed"),
        (pulse(data_header={"htype": "bsr_d-2.0", "channels": []}), "unsupported"),
        (pulse(data_header={"htype": "bsr_d-1.1"}), "malformed"),
        (pulse([], []), "unsupported"),
        (pulse([INTENSITY], [STAMP]), "unsupported"),
        (pulse([{**CAMERA, "name": ""}]), "malformed"),
        (pulse([{**CAMERA, "name": "n" * 201}]), "malformed"),
        (pulse([{**CAMERA, "type": "complex64"}]), "unsupported"),
        (pulse([{**CAMERA, "shape": [-160, 96]}]), "malformed"),
        (pulse([{**CAMERA, "shape": [2**30, 2**30]}]), "too_large"),
        (pulse([{**CAMERA, "shape": [160, 0]}]), "malformed"),
        (pulse([{**CAMERA, "modulo": -1}]), "malformed"),
        (pulse([{**CAMERA, "offset": PULSE + 1}]), "malformed"),
        (pulse([{**CAMERA, "compression": "zstd"}]), "unsupported"),
        (pulse([{**CAMERA, "compression": "lz4"}], [b"abc"]), "truncated"),
        (pulse([{**CAMERA, "compression": "lz4"}], [lz4_of(b"other")]), "malformed"),
        (pulse(values=[IMAGE.tobytes()[:-1]]), "truncated"),
        (pulse(values=[IMAGE.tobytes() + b"x"]), "malformed"),
        (pulse([{"name": "n"}] * 2001, []), "too_large"),
    ],
)
def test_messages_that_are_none(parts, reason):
    assert refused(parts) == reason


def test_a_refused_pulse_opens_no_series(decoder):
    assert refused(pulse(values=[b"short"]), decoder) == "truncated"
    assert len(decoder.decode(pulse(), NOW)) == 2


def acquisition(**changes):
    fields = {"series_id": 4, "series_uid": "u", "arm_date": "2026-01-02T03:04:05Z", "images": 3, "shape": (96, 160)}
    return Acquisition(**{**fields, "dtype": "uint16", "compression": Compression.BSLZ4, **changes})


def test_encoder_sends_what_sources_send():
    encoder = BsreadEncoder(acquisition(channels=("CAM",)))
    assert encoder.start() == encoder.end() == []
    main, data, blob, *rest = encoder.image(2, {"CAM": IMAGE}, {"position": {"row": 1.5}, "mode": "µ"})
    assert json.loads(main) == {
        "htype": "bsr_m-1.1",
        "pulse_id": 2,
        "global_timestamp": {"sec": 1767323045, "ns": 20_000_000},
        "hash": hashlib.md5(data).hexdigest(),
        "dh_compression": "none",
    }
    image = {"type": "uint16", "shape": [160, 96], "encoding": "little", "compression": "bitshuffle_lz4"}
    assert json.loads(data)["channels"] == [
        {"name": "CAM", **image},
        {"name": "position.row", "type": "float64", "shape": [1], "encoding": "little"},
        {"name": "mode", "type": "string", "shape": [2], "encoding": "little"},
    ]
    assert blob == shuffled(IMAGE)
    stamp = struct.pack("<qq", 1767323045, 20_000_000)
    assert rest == [stamp, struct.pack("<d", 1.5), stamp, "µ".encode(), stamp]


def test_encoder_sends_a_pulse_without_images(decoder):
    encoder = BsreadEncoder(acquisition(channels=("CAM",)))
    decoder.decode(encoder.image(0, {"CAM": IMAGE}), NOW)
    parts = encoder.image(1, {}, {"mode": "x"})
    assert parts[2:4] == [b"", b""]
    (absent,) = decoder.decode(parts, NOW)
    assert isinstance(absent, Absent) and (absent.image_id, absent.channel) == (1, "CAM")


@pytest.mark.parametrize("changes", [{"dtype": "float32"}, {"compression": Compression.BSZSTD}])
def test_encoder_refuses_what_the_protocol_cannot_say(changes):
    with pytest.raises(ValueError, match="bsread"):
        BsreadEncoder(acquisition(**changes))
