"""All protocols, encoder to decoder: every compression and pixel type, damaged messages, measured frames."""

import tracemalloc

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.scanfiles import open_scan
from streams.codecs import ANNOUNCED, DECODERS, DEFAULT_PORTS, ENCODERS, PROTOCOLS
from streams.messages import Acquisition, CodecError, Compression, Frame, SeriesEnd, SeriesStart
from tests.data import measured_data
from tests.decoded import pixels

WAYS = [(protocol, compression) for protocol, traits in PROTOCOLS.items() for compression in traits.compressions]
REASONS = {"truncated", "malformed", "unsupported", "too_large", "unknown_series", "corrupt"}
COUNTS = [np.uint8, np.uint16, np.uint32]
SIDES = st.tuples(st.integers(1, 60), st.integers(1, 60))

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def acquisition(shape, dtype, compression, user_data=None, **changes):
    return Acquisition(
        series_id=4,
        series_uid="uid",
        arm_date="2026-01-02T03:04:05Z",
        images=3,
        shape=shape,
        dtype=dtype,
        compression=compression,
        user_data=user_data,
        **changes,
    )


def test_every_protocol_can_be_read_and_spoken():
    assert set(DECODERS) == set(ENCODERS) == set(DEFAULT_PORTS) == set(PROTOCOLS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_encoders_send_what_their_protocol_is_said_to_have(protocol):
    """`PROTOCOLS` is what fault benches reason with, so it must be true."""
    traits = PROTOCOLS[protocol]
    names = ("image", "other") if traits.channels else ("image",)
    pulses = 3 if traits.trains else 1
    armed = acquisition((4, 5), "uint16", traits.compressions[0], channels=names, images_per_message=pulses)
    encoder, decoder = ENCODERS[protocol](armed), DECODERS[protocol]("detector")
    assert (bool(encoder.start()), bool(encoder.end())) == (traits.start, traits.end)
    assert encoder.images_per_message == pulses
    announced = [message for parts in encoder.start() for message in decoder.decode(parts, 1)]
    shape = (pulses, 4, 5) if traits.trains else (4, 5)
    messages = decoder.decode(encoder.image(0, {name: np.zeros(shape, "u2") for name in names}), 2)
    start = (announced or messages)[0]
    frames = [message for message in messages if isinstance(message, Frame)]
    assert isinstance(start, SeriesStart) and len(frames) == pulses * len(names)
    assert (start.expected == 3) == traits.expected
    assert (start.series_uid == "uid") == traits.unique_id
    assert (start.series_id == 4) == traits.series_number
    assert {frame.channel for frame in frames} == set(names)


@pytest.mark.parametrize(("protocol", "compression"), [(p, c) for p in PROTOCOLS for c in Compression])
def test_encoders_refuse_other_compressions_than_they_are_said_to_have(protocol, compression):
    arm = acquisition((4, 5), "uint16", compression)
    if compression in PROTOCOLS[protocol].compressions:
        ENCODERS[protocol](arm)
    else:
        with pytest.raises(ValueError, match=f"{protocol.partition('-1.0')[0]}.* cannot send {compression}; it has "):
            ENCODERS[protocol](arm)


ANNOUNCED_WAYS = [way for way in WAYS if way[0] in ANNOUNCED]
NAMELESS_WAYS = [way for way in WAYS if way[0] not in ANNOUNCED]


@given(
    way=st.sampled_from(ANNOUNCED_WAYS),
    image=hnp.arrays(st.sampled_from(COUNTS), SIDES),
    image_id=st.integers(0, 2**40),
    told=json_values,
)
def test_round_trip_of_announced_series(way, image, image_id, told):
    protocol, compression = way
    encoder = ENCODERS[protocol](acquisition(image.shape, image.dtype.name, compression, told))
    decoder = DECODERS[protocol]("detector")
    (start,) = [message for parts in encoder.start() for message in decoder.decode(parts, 1)]
    (frame,) = decoder.decode(encoder.image(image_id, {"image": image}, told), 2)
    (end,) = [message for parts in encoder.end() for message in decoder.decode(parts, 3)]
    assert isinstance(start, SeriesStart) and isinstance(frame, Frame) and isinstance(end, SeriesEnd)
    assert (start.expected, start.shape, start.dtype, start.channels) == (3, image.shape, image.dtype.name, ("image",))
    assert start.user_data == frame.user_data == told
    assert start.series_uid == frame.series_uid == end.series_uid
    assert (frame.series_id, frame.image_id, frame.compression) == (4, image_id, compression)
    np.testing.assert_array_equal(pixels(frame), image, strict=True)


scalars = st.dictionaries(
    st.text(st.characters(categories=("L", "N")), min_size=1, max_size=20).filter(lambda name: name != "image"),
    st.floats(-1e15, 1e15) | st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=50),
    max_size=4,
)


