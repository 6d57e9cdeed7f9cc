"""The Karabo bridge: trains as servers of versions 2.2 and 1.0 send them, as byte vectors."""

import pickle
import struct

import msgpack
import numpy as np
import pytest

from streams.codecs import decoder as make_decoder
from streams.codecs.karabo import MAX_CHANNELS, KaraboDecoder
from streams.codecs.karabo_encoder import KaraboEncoder, KaraboOldEncoder
from streams.codecs.options import OptionError
from streams.messages import Absent, Acquisition, CodecError, Compression, Frame, SeriesStart
from tests.decoded import pixels

NOW = 1_700_000_000_000_000_000
TRAIN = 10_000_000_000
AGIPD = "SPB_DET_AGIPD1M-1/CAL/APPEND_RAW"
PULSES, MODULES, SS, FS = 5, 3, 7, 4  # all different: no axis can be mistaken for another
STACK = np.arange(PULSES * MODULES * SS * FS, dtype="u2").reshape(PULSES, MODULES, SS, FS)
ONLINE = np.ascontiguousarray(STACK.transpose(1, 3, 2, 0))  # (modules, fs, ss, pulses)
PULSE_IDS = np.arange(0, 4 * PULSES, 4, dtype="u8")


def pack(value):
    return msgpack.packb(value, use_bin_type=True)


def metadata(tid=TRAIN, **changes):
    return {
        "source": AGIPD,
        "timestamp": 1_700_000_000.25,
        "timestamp.sec": "1700000000",
        "timestamp.frac": "250000000000000000",
        "timestamp.tid": tid,
        **changes,
    }


def source_2_2(arrays, values=None, name=AGIPD, meta=None):
    """The parts of one source: its data, then a pair an array."""
    parts = [
        pack({"source": name, "content": "msgpack", "metadata": metadata() if meta is None else meta}),
        pack(values or {}),
    ]
    for key, array in arrays.items():
        head = {"source": name, "content": "array", "path": key, "dtype": str(array.dtype), "shape": array.shape}
        parts += [pack(head), array.tobytes()]
    return parts


def as_numpy(array):
    """What msgpack-numpy makes of an array."""
    kind = b"O" if array.dtype == object else b""
    data = pickle.dumps(array) if kind else array.tobytes()
    return {b"nd": True, b"type": array.dtype.str, b"kind": kind, b"shape": array.shape, b"data": data}


def source_1_0(arrays, values=None, name=AGIPD, meta=None):
    content = {**(values or {}), **{key: as_numpy(array) for key, array in arrays.items()}}
    return [pack({name: {**content, "metadata": metadata() if meta is None else meta}})]


VERSIONS = pytest.mark.parametrize("build", [source_2_2, source_1_0])


def refused(parts, decoder=None):
    with pytest.raises(CodecError) as caught:
        (decoder or KaraboDecoder("bridge")).decode(parts, NOW)
    return caught.value.reason


def is_the_stack(frames, channel=lambda module: f"{AGIPD}/{module}"):
    assert len(frames) == PULSES * MODULES
    for at, frame in enumerate(frames):
        pulse, module = divmod(at, MODULES)
        assert isinstance(frame, Frame)
        assert (frame.image_id, frame.channel) == (TRAIN * PULSES + pulse, channel(module))
        assert frame.shape == (SS, FS)
        assert (frame.user_data["train_id"], frame.user_data["pulse"]) == (TRAIN, pulse)
        np.testing.assert_array_equal(pixels(frame), STACK[pulse, module])


@pytest.fixture
def decoder():
    return KaraboDecoder("bridge")


@VERSIONS
@pytest.mark.parametrize("array", [STACK, ONLINE], ids=["file", "online"])
def test_a_train_of_modules_in_both_orders_of_axes(decoder, build, array):
    start, *frames = decoder.decode(build({"image.data": array, "image.pulseId": PULSE_IDS}), NOW)
    assert start == SeriesStart(
        "bridge",
        f"{NOW}_{TRAIN * PULSES}",
        1_700_000_000,
        None,
        (),
        (SS, FS),
        "uint16",
        {"sources": [AGIPD], "pulses": PULSES},
        first_image=TRAIN * PULSES,
    )
    is_the_stack(frames)
    assert {frame.series_uid for frame in frames} == {start.series_uid}


