"""DECTRIS' decoder, with its output where it belongs: the C function behind `dectris.compression.decompress`.

The Python function makes a bytes object of each image, which must be copied then: a quarter of the time, and twice the
memory. The C function is declared in the library's header (dectris/compression, src/compression.h) and exported by the
extension module:

    size_t compression_decompress_buffer(algorithm, dst, dst_size, src, src_size, elem_size)

It writes no more than `dst_size` bytes, reads no more than `src_size`, and returns SIZE_MAX for data that are none.
A release that does not export it costs the time only: `decode` is None then.
"""

import ctypes
from collections.abc import Callable, Mapping
from types import MappingProxyType

import dectris.compression
import numpy as np
from numpy.typing import NDArray

from streams.messages import Compression, Part

ALGORITHMS: Mapping[Compression, int] = MappingProxyType(
    {Compression.BSLZ4: 0, Compression.BSLZ4_BARE: 0, Compression.LZ4_HDF5: 1}
)
"""As the header numbers them; it has no other in all of its releases."""

WORTH_BYTES = 256 * 1024
"""Smaller images are copied sooner than the addresses are found: some 3 microseconds."""

Decode = Callable[[Part, int, int, NDArray[np.uint8]], bool]


def _bound() -> Decode | None:
    library = ctypes.CDLL(dectris.compression.__file__)
    try:
        function = library.compression_decompress_buffer
    except AttributeError:
        return None
    function.restype = ctypes.c_size_t
    function.argtypes = [ctypes.c_int, *[ctypes.c_void_p, ctypes.c_size_t] * 2, ctypes.c_size_t]

    def decode(blob: Part, algorithm: int, itemsize: int, out: NDArray[np.uint8]) -> bool:
        into = ctypes.c_char.from_buffer(out.data)  # refuses what is read-only or in pieces
        source = np.frombuffer(blob, np.uint8)
        done = function(algorithm, ctypes.addressof(into), out.size, source.ctypes.data, source.size, itemsize)
        return done == out.size

    return decode


decode = _bound()
"""Decode `blob` (bytes with the header of the HDF5 filters), of elements of `itemsize` bytes, into `out`, which is not
empty; whether it was filled. Releases the GIL meanwhile."""