@given(
    way=st.sampled_from(NAMELESS_WAYS),
    stack=hnp.arrays(
        st.sampled_from([*COUNTS, np.int8, np.int16, np.int32]),
        st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    ),
    train=st.integers(0, 2**36),
    position=st.dictionaries(st.sampled_from(["row", "col"]), st.floats(-1e6, 1e6), max_size=2),
    values=scalars,
)
def test_round_trip_of_streams_without_series(way, stack, train, position, values):
    protocol, compression = way
    trains = PROTOCOLS[protocol].trains
    stack = stack if trains else stack[:1]
    assume(trains or stack.shape[1:] != (1, 1))  # bsread: that is a scalar
    assume(len(stack) == 1 or len(stack) != stack.shape[2])  # Karabo: then axes would have to be set
    fields = {"images_per_message": len(stack), "frame_time_s": 1e-5}
    arm = acquisition(stack.shape[1:], stack.dtype.name, compression, **fields)
    encoder = ENCODERS[protocol](msgspec.structs.replace(arm, images=len(stack)))
    decoder = DECODERS[protocol]("detector")
    first = train * len(stack)
    told = {"position": position, **values}
    start, *frames = decoder.decode(encoder.image(first, {"image": stack if trains else stack[0]}, told), 2)
    assert isinstance(start, SeriesStart) and len(frames) == len(stack)
    assert (start.expected, start.first_image, start.shape, start.dtype) == (
        None,
        first,
        stack.shape[1:],
        stack.dtype.name,
    )
    for pulse, frame in enumerate(frames):
        assert isinstance(frame, Frame)
        assert (frame.series_uid, frame.image_id, frame.channel) == (start.series_uid, first + pulse, "image")
        assert frame.user_data.get("position", {}) == position
        found = frame.user_data.get("ndattr") or frame.user_data.get("values", {})
        assert {name.rpartition("[")[2].rstrip("]"): value for name, value in found.items()} == {
            **{f"position.{axis}": value for axis, value in position.items()},
            **values,
        }
        np.testing.assert_array_equal(pixels(frame), stack[pulse], strict=True)


@pytest.mark.parametrize(("protocol", "compression"), WAYS)
def test_pixel_bytes_are_never_copied(protocol, compression):
    image = (np.arange(200 * 300) % 251).astype("u2").reshape(200, 300)
    parts = ENCODERS[protocol](acquisition(image.shape, "uint16", compression)).image(0, {"image": image})
    messages = DECODERS[protocol]("detector").decode([memoryview(part) for part in parts], 1)
    (frame,) = [message for message in messages if isinstance(message, Frame)]
    owners = [part.obj if isinstance(part, memoryview) else part for part in parts]
    assert isinstance(frame.blob, memoryview) and any(frame.blob.obj is owner for owner in owners)


def messages_of(protocol):
    """Well-formed messages of every kind."""
    image = (np.arange(24 * 36) % 7).astype("u2").reshape(24, 36)
    compression, told = PROTOCOLS[protocol].compressions[0], {"scan": {"axes": ["row"]}}
    encoder = ENCODERS[protocol](acquisition(image.shape, "uint16", compression, told))
    return [*encoder.start(), encoder.image(1, {"image": image}, {"position": {"row": 1.5}}), *encoder.end()]


MESSAGES = {protocol: messages_of(protocol) for protocol in PROTOCOLS}


@given(data=st.data(), protocol=st.sampled_from(list(PROTOCOLS)))
def test_a_damaged_message_is_decoded_or_refused_and_allocates_little(data, protocol):
    parts = [bytearray(part) for part in data.draw(st.sampled_from(MESSAGES[protocol]))]
    for _ in range(data.draw(st.integers(1, 4))):
        part = data.draw(st.sampled_from(parts))
        if part:
            part[data.draw(st.integers(0, len(part) - 1))] = data.draw(st.integers(0, 255))
    victim = data.draw(st.sampled_from(parts))
    if data.draw(st.booleans()):
        del victim[data.draw(st.integers(0, len(victim))) :]
    if data.draw(st.booleans()):
        parts = parts[: data.draw(st.integers(0, len(parts)))]
    decoder = DECODERS[protocol]("detector")
    tracemalloc.start()
    try:
        decoded = decoder.decode([bytes(part) for part in parts], 1)
        frames = [message for message in decoded if isinstance(message, Frame)]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        for frame in frames:
            if frame.shape[0] * frame.shape[1] < 100_000:
                pixels(frame)
    except CodecError as error:
        assert error.reason in REASONS
    finally:
        tracemalloc.stop()


@given(data=st.data(), protocol=st.sampled_from(list(PROTOCOLS)))
def test_any_bytes_are_refused(data, protocol):
    parts = data.draw(st.lists(st.binary(max_size=100), max_size=5).filter(lambda parts: parts != [b"STOP"]))
    with pytest.raises(CodecError) as caught:
        DECODERS[protocol]("detector").decode(parts, 1)
    assert caught.value.reason in REASONS


@pytest.mark.parametrize(
    "name",
    [
        "siemens_star/siemens-star-small.npz.bz2",
        "ptycho_cxi/PETRAIII_P25_Near_Field_Ptycho.cxi",
        "ptychonn_2idd/frames.npz",
        "powder_ceria/ceria_pilatus2m.hdf5",
    ],
)
def test_measured_frames_travel_bit_exactly(name):
    with open_scan(measured_data(name)) as scan:
        for protocol, compression in WAYS:
            encoder = ENCODERS[protocol](acquisition(scan.shape, scan.dtype, compression))
            decoder = DECODERS[protocol]("detector")
            for index in range(0, scan.count, max(1, scan.count // 20)):
                image = scan.frame(index)
                *_, frame = decoder.decode(encoder.image(index, {"image": image}), 1)
                np.testing.assert_array_equal(pixels(frame), image, strict=True)
