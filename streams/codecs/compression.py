"""Pixels out of and into the compressions that detectors use.

Formats
-------
lz4-block  one raw LZ4 block, no header (SIMPLON API 1.8, "lz4<").
lz4-hdf5   HDF5 filter 32004: u64 total bytes, u32 block bytes, then for each block u32 length and the LZ4 block;
           a length equal to that of the block means stored as is. All big-endian (Stream V2, "lz4").
bslz4      HDF5 filter 32008: u64 total bytes, u32 block bytes, then for each block u32 length and the LZ4 block
           of bitshuffled elements; the last block is cut to a multiple of 8 elements, and the elements that
           remain follow as they are (SIMPLON "bs16-lz4<", Stream V2 "bslz4").
bslz4-bare bslz4 without its header, in blocks of the default size; bytes of anything may follow (areaDetector).
bszstd     bslz4 with Zstandard blocks.

Why these libraries: dectris-compression is the fastest. Where an image is large its C function decodes in place
(`streams.codecs.in_place`); the bytes object of the Python function is copied otherwise. bslz4, uint16, Poisson counts
of mean 3, one core, milliseconds of CPU time:

              dectris's bytes    + copy    in place    bitshuffle
  128 x 128       0.004          0.005      0.007        0.029
 1024 x 1024      0.22           0.27       0.25         0.81
 2048 x 2048      1.05           1.37       1.05         3.7

dectris-compression and lz4 release the GIL while they decode.
"""

import struct
from typing import Any

import bitshuffle
import lz4.block
import numpy as np
from dectris.compression import decompress as dectris_decompress
from numpy.typing import NDArray

from streams.codecs import in_place
from streams.codecs.limits import ITEMSIZES, check_raw, image_bytes
from streams.codecs.lz4_blocks import shuffled_length
from streams.messages import CodecError, Compression, EncodedArray, Frame, Part

BLOCK_BYTES = 8192
"""Bitshuffle's default block, which detectors use and some readers assume without looking."""

HEADER = struct.Struct(">QI")
"""Total bytes and block bytes, in front of everything but a raw LZ4 block."""

MAX_BLOCK_BYTES = 1 << 30
"""Largest block that is believed: the HDF5 LZ4 filter's own default. Smaller images are one smaller block."""

MAX_LZ4_RATIO = 255
"""An LZ4 block cannot expand further: each byte adds at most 255 (LZ4 block format, "Matchlength")."""

MAX_ZSTD_RATIO = 1 << 15
"""Nor a Zstandard block: four bytes repeat one byte 128 KiB long (RFC 8878, 3.1.1.2)."""

BITS = {f"{order}f{size}": f"{order}u{size}" for order in "<>" for size in (2, 4)}
"""Floating-point arrays of headers travel like unsigned integers of their size."""

_NONE, _LZ4_BLOCK, _LZ4_HDF5 = Compression.NONE, Compression.LZ4_BLOCK, Compression.LZ4_HDF5
_BSLZ4_BARE, _BSZSTD = Compression.BSLZ4_BARE, Compression.BSZSTD
"""Looking up a member of an enumeration is a call in Python 3.11; these are needed for every image."""

_BYTE = np.dtype(np.uint8)

_LIBRARY_NAMES = {
    Compression.LZ4_HDF5: "lz4",
    Compression.BSLZ4: "bslz4",
    Compression.BSLZ4_BARE: "bslz4",
    Compression.BSZSTD: "bszstd",
}