@VERSIONS
@pytest.mark.parametrize("array", [STACK, ONLINE], ids=["file", "online"])
@pytest.mark.parametrize("key", ["modulesPresent", "sources"])
def test_the_number_of_modules_tells_the_order_where_no_pulse_ids_do(decoder, build, array, key):
    _, *frames = decoder.decode(build({"image.data": array}, {key: [True] * MODULES}), NOW)
    is_the_stack(frames)


@VERSIONS
def test_axes_are_never_guessed_but_may_be_set(build):
    parts = build({"image.data": ONLINE})
    with pytest.raises(CodecError, match="set axes in the source's options"):
        KaraboDecoder("bridge").decode(parts, NOW)
    _, *frames = KaraboDecoder("bridge", axes="modules, fs, ss, pulses").decode(parts, NOW)
    is_the_stack(frames)
    cube = np.zeros((4, 4, 4, 4), "u2")
    assert refused(build({"image.data": cube, "image.pulseId": np.zeros(4, "u8")})) == "unsupported"


@VERSIONS
@pytest.mark.parametrize(
    ("array", "pulse_ids"),
    [
        (STACK[:, 1], None),  # (pulses, ss, fs)
        (STACK[:, 1], PULSE_IDS),
        (STACK[:, 1], PULSE_IDS[:, None]),
        (np.ascontiguousarray(STACK[:, 1].transpose(2, 1, 0)), PULSE_IDS),  # (fs, ss, pulses)
    ],
)
def test_a_single_module_is_one_channel_with_the_name_of_its_source(decoder, build, array, pulse_ids):
    beside = {} if pulse_ids is None else {"image.pulseId": pulse_ids}
    _, *frames = decoder.decode(build({"image.data": array, **beside}), NOW)
    assert [frame.image_id for frame in frames] == [TRAIN * PULSES + pulse for pulse in range(PULSES)]
    assert {frame.channel for frame in frames} == {AGIPD}
    for pulse, frame in enumerate(frames):
        np.testing.assert_array_equal(pixels(frame), STACK[pulse, 1])


@VERSIONS
def test_an_image_a_train(decoder, build):
    _, frame = decoder.decode(build({"image.data": STACK[0, 0]}), NOW)
    assert (frame.image_id, frame.channel, frame.strides) == (TRAIN, AGIPD, None)
    np.testing.assert_array_equal(pixels(frame), STACK[0, 0])


@VERSIONS
def test_pixels_are_views_into_the_message(decoder, build):
    parts = build({"image.data": ONLINE, "image.pulseId": PULSE_IDS})
    _, *frames = decoder.decode(parts, NOW)
    assert all(any(frame.blob.obj is part for part in parts) for frame in frames)


@VERSIONS
@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", ">u2", "<u4", ">u4", "<i2", ">i4"])
def test_pixel_types(decoder, build, dtype):
    _, frame = decoder.decode(build({"image.data": STACK[0, 0].astype(dtype)}), NOW)
    np.testing.assert_array_equal(pixels(frame), STACK[0, 0].astype(dtype))


@VERSIONS
@pytest.mark.parametrize("dtype", ["f4", "f8", "u8", "bool", "c8", "U3", "M8[s]"])
def test_pixels_that_are_no_counts_are_refused(build, dtype):
    assert refused(build({"image.data": STACK[0, 0].astype(dtype)})) == "unsupported"


