"""Pixels out of every compression, against third-party encoders, and out of hostile bytes."""

import struct
import tracemalloc

import bitshuffle
import lz4.block
import numpy as np
import pytest
from dectris.compression import decompress as dectris_decompress
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streams.codecs import in_place
from streams.codecs.compression import compress, decompress_into, read_array
from streams.codecs.lz4_blocks import lz4_block_length
from streams.messages import CodecError, Compression, EncodedArray, Frame


@pytest.fixture(scope="module", autouse=True, params=[0, 1 << 62], ids=["in place", "by way of bytes"])
def either_way(request):
    """Images of any size are decoded in place, or none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_place, "WORTH_BYTES", request.param)
        yield


ALL = list(Compression)
FRAMED = [Compression.LZ4_HDF5, Compression.BSLZ4, Compression.BSZSTD]
RAMP = (np.arange(37 * 53) % 251).reshape(37, 53)  # 1961 pixels: one is left over after blocks of 8


def frame(blob, shape=RAMP.shape, dtype="<u2", compression=Compression.NONE, strides=None):
    return Frame("test", "uid", 1, 0, "image", shape, dtype, compression, blob, None, strides)


def decoded(message):
    itemsize = np.dtype(message.dtype).itemsize
    out = np.full(message.shape[0] * message.shape[1] * itemsize, 0xA5, np.uint8)
    decompress_into(message, out)
    return out.view(np.dtype(message.dtype).newbyteorder("<")).reshape(message.shape)


@pytest.mark.parametrize("dtype", ["|u1", "<u2", ">u2", "<u4", ">u4", "|i1", "<i2", ">i2", "<i4", ">i4"])
@pytest.mark.parametrize("compression", ALL)
def test_every_pixel_type_comes_out_little_endian(compression, dtype):
    image = RAMP.astype(dtype)
    np.testing.assert_array_equal(
        decoded(frame(compress(image, compression), dtype=dtype, compression=compression)), image
    )


@given(
    image=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.uint32]), st.tuples(st.integers(1, 70), st.integers(1, 70))
    ),
    compression=st.sampled_from(ALL),
)
def test_round_trip(image, compression):
    blob = compress(image, compression)
    message = frame(blob, image.shape, np.dtype(image.dtype).str, compression)
    np.testing.assert_array_equal(decoded(message), image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize(("compression", "name"), list(zip(FRAMED, ["lz4", "bslz4", "bszstd"], strict=True)))
def test_the_vendors_decoder_reads_what_we_write(compression, name, dtype):
    image = RAMP.astype(dtype)
    assert dectris_decompress(compress(image, compression), name, elem_size=image.itemsize) == image.tobytes()


def test_bslz4_of_bitshuffle_with_leftover_elements_and_many_blocks():
    image = np.random.default_rng(1).poisson(3, (211, 307)).astype("<u2")  # 64777 = 15 blocks of 4096, rest, 1 raw
    blob = struct.pack(">QI", image.nbytes, 8192) + bitshuffle.compress_lz4(image.ravel(), 4096).tobytes()
    assert blob[-2:] == image.tobytes()[-2:]
    np.testing.assert_array_equal(decoded(frame(blob, image.shape, compression=Compression.BSLZ4)), image)


def test_bslz4_with_another_block_size():
    image = RAMP.astype("<u4")
    blob = struct.pack(">QI", image.nbytes, 256) + bitshuffle.compress_lz4(image.ravel(), 64).tobytes()
    np.testing.assert_array_equal(decoded(frame(blob, dtype="<u4", compression=Compression.BSLZ4)), image)


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<u4"])
def test_bslz4_header_of_zeros_means_the_default_block(dtype):
    image = np.random.default_rng(2).poisson(3, (128, 131)).astype(dtype)
    blob = bytes(12) + compress(image, Compression.BSLZ4)[12:]
    np.testing.assert_array_equal(decoded(frame(blob, image.shape, dtype, Compression.BSLZ4)), image)


def test_lz4_hdf5_in_several_blocks_of_which_one_is_stored_as_is():
    noise = np.random.default_rng(3).integers(0, 256, 1000, dtype=np.uint8)
    image = np.concatenate([np.zeros(1000, np.uint8), noise, np.ones(500, np.uint8)])
    blob = struct.pack(">QI", 2500, 1000)
    for block in (image[:1000], image[1000:2000], image[2000:]):
        packed = lz4.block.compress(block.tobytes(), store_size=False)
        body = packed if len(packed) < len(block) else block.tobytes()
        blob += struct.pack(">I", len(body)) + body
    out = decoded(frame(blob, (50, 50), "|u1", Compression.LZ4_HDF5))
    np.testing.assert_array_equal(out.ravel(), image)


def test_lz4_hdf5_of_the_filters_default_block_of_a_gigabyte():
    image = RAMP.astype("<u2")
    blob = compress(image, Compression.LZ4_HDF5)
    blob = blob[:8] + struct.pack(">I", 1 << 30) + blob[12:]
    np.testing.assert_array_equal(decoded(frame(blob, compression=Compression.LZ4_HDF5)), image)


def test_raw_lz4_block_has_no_header_at_all():
    image = RAMP.astype("<u2")
    blob = lz4.block.compress(image.tobytes(), store_size=False)
    np.testing.assert_array_equal(decoded(frame(blob, compression=Compression.LZ4_BLOCK)), image)


@given(data=st.binary(min_size=1, max_size=3000), repeats=st.integers(1, 40), junk=st.binary(max_size=50))
def test_the_end_of_a_raw_lz4_block_is_found(data, repeats, junk):
    block = lz4.block.compress(data * repeats, store_size=False)
    assert lz4_block_length(memoryview(block + junk), len(data) * repeats) == len(block)


@given(
    image=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.uint32]), st.tuples(st.integers(1, 99), st.integers(1, 99))
    ),
    junk=st.binary(max_size=50),
)
def test_bare_bslz4_with_anything_behind_it(image, junk):
    """The elements that are left over after blocks of eight are where they are, not at the end of what was sent."""
    blob = compress(image, Compression.BSLZ4_BARE) + junk
    for sent in (blob, blob + bytes(image.nbytes)):
        message = frame(sent, image.shape, image.dtype.str, Compression.BSLZ4_BARE)
        np.testing.assert_array_equal(decoded(message), image)


@given(st.binary(max_size=300), st.integers(0, 10_000))
def test_what_is_no_block_is_left_whole_or_cut_within(blob, total):
    assert 0 <= lz4_block_length(memoryview(blob), total) <= len(blob)


@pytest.mark.parametrize("dtype", ["|u1", "<u2", ">u2", ">u4"])
@pytest.mark.parametrize("compression", ALL)
def test_column_major_pixels_are_put_in_rows(compression, dtype):
    image = RAMP.astype(dtype)
    blob = compress(np.ascontiguousarray(image.T), compression)
    np.testing.assert_array_equal(
        decoded(frame(blob, image.shape, dtype, compression, (image.itemsize, image.nbytes // image.shape[1]))), image
    )


def test_decodes_into_an_unaligned_slice_and_nothing_beside_it():
    image = RAMP.astype(">u2")
    arena = np.full(image.nbytes + 6, 0xA5, np.uint8)
    blob = memoryview(compress(image, Compression.BSLZ4))
    decompress_into(frame(blob, dtype=">u2", compression=Compression.BSLZ4), arena[3:-3])
    assert arena[3:-3].tobytes() == image.astype("<u2").tobytes()
    assert (arena[:3] == 0xA5).all() and (arena[-3:] == 0xA5).all()


@pytest.mark.parametrize("size", [0, RAMP.size * 2 - 1, RAMP.size * 2 + 1])
def test_a_buffer_of_another_size_is_the_callers_mistake(size):
    with pytest.raises(ValueError, match="does not go into"):
        decompress_into(frame(RAMP.astype("<u2").tobytes()), np.zeros(size, np.uint8))


PACKED = {compression: compress(RAMP.astype("<u2"), compression) for compression in ALL}


@pytest.mark.parametrize(
    ("compression", "blob", "reason"),
    [
        (Compression.NONE, PACKED[Compression.NONE][:-1], "truncated"),
        (Compression.NONE, PACKED[Compression.NONE] + b"x", "malformed"),
        (Compression.LZ4_BLOCK, b"", "truncated"),
        (Compression.LZ4_BLOCK, lz4.block.compress(bytes(range(250)) * 12, store_size=False), "truncated"),
        (Compression.LZ4_BLOCK, PACKED[Compression.LZ4_BLOCK][:-1], "malformed"),
        *[(c, b"", "truncated") for c in FRAMED],
        *[(c, PACKED[c][:11], "truncated") for c in FRAMED],
        *[(c, PACKED[c][:-3], "malformed") for c in FRAMED],
        *[(c, struct.pack(">Q", 2**63) + PACKED[c][8:], "too_large") for c in FRAMED],
        *[(c, struct.pack(">Q", RAMP.size * 2 + 2) + PACKED[c][8:], "too_large") for c in FRAMED],
        *[(c, struct.pack(">Q", RAMP.size * 2 - 2) + PACKED[c][8:], "malformed") for c in FRAMED],
        *[(c, PACKED[c][:8] + struct.pack(">I", 2**32 - 16) + PACKED[c][12:], "malformed") for c in FRAMED],
        (Compression.BSLZ4, PACKED[Compression.BSLZ4][:8] + struct.pack(">I", 100) + bytes(500), "malformed"),
        (Compression.LZ4_HDF5, PACKED[Compression.LZ4_HDF5][:8] + bytes(500), "malformed"),
    ],
)
def test_a_blob_that_does_not_hold_the_image_is_refused(compression, blob, reason):
    with pytest.raises(CodecError) as caught:
        decoded(frame(blob, compression=compression))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("shape", "dtype", "reason"),
    [
        ((0, 5), "<u2", "malformed"),
        ((-1, 5), "<u2", "malformed"),
        ((2**40, 2**40), "<u2", "too_large"),
        ((16385, 16384), "<u2", "too_large"),
        ((5, 5), "<u8", "unsupported"),
        ((5, 5), "<f4", "unsupported"),
    ],
)
def test_an_impossible_image_is_refused_before_anything_is_allocated(shape, dtype, reason):
    with pytest.raises(CodecError) as caught:
        decompress_into(frame(b"", shape, dtype), np.zeros(1, np.uint8))
    assert caught.value.reason == reason


@pytest.mark.parametrize("compression", [Compression.LZ4_BLOCK, Compression.LZ4_HDF5, Compression.BSLZ4])
def test_a_few_bytes_cannot_make_lz4_allocate_a_large_image(compression):
    size = 64 * 1024 * 1024
    out = np.zeros(size, np.uint8)
    tracemalloc.start()
    try:
        with pytest.raises(CodecError, match="cannot hold"):
            decompress_into(frame(struct.pack(">QI", size, 8192) * 4, (8192, 8192), "|u1", compression), out)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compression", ALL)
@pytest.mark.parametrize("strides", [None, (4 * 8192, 4)])
def test_a_few_bytes_cannot_make_a_header_array_allocate(compression, strides):
    blob = struct.pack(">QI", 4 * 8192 * 8192, 8192) + bytes(20)
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            read_array(EncodedArray((8192, 8192), "<f4", compression, blob, strides))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@given(data=st.data(), compression=st.sampled_from(ALL))
def test_damaged_bytes_raise_codec_error_or_decode(data, compression):
    blob = bytearray(PACKED[compression])
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    del blob[data.draw(st.integers(0, len(blob))) :]
    try:
        decoded(frame(bytes(blob), compression=compression))
    except CodecError as error:
        assert error.reason in {"truncated", "malformed", "too_large"}


@pytest.mark.parametrize("dtype", [np.float32, np.uint64, np.complex64, bool])
def test_only_counts_can_be_compressed(dtype):
    with pytest.raises(ValueError, match="cannot travel"):
        compress(np.zeros((2, 2), dtype), Compression.BSLZ4)


def test_the_library_decodes_in_place():
    """Without it images are right all the same, but take a quarter more time; a release that hides it shows here."""
    assert in_place.decode is not None


def test_nothing_is_decoded_into_what_cannot_be_written():
    blob, out = PACKED[Compression.BSLZ4], np.zeros(2 * RAMP.size, np.uint8)
    out.flags.writeable = False
    with pytest.raises((TypeError, ValueError)):
        decompress_into(frame(blob, compression=Compression.BSLZ4), out)


def test_a_buffer_in_pieces_is_refused_or_filled():
    area = np.zeros(4 * RAMP.size, np.uint8)
    blob, out = PACKED[Compression.BSLZ4], area[::2]
    try:
        decompress_into(frame(blob, compression=Compression.BSLZ4), out)
    except TypeError:  # of ctypes
        assert not area.any()
    else:
        assert out.tobytes() == RAMP.astype("<u2").tobytes() and not area[1::2].any()