def decompress_into(frame: Frame, out: NDArray[np.uint8]) -> None:
    """Decode a frame: afterwards `out` holds the image row by row, little-endian.

    `out` is flat, contiguous, and exactly height * width * itemsize bytes long. Where this raises, its
    content is undefined.

    Raises:
        CodecError: the blob does not hold this image; nothing larger than the image was allocated.
        ValueError: `out` is not of the image's size, which is the caller's mistake.
    """
    total = image_bytes(frame.shape, frame.dtype)
    if out.shape != (total,) or out.dtype != _BYTE:
        raise ValueError(f"an image of {total} bytes does not go into {out.dtype}{list(out.shape)}")
    itemsize = ITEMSIZES[frame.dtype]
    if frame.strides is not None:
        _put(_decoded(frame, total, itemsize), frame.shape, frame.dtype, frame.strides, out)
        return
    _unpack_into(frame.blob, frame.compression, itemsize, out)
    if frame.dtype[0] == ">":
        out.view(frame.dtype).byteswap(inplace=True)


def _unpack_into(blob: Part, compression: Compression, itemsize: int, out: NDArray[np.uint8]) -> None:
    algorithm = in_place.ALGORITHMS.get(compression)
    if algorithm is None or out.size < in_place.WORTH_BYTES or in_place.decode is None:
        out.data[:] = memoryview(unpacked(blob, compression, out.size, itemsize)).cast("B")
        return
    blob = _checked_framing(blob, compression, out.size, itemsize)
    if not in_place.decode(blob, algorithm, itemsize, out):
        raise CodecError("malformed", f"{compression} data of {len(blob)} bytes")


def read_array(array: EncodedArray) -> NDArray[Any]:
    """Decode an array of a header: [rows, columns], native byte order, memory of its own.

    Raises:
        CodecError: the blob does not hold this array, or is larger than any detector's; what was allocated is no more
            than the blob can hold.
    """
    dtype = BITS.get(array.dtype, array.dtype)
    total = image_bytes(array.shape, dtype)
    decoded = _decoded(array, total, ITEMSIZES[dtype])
    out = np.empty(total, np.uint8)
    _put(decoded, array.shape, dtype, array.strides, out)
    return out.view(np.dtype(array.dtype).newbyteorder("=")).reshape(array.shape)


def _decoded(image: Frame | EncodedArray, total: int, itemsize: int) -> NDArray[np.uint8]:
    """The bytes of an image of `total` bytes, or those among which it lies, reaching far enough."""
    if image.strides is None:
        return np.frombuffer(unpacked(image.blob, image.compression, total, itemsize), np.uint8)
    if image.compression is _NONE:
        found = np.frombuffer(image.blob, np.uint8)
    else:
        found = np.frombuffer(unpacked(image.blob, image.compression, total, itemsize), np.uint8)
    (height, width), (down, right) = image.shape, image.strides
    reach = (height - 1) * down + (width - 1) * right + itemsize
    if down < 0 or right < 0 or reach > found.size:
        raise CodecError("truncated", f"an image that reaches to byte {reach} came with {found.size}")
    return found


def _put(
    found: NDArray[np.uint8],
    shape: tuple[int, int],
    dtype: str,
    strides: tuple[int, int] | None,
    out: NDArray[np.uint8],
) -> None:
    """The image in `found`, row by row and little-endian, into `out`."""
    if strides is None:
        out[...] = found
    else:
        kind = f"V{ITEMSIZES[dtype]}"
        out.view(kind).reshape(shape)[...] = np.ndarray(shape, kind, found, 0, strides)
    if dtype[0] == ">":
        out.view(dtype).byteswap(inplace=True)


def unpacked(blob: Part, compression: Compression, total: int, itemsize: int) -> Part:
    """The `total` bytes that `blob` holds, of elements of `itemsize` bytes.

    Raises:
        CodecError: it holds other; not more than `total` bytes were allocated.
    """
    if compression is _NONE:
        check_raw(len(blob), total)
        return blob
    if compression is _LZ4_BLOCK:
        _check_ratio(blob, compression, total)
        return _decode_lz4_block(blob, total)
    blob = _checked_framing(blob, compression, total, itemsize)
    try:
        pixels = dectris_decompress(blob, _LIBRARY_NAMES[compression], elem_size=itemsize)
    except (RuntimeError, SystemError) as error:  # SystemError: the library's answer to some hostile headers
        raise CodecError("malformed", f"{compression} data of {len(blob)} bytes: {error}") from error
    check_raw(len(pixels), total)
    return pixels