class Bomb:
    """Goes off when somebody unpickles it."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle of a message was loaded",))


def test_pickled_objects_are_never_loaded(decoder):
    objects = np.empty(1, object)
    objects[0] = Bomb()
    assert refused(source_1_0({"image.data": objects})) == "unsupported"
    _, frame = decoder.decode(source_1_0({"image.data": STACK[0, 0], "other": objects}), NOW)
    np.testing.assert_array_equal(pixels(frame), STACK[0, 0])


def test_structured_arrays_of_msgpack_numpy_are_left_alone(decoder):
    record = {b"nd": True, b"type": [["a", "<u2"]], b"kind": b"V", b"shape": [1], b"data": b"ab"}
    content = {"image.data": as_numpy(STACK[0, 0]), "other": record, "metadata": metadata()}
    assert len(decoder.decode([pack({AGIPD: content})], NOW)) == 2
    content = {"image.data": record, "metadata": metadata()}
    assert refused([pack({AGIPD: content})]) == "unsupported"


def test_scalars_ride_along_by_name(decoder):
    values = {"actualPosition": 1.5, "count": 7, "mode": "on", "list": [1], "nothing": None, "position.row": -2}
    parts = source_2_2({"image.data": STACK[0, 0]}) + source_2_2({}, values, "MOTOR/X")
    _, frame = decoder.decode(parts, NOW)
    assert frame.user_data == {
        "train_id": TRAIN,
        "pulse": 0,
        "values": {
            "MOTOR/X[actualPosition]": 1.5,
            "MOTOR/X[count]": 7,
            "MOTOR/X[mode]": "on",
            "MOTOR/X[position.row]": -2,
        },
        "position": {"row": -2},
    }


def test_numpy_scalars_of_version_1_0_are_numbers(decoder):
    scalars = {
        "int": {b"nd": False, b"type": "<i8", b"data": struct.pack("<q", -3)},
        "float": {b"nd": False, b"type": "<f4", b"data": struct.pack("<f", 0.5)},
        "odd": {b"nd": False, b"type": "|V3", b"data": b"abc"},
    }
    content = {"image.data": as_numpy(STACK[0, 0]), **scalars, "metadata": metadata()}
    _, frame = decoder.decode([pack({AGIPD: content})], NOW)
    assert frame.user_data["values"] == {f"{AGIPD}[int]": -3, f"{AGIPD}[float]": 0.5}


def one_module(number, pulses=2, tid=TRAIN):
    array = np.full((pulses, SS, FS), number, "u2")
    return source_2_2({"image.data": array}, name=f"DET/{number}CH0:xtdf", meta=metadata(tid))


def test_several_sources_of_a_train_have_the_same_image_ids(decoder):
    _, *frames = decoder.decode(one_module(1) + one_module(0), NOW)
    ids = [(frame.channel, frame.image_id) for frame in frames]
    assert ids == [(f"DET/{n}CH0:xtdf", 2 * TRAIN + pulse) for n in (0, 1) for pulse in (0, 1)]


def test_a_source_or_its_key_may_be_absent_from_a_train(decoder):
    decoder.decode(one_module(0) + one_module(1), NOW)
    keyless = source_2_2({}, {"n": 1}, "DET/0CH0:xtdf", metadata(TRAIN + 1))
    for without in ([], keyless):
        *frames, absent = decoder.decode(without + one_module(1, tid=TRAIN + 1), NOW + 1)
        assert [(frame.channel, frame.image_id) for frame in frames] == [
            ("DET/1CH0:xtdf", 2 * TRAIN + 2),
            ("DET/1CH0:xtdf", 2 * TRAIN + 3),
        ]
        assert isinstance(absent, Absent)
        assert (absent.channel, absent.image_id, absent.count) == ("DET/0CH0:xtdf", 2 * TRAIN + 2, 2)


def all_absent(messages):
    assert {type(message) for message in messages} == {Absent}
    return messages


@VERSIONS
def test_a_train_none_of_whose_pulses_was_kept_has_no_images(decoder, build):
    decoder.decode(build({"image.data": STACK, "image.pulseId": PULSE_IDS}), NOW)
    parts = build({"image.data": STACK[:0], "image.pulseId": PULSE_IDS[:0]}, meta=metadata(TRAIN + 1))
    found = all_absent(decoder.decode(parts, NOW))
    assert [one.channel for one in found] == [f"{AGIPD}/{module}" for module in range(MODULES)]
    assert {(one.image_id, one.count) for one in found} == {((TRAIN + 1) * PULSES, PULSES)}


@pytest.mark.parametrize("pairs", [1, 2, 3])
def test_a_message_that_was_cut_short_does_not_say_that_images_are_absent(decoder, pairs):
    both = one_module(0) + one_module(1)
    decoder.decode(both, NOW)
    said = decoder.decode((one_module(0, tid=TRAIN + 1) + one_module(1, tid=TRAIN + 1))[: 2 * pairs], NOW)
    assert [type(one) for one in said] == ([] if pairs == 1 else [Frame] * 2)


def test_version_1_0_cannot_be_cut_short_unseen(decoder):
    decoder.decode(source_1_0({"image.data": STACK, "image.pulseId": PULSE_IDS}), NOW)
    assert len(all_absent(decoder.decode(source_1_0({}, {"n": 1}, meta=metadata(TRAIN + 1)), NOW))) == MODULES


def test_a_train_without_the_detector_says_so_by_its_other_sources(decoder):
    decoder.decode(one_module(0), NOW)
    (absent,) = decoder.decode(source_2_2({}, {"x": 1}, "ZONE/PLATE", metadata(TRAIN + 3)), NOW)
    assert (absent.image_id, absent.count) == (2 * TRAIN + 6, 2)


@pytest.mark.parametrize("tid", [None, "1", -1, 2**62, 2**63])
def test_a_train_without_an_id_and_images_says_nothing(decoder, tid):
    decoder.decode(one_module(0), NOW)
    assert decoder.decode(source_2_2({}, {"x": 1}, "ZONE/PLATE", metadata(tid)), NOW) == []


def test_before_its_first_image_a_train_of_no_pulses_says_nothing(decoder):
    assert decoder.decode(one_module(0, pulses=0), NOW) == []
    assert len(decoder.decode(one_module(0), NOW)) == 3


def test_after_its_series_was_closed_a_train_without_images_is_no_error(decoder):
    start, *_ = decoder.decode(one_module(0), NOW)
    decoder.closed(start.series_uid)
    assert decoder.decode(source_2_2({}, {"n": 1}, "DET/0CH0:xtdf"), NOW) == []


def test_channels_whose_absence_is_told_are_bounded(decoder):
    for number in range(100):
        decoder.decode(one_module(number, tid=TRAIN + number), NOW)
    assert len(decoder.decode(source_2_2({}, {"x": 1}, "ZONE/PLATE", metadata(TRAIN + 100)), NOW)) == MAX_CHANNELS


def test_a_train_without_images_at_first_says_what_it_has(decoder):
    with pytest.raises(CodecError, match=r"no images 'image.data'.*DET\[other\].*options image and sources"):
        decoder.decode(source_2_2({"other": STACK}, name="DET"), NOW)


def test_options_choose_the_key_and_the_sources():
    parts = source_2_2({"data.adc": STACK[0, 0], "image.data": STACK[0]}, name="A") + one_module(3)
    _, frame = KaraboDecoder("bridge", image="data.adc").decode(parts, NOW)
    assert frame.channel == "A"
    parts = one_module(0, pulses=2) + one_module(1, pulses=1)
    with pytest.raises(CodecError, match="sources with"):
        KaraboDecoder("bridge").decode(parts, NOW)
    _, frame = make_decoder("karabo", "bridge", {"sources": ["DET/1CH0:xtdf"]}).decode(parts, NOW)
    assert frame.image_id == TRAIN


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_key": "x"}, "unknown field `image_key`; there are: image, sources, axes"),
        ({"image": 5}, "Expected `str`, got `int`"),
        ({"axes": "modules,x,y"}, "axes = 'modules,x,y'"),
        ({"axes": "ss,fs,fs"}, "axes"),
        ({"axes": "pulses"}, "axes"),
    ],
)
def test_options_that_are_none(options, words):
    with pytest.raises(OptionError, match=words.replace("(", r"\(")):
        make_decoder("karabo", "bridge", options)


def test_sources_may_come_in_any_order_but_data_before_arrays():
    parts = source_2_2({"image.data": STACK[0, 0]})
    assert refused(parts[2:] + parts[:2]) == "malformed"


@pytest.mark.parametrize(
    ("changes", "reason"), [({"timestamp.tid": None}, "malformed"), ({"timestamp.tid": -1}, "malformed"),
    ({"timestamp.tid": "5"}, "malformed"), ({"timestamp.tid": 2**62}, "malformed")]
)  # fmt: skip
def test_a_train_without_an_id(changes, reason):
    assert refused(source_2_2({"image.data": STACK[:, 0]}, meta=metadata(**changes))) == reason


def test_the_train_id_beside_the_images_of_files(decoder):
    beside = {"image.trainId": np.full(PULSES, TRAIN, "u8")}
    start, *_ = decoder.decode(source_2_2({"image.data": STACK[:, 0], **beside}, meta={}), NOW)
    assert start.first_image == TRAIN * PULSES


def test_another_number_of_pulses_opens_another_series(decoder):
    decoder.decode(one_module(0, pulses=2), NOW)
    start, frame = decoder.decode(one_module(0, pulses=1, tid=TRAIN + 1), NOW + 1)
    assert (start.series_uid, frame.image_id) == (f"{NOW + 1}_{TRAIN + 1}", TRAIN + 1)


def test_after_the_ledger_closed_the_series_the_next_train_opens_another(decoder):
    start, _ = decoder.decode(one_module(0, pulses=1), NOW)
    decoder.closed("another")
    assert len(decoder.decode(one_module(0, pulses=1, tid=TRAIN + 1), NOW + 1)) == 1
    decoder.closed(start.series_uid)
    again, frame = decoder.decode(one_module(0, pulses=1, tid=TRAIN + 2), NOW + 2)
    assert frame.series_uid == again.series_uid != start.series_uid
    assert again.first_image == TRAIN + 2


def test_a_train_that_comes_twice_opens_nothing(decoder):
    decoder.decode(one_module(0, pulses=1), NOW)
    assert len(decoder.decode(one_module(0, pulses=1), NOW)) == 1


HEAD = {"source": AGIPD, "content": "msgpack", "metadata": {}}
ARRAY = {"source": AGIPD, "content": "array", "path": "image.data", "dtype": "uint16", "shape": [2, 2]}


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([], "truncated"),
        ([b""], "truncated"),
        ([pack([1])], "malformed"),
        ([pack({"a": 5})], "malformed"),
        (source_2_2({"image.data": STACK})[:-1], "truncated"),
        ([pack(HEAD), pack([])], "malformed"),
        ([pack({"content": "msgpack"}), pack({})], "malformed"),
        ([pack({**HEAD, "content": "ImageData"}), pack({})], "unsupported"),  # version 2.1 and whatever comes
        ([pack(HEAD), pack({}), pack({**ARRAY, "path": 5}), bytes(8)], "malformed"),
        ([pack(HEAD), pack({}), pack({**ARRAY, "shape": [2, -2]}), bytes(8)], "malformed"),
        ([pack(HEAD), pack({}), pack({**ARRAY, "shape": 4}), bytes(8)], "malformed"),
        ([pack(HEAD), pack({}), pack({**ARRAY, "shape": [1] * 9}), bytes(8)], "malformed"),
        ([pack(HEAD), pack({}), pack({**ARRAY, "dtype": 5}), bytes(8)], "malformed"),
        ([pack(HEAD), pack({}), pack({**ARRAY, "shape": [2, 2, 2, 2, 2]}), bytes(64)], "unsupported"),
        ([pack(HEAD), pack({}), pack(ARRAY), bytes(7)], "truncated"),
        ([pack(HEAD), pack({}), pack(ARRAY), bytes(9)], "malformed"),
        ([pack(HEAD), pack({}), pack({**ARRAY, "shape": [2**40, 2**40]}), bytes(8)], "too_large"),
        ([pack(HEAD), pack({}), pack({**ARRAY, "shape": [20_000, 1, 1]}), bytes(40_000)], "too_large"),
        ([pack(HEAD)] * 5000, "too_large"),
        ([pack({**HEAD, "source": "s" * 200}), pack({}), pack({**ARRAY, "source": "s" * 200}), bytes(8)], "malformed"),
        ([pack({AGIPD: {"image.data": {b"nd": True, b"type": "<u2", b"shape": [1], b"data": "x"}}})], "malformed"),
    ],
)
def test_messages_that_are_none(parts, reason):
    assert refused(parts) == reason


def test_a_refused_message_opens_no_series(decoder):
    assert refused(one_module(0) + one_module(1, tid=-1), decoder) == "malformed"
    assert isinstance(decoder.decode(one_module(0), NOW)[0], SeriesStart)


def acquisition(**changes):
    fields = {
        "series_id": 4,
        "series_uid": "uid",
        "arm_date": "2026-01-02T03:04:05Z",
        "images": 6,
        "shape": (SS, FS),
        "dtype": "uint16",
        "channels": ("DET/1", "DET/0"),
        "compression": Compression.NONE,
        "images_per_message": 3,
    }
    return Acquisition(**{**fields, **changes})


@pytest.mark.parametrize("encoder", [KaraboEncoder, KaraboOldEncoder])
def test_encoder_sends_trains_of_pulses(decoder, encoder):
    sender = encoder(acquisition())
    assert (sender.images_per_message, sender.start(), sender.end()) == (3, [], [])
    _, *frames = decoder.decode(sender.image(3, {"DET/1": STACK[:3, 1], "DET/0": STACK[:3, 0]}), NOW)
    assert [(frame.channel, frame.image_id) for frame in frames] == [
        (f"DET/{module}", 3 + pulse) for module in (0, 1) for pulse in range(3)
    ]
    for frame in frames:
        np.testing.assert_array_equal(pixels(frame), STACK[frame.image_id - 3, int(frame.channel[-1])])


def test_encoder_sorts_sources_and_dates_trains():
    parts = KaraboEncoder(acquisition()).image(3, {"DET/1": STACK[:3, 1], "DET/0": STACK[:3, 0]})
    heads = [msgpack.unpackb(part) for part in parts[::2]]
    assert [head["source"] for head in heads] == ["DET/0"] * 3 + ["DET/1"] * 3
    assert heads[0]["metadata"] == {
        "source": "DET/0",
        "timestamp": 1767323045.03,
        "timestamp.sec": "1767323045",
        "timestamp.frac": "030000000000000000",
        "timestamp.tid": 1,
    }


def test_a_detector_armed_again_opens_another_series(decoder):
    images = {"DET/1": STACK[:3, 1], "DET/0": STACK[:3, 0]}
    decoder.decode(KaraboEncoder(acquisition()).image(3, images), NOW)
    later = KaraboEncoder(acquisition(arm_date="2026-01-02T03:05:05Z"))
    assert isinstance(decoder.decode(later.image(0, images), NOW + 1)[0], SeriesStart)


@pytest.mark.parametrize("encoder", [KaraboEncoder, KaraboOldEncoder])
def test_encoder_sends_a_train_of_no_pulses(decoder, encoder):
    sending = encoder(acquisition())
    decoder.decode(sending.image(0, {"DET/1": STACK[:3, 1], "DET/0": STACK[:3, 0]}), NOW)
    found = all_absent(decoder.decode(sending.image(3, {}), NOW))
    assert [(one.channel, one.image_id, one.count) for one in found] == [("DET/0", 3, 3), ("DET/1", 3, 3)]


@pytest.mark.parametrize("changes", [{"images": 7}, {"compression": Compression.BSLZ4}, {"dtype": "float32"}])
def test_encoder_refuses_what_the_protocol_cannot_say(changes):
    with pytest.raises(ValueError, match=r"do not fill trains|cannot send"):
        KaraboEncoder(acquisition(**changes))


@pytest.mark.parametrize(
    ("image_id", "images"),
    [
        (1, {"DET/1": STACK[:3, 1], "DET/0": STACK[:3, 0]}),
        (0, {"DET/1": STACK[:2, 1], "DET/0": STACK[:3, 0]}),
        (0, {"DET/1": STACK[0, 1], "DET/0": STACK[:3, 0]}),
        (0, {"DET/0": STACK[:3, 0]}),
        (0, {"DET/1": STACK[:3, 1].astype("u4"), "DET/0": STACK[:3, 0]}),
    ],
)
def test_encoder_refuses_images_of_another_series(image_id, images):
    with pytest.raises(ValueError, match=r"train|series"):
        KaraboEncoder(acquisition()).image(image_id, images)
