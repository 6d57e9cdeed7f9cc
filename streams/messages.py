"""The messages every protocol is translated to, and back.

A codec turns the parts of one ZeroMQ message into zero or more of these. Pixel bytes are never copied on
the way: `Frame.blob` is a view into the message as it was received.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

import msgspec

Part: TypeAlias = bytes | memoryview
"""One part of a multipart ZeroMQ message."""

DEFAULT_CHANNEL = "image"
"""Channel of protocols that have only one image per exposure."""


class Compression(StrEnum):
    """How `Frame.blob` holds the pixels. The names are ours: protocols reuse one name for different bytes."""

    NONE = "none"
    LZ4_BLOCK = "lz4-block"  # one raw LZ4 block without any header (SIMPLON v1 "lz4<")
    LZ4_HDF5 = "lz4-hdf5"  # HDF5 filter 32004 framing (Stream V2 "lz4")
    BSLZ4 = "bslz4"  # HDF5 filter 32008 framing, bitshuffle + LZ4
    BSLZ4_BARE = "bslz4-bare"  # the same without its header, bytes of anything may follow (areaDetector)
    BSZSTD = "bszstd"  # the same framing with Zstandard blocks


class EncodedArray(msgspec.Struct, frozen=True, gc=False):
    """A two-dimensional array that a header carries, still encoded (`streams.codecs.compression.read_array`)."""

    shape: tuple[int, int]  # (rows, columns)
    dtype: str  # numpy type with byte order as on the wire: "<u4", "<f4"
    compression: Compression
    blob: Part
    strides: tuple[int, int] | None = None  # as in `Frame`


class SeriesStart(msgspec.Struct, frozen=True, gc=False):
    """A series begins: the detector was armed, or a stream without series was met or went on anew."""

    source: str
    series_uid: str
    series_id: int
    expected: int | None  # images per channel that the arm command asked for; None: not told
    channels: tuple[str, ...]
    shape: tuple[int, int] | None = None  # (height, width)
    dtype: str | None = None  # numpy name, e.g. "uint16"
    header: Mapping[str, Any] = {}  # the detector's own words, plain types only
    user_data: Any = None
    first_image: int = 0  # its images are first_image, first_image + 1, ...: pulse ids do not begin at 0
    pixel_mask: Mapping[str, EncodedArray] = {}  # by channel; uint32, 0: a good pixel
    flatfield: Mapping[str, EncodedArray] = {}  # by channel; float32 factors


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One detector image, still encoded."""

    source: str
    series_uid: str
    series_id: int
    image_id: int
    channel: str
    shape: tuple[int, int]  # (height, width)
    dtype: str  # numpy type with byte order as on the wire: "<u2", "|u1", ">u4"
    compression: Compression
    blob: Part
    user_data: Any = None  # whatever rode along, e.g. {"position": {"row": 1.5, "col": 2.0}}
    strides: tuple[int, int] | None = None  # bytes to the next row and column of the decoded pixels; None: row by row

    @property
    def key(self) -> tuple[str, str, int, str]:
        """Identity of the image."""
        return (self.source, self.series_uid, self.image_id, self.channel)


class SeriesEnd(msgspec.Struct, frozen=True, gc=False):
    """The detector was disarmed, or the series was cancelled or aborted."""

    source: str
    series_uid: str
    series_id: int


class Absent(msgspec.Struct, frozen=True, gc=False):
    """The sender says that there are no images with the ids `image_id` to before `image_id + count` in this channel.

    They are not lost: a pulse went by at which the camera took none, or a train came of which no pulse was kept. Told
    only of channels that are known, and of a series that is open: before its first image nobody waits for any.
    """

    source: str
    series_uid: str
    series_id: int
    image_id: int
    channel: str
    count: int = 1


Message: TypeAlias = SeriesStart | Frame | SeriesEnd | Absent


class CodecError(ValueError):
    """A message that cannot be read. Counted by `reason`, logged with the detail, and dropped.

    `reason` is one of a few fixed words (it becomes a metric label): "truncated", "malformed",
    "unsupported", "too_large", "unknown_series", "corrupt" (bytes that are not those of their checksum).
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class Decoder(Protocol):
    """Bytes to messages for one source. Holds no more state than the protocol forces on it."""

    def decode(self, parts: Sequence[Part], received_ns: int) -> list[Message]:
        """Translate one multipart message; `received_ns` is the wall clock, used to name nameless series.

        Raises:
            CodecError: the message is not what the protocol allows.
        """
        ...

    def closed(self, series_uid: str) -> None:
        """The ledger closed this series. In a stream that has no series, what comes next begins another."""
        ...


class Acquisition(msgspec.Struct, frozen=True):
    """What a detector knows when it is armed: all an encoder needs to announce a series."""

    series_id: int
    series_uid: str
    arm_date: str  # RFC 3339
    images: int  # of all triggers
    shape: tuple[int, int]  # (height, width)
    dtype: str  # "uint8", "uint16", "uint32"
    channels: tuple[str, ...] = (DEFAULT_CHANNEL,)
    compression: Compression = Compression.BSLZ4
    frame_time_s: float = 0.01
    user_data: Any = None  # plain types; travels in the start message
    triggers: int = 1  # each exposes images / triggers
    images_per_message: int = 1  # pulses of a train, where the protocol has trains
    header_detail: str = "basic"  # "all", "basic" or "none", where the protocol has it
    energy_ev: float = 8000.0  # of a photon, where the protocol tells it

    @property
    def wavelength_angstrom(self) -> float:
        """Of the photons: h c (2019 SI) over their energy."""
        return 12398.419843320026 / self.energy_ev


class Encoder(Protocol):
    """Messages to bytes for one series, as a detector of the protocol sends them."""

    @property
    def images_per_message(self) -> int:
        """1, or the pulses of a train."""
        ...

    def start(self) -> list[list[Part]]:
        """Multipart messages that open the series."""
        ...

    def image(self, image_id: int, images: Mapping[str, Any], user_data: Any = None) -> list[Part]:
        """One message: an array per channel, [height, width], or [images_per_message, height, width] of a train.

        `image_id` is that of its (first) image. No channel at all says that there is no image with these ids, where
        the protocol has words for it (`streams.codecs.traits.Traits.empty`).
        """
        ...

    def end(self) -> list[list[Part]]:
        """Multipart messages that close the series."""
        ...