def _check_ratio(blob: Part, compression: Compression, total: int) -> None:
    ratio = MAX_ZSTD_RATIO if compression is _BSZSTD else MAX_LZ4_RATIO
    if len(blob) * ratio < total:
        raise CodecError("truncated", f"{len(blob)} bytes of {compression} cannot hold an image of {total}")


def _decode_lz4_block(blob: Part, total: int) -> bytes:
    try:
        pixels: bytes = lz4.block.decompress(blob, uncompressed_size=total)
    except lz4.block.LZ4BlockError as error:
        raise CodecError("malformed", f"LZ4 block of {len(blob)} bytes: {error}") from error
    check_raw(len(pixels), total)
    return pixels


def _checked_framing(blob: Part, compression: Compression, total: int, itemsize: int) -> Part:
    """The blob with a header that can be trusted."""
    _check_ratio(blob, compression, total)
    if compression is _BSLZ4_BARE:
        end = shuffled_length(memoryview(blob), total, BLOCK_BYTES, itemsize)
        return HEADER.pack(total, BLOCK_BYTES) + bytes(blob[:end])
    if len(blob) < HEADER.size:
        raise CodecError("truncated", f"{compression} header of {len(blob)} bytes")
    claimed, block = HEADER.unpack_from(blob)
    if compression is not _LZ4_HDF5 and (claimed == 0 or block == 0):
        # Some simulators send twelve zero bytes, and their readers skip them and assume the default block.
        # The copy of the compressed bytes is their price.
        claimed, block = claimed or total, block or BLOCK_BYTES
        blob = HEADER.pack(claimed, block) + bytes(blob[HEADER.size :])
    if claimed > total:
        raise CodecError("too_large", f"{compression} header announces {claimed} bytes for an image of {total}")
    if claimed < total:
        raise CodecError("malformed", f"{compression} header announces {claimed} bytes for an image of {total}")
    unit = 1 if compression is _LZ4_HDF5 else 8 * itemsize
    if not 0 < block <= MAX_BLOCK_BYTES or block % unit:
        raise CodecError("malformed", f"{compression} block of {block} bytes for {itemsize}-byte elements")
    return blob


def compress(image: NDArray[Any], compression: Compression) -> bytes:
    """Encode an image [height, width] as a detector does; its bytes are taken in the order they have.

    Raises:
        ValueError: the pixel type cannot travel.
    """
    if image.dtype.itemsize not in (1, 2, 4) or image.dtype.kind not in "ui":
        raise ValueError(f"pixels of type {image.dtype} cannot travel; convert to uint8, uint16 or uint32")
    flat = np.ascontiguousarray(image).ravel()
    if compression is Compression.NONE:
        return flat.tobytes()
    if compression is Compression.LZ4_BLOCK:
        return lz4.block.compress(flat.data, store_size=False)
    if compression is Compression.LZ4_HDF5:
        return _compress_lz4_hdf5(flat)
    # bitshuffle looks only at the element size; the view spares it byte orders that it refuses
    elements = flat.view(f"u{flat.itemsize}")
    pack = bitshuffle.compress_zstd if compression is Compression.BSZSTD else bitshuffle.compress_lz4
    header = b"" if compression is Compression.BSLZ4_BARE else HEADER.pack(flat.nbytes, BLOCK_BYTES)
    return header + pack(elements, BLOCK_BYTES // flat.itemsize).tobytes()


def _compress_lz4_hdf5(flat: NDArray[Any]) -> bytes:
    """One block for the whole image, stored as is where LZ4 does not make it smaller."""
    data = flat.tobytes()
    block = lz4.block.compress(data, store_size=False)
    body = data if len(block) >= len(data) else block
    return HEADER.pack(len(data), len(data)) + struct.pack(">I", len(body)) + body
