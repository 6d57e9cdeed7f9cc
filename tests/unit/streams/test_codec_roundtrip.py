"""Both protocols, encoder to decoder: every compression and pixel type, damaged messages, measured frames."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.scanfiles import open_scan
from streams.codecs import DECODERS, DEFAULT_PORTS, ENCODERS
from streams.messages import Acquisition, CodecError, Compression, Frame, SeriesEnd, SeriesStart
from tests.data import measured_data
from tests.decoded import pixels

CARRIED = {
    "simplon-v1": [Compression.NONE, Compression.LZ4_BLOCK, Compression.BSLZ4],
    "stream-v2": [Compression.NONE, Compression.LZ4_HDF5, Compression.BSLZ4, Compression.BSZSTD],
}
WAYS = [(protocol, compression) for protocol, compressions in CARRIED.items() for compression in compressions]
REASONS = {"truncated", "malformed", "unsupported", "too_large", "unknown_series"}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def acquisition(shape, dtype, compression, user_data=None):
    return Acquisition(
        series_id=4,
        series_uid="uid",
        arm_date="2026-01-02T03:04:05Z",
        images=3,
        shape=shape,
        dtype=dtype,
        compression=compression,
        user_data=user_data,
    )


def test_every_protocol_can_be_read_and_spoken():
    assert set(DECODERS) == set(ENCODERS) == set(DEFAULT_PORTS) == set(CARRIED)


@given(
    way=st.sampled_from(WAYS),
    image=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.uint32]), st.tuples(st.integers(1, 60), st.integers(1, 60))
    ),
    image_id=st.integers(0, 2**40),
    told=json_values,
)
def test_round_trip(way, image, image_id, told):
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


def messages_of(protocol):
    """Well-formed messages of every kind."""
    image = (np.arange(24 * 36) % 7).astype("u2").reshape(24, 36)
    encoder = ENCODERS[protocol](acquisition(image.shape, "uint16", Compression.BSLZ4, {"scan": {"axes": ["row"]}}))
    return [*encoder.start(), encoder.image(1, {"image": image}, {"position": {"row": 1.5}}), *encoder.end()]


MESSAGES = {protocol: messages_of(protocol) for protocol in CARRIED}


@given(data=st.data(), protocol=st.sampled_from(list(CARRIED)))
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


@given(data=st.data(), protocol=st.sampled_from(list(CARRIED)))
def test_any_bytes_are_refused(data, protocol):
    parts = data.draw(st.lists(st.binary(max_size=100), max_size=5))
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
                (frame,) = decoder.decode(encoder.image(index, {"image": image}), 1)
                np.testing.assert_array_equal(pixels(frame), image, strict=True)
