"""What each protocol can say of a series. What it cannot say, no ledger can know."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from streams.messages import Compression


class Traits(msgspec.Struct, frozen=True):
    """The vocabulary of one protocol, as our encoders and decoders use it."""

    start: bool  # announces a series
    end: bool  # says that it is over
    expected: bool  # tells how many images were asked for
    unique_id: bool  # names series by an id that is never used again
    series_number: bool  # numbers series
    channels: bool  # several images an exposure
    trains: bool  # several exposures a message
    empty: bool  # says so where an exposure has no image
    user_data: Literal["any", "scalars"]  # what may ride along with an image
    checksum: bool  # of the pixels, looked at where the decoder's option `verify_hash` asks for it
    timestamps: bool  # every image says when it was taken: an image sent twice differs from a detector that began anew
    compressions: tuple[Compression, ...]  # that encoders may be asked for, the usual one first


_NONE, _BLOCK, _HDF5 = Compression.NONE, Compression.LZ4_BLOCK, Compression.LZ4_HDF5
_BSLZ4, _BSZSTD = Compression.BSLZ4, Compression.BSZSTD

_KARABO = Traits(
    start=False,
    end=False,
    expected=False,
    unique_id=False,
    series_number=False,
    channels=True,
    trains=True,
    empty=True,
    user_data="scalars",
    checksum=False,
    timestamps=True,
    compressions=(_NONE,),
)

PROTOCOLS: Mapping[str, Traits] = {
    "simplon-v1": Traits(
        start=True,
        end=True,
        expected=True,
        unique_id=False,  # its arming date stands for one
        series_number=True,
        channels=False,
        trains=False,
        empty=False,
        user_data="any",
        checksum=True,
        timestamps=False,  # times count from the arming
        compressions=(_BSLZ4, _BLOCK, _NONE),
    ),
    "stream-v2": Traits(
        start=True,
        end=True,
        expected=True,
        unique_id=True,
        series_number=True,
        channels=True,
        trains=False,
        empty=False,
        user_data="any",
        checksum=False,
        timestamps=False,
        compressions=(_BSLZ4, _HDF5, _BSZSTD, _NONE),
    ),
    "karabo": _KARABO,
    "karabo-1.0": _KARABO,
    "array-1.0": Traits(
        start=False,
        end=False,
        expected=False,
        unique_id=False,
        series_number=False,
        channels=False,
        trains=False,
        empty=False,
        user_data="scalars",
        checksum=False,
        timestamps=True,
        compressions=(_NONE, _BSLZ4, _BLOCK, _HDF5),
    ),
    "bsread": Traits(
        start=False,
        end=False,
        expected=False,
        unique_id=False,
        series_number=False,
        channels=True,
        trains=False,
        empty=True,
        user_data="scalars",
        checksum=False,
        timestamps=True,
        compressions=(_BSLZ4, _BLOCK, _NONE),
    ),
}
"""By the names that decoders and encoders are registered with."""
