"""SwissFEL's beam-synchronous data (bsread): one message a pulse, all channels of it together.

Specification: paulscherrerinstitute/bsread_python, htypes bsr_m-1.1 and bsr_d-1.1. A message is
    main header (JSON) | data header (JSON, may be compressed) | value, timestamp of channel 1 | ... of channel 2 | ...

  * the data header is parsed where its `hash` is news, and skipped elsewhere. Only where it is parsed is it compared
    with the hash: one that was damaged on the way must not stand for all that follow;
  * `shape` has the fastest axis first: [width, height];
  * an empty value means that the channel has none in this pulse: an image is absent, not lost, where its modulo and
    offset let it be due;
  * channels with two axes of integers are images, those with one element ride along with them as named values;
  * pulses count on for ever: image id = (pulse id - offset) // modulo of the image's channel;
  * there is neither a start nor an end.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from streams.codecs.bsread_header import (
    COMPRESSIONS,
    Channel,
    image_channels,
    main_header,
    read_channels,
    unpack,
)
from streams.codecs.limits import check_parts, check_raw, image_bytes
from streams.codecs.opening import Entered, SeriesOpener
from streams.codecs.options import read_options
from streams.codecs.sending import with_position
from streams.codecs.trains import scalar
from streams.messages import Absent, CodecError, Compression, Frame, Message, Part

MAX_TEXT_BYTES = 1024
"""Longest text that rides along with an image."""


class BsreadOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a stream leaves open."""

    channels: tuple[str, ...] = ()  # which are images; empty: all with two axes of integers
    verify_hash: bool = True  # refuse data headers whose bytes are not those of their MD5


class BsreadDecoder:
    """Bytes to messages for one source. Remembers the data header.

    Raises:
        OptionError: there is no such option, or not with that value.
    """

    def __init__(self, source: str, **options: Any) -> None:
        self._source = source
        self._options = read_options(BsreadOptions, options)
        self._opener = SeriesOpener(source)
        self._hash: str | None = None
        self._channels: tuple[Channel, ...] = ()
        self._images: tuple[Channel, ...] = ()

    def decode(self, parts: Sequence[Part], received_ns: int) -> list[Message]:
        """Translate one pulse; `received_ns` is the wall clock, which names series.

        Raises:
            CodecError: the message is not what the protocol allows.
        """
        check_parts(parts)
        if len(parts) < 2:
            raise CodecError("truncated", "a bsread message of one part")
        head = main_header(parts[0])
        if head.hash is None or head.hash != self._hash:
            channels = read_channels(parts[1], head.dh_compression, head.hash if self._options.verify_hash else None)
            images = image_channels(channels, self._options.channels)
            self._channels, self._images, self._hash = channels, images, head.hash
        if len(parts) < 2 + 2 * len(self._channels):
            raise CodecError("truncated", f"{len(parts) - 2} parts of data for {len(self._channels)} channels")
        values = dict(zip((channel.name for channel in self._channels), parts[2::2], strict=False))
        present = [channel for channel in self._images if len(values[channel.name])]
        if present:
            return self._pulse(head.pulse_id, head.taken_s, present, values, received_ns)
        first = self._images[0]
        image_id, past = divmod(head.pulse_id - first.offset, first.modulo)
        if past or image_id < 0:  # none is due at this pulse
            return []
        entered = self._opener.known(image_id, head.taken_s, (first.modulo, first.offset))
        return self._absent(image_id, entered, ()) if entered else []

    def closed(self, series_uid: str) -> None:
        """The ledger closed this series; what comes next begins another."""
        self._opener.closed(series_uid)

    def _pulse(
        self,
        pulse_id: int,
        taken_s: float | None,
        present: Sequence[Channel],
        values: Mapping[str, Part],
        received_ns: int,
    ) -> list[Message]:
        first = self._images[0]
        modulo, offset = first.modulo, first.offset  # all images share them
        image_id = (pulse_id - offset) // modulo
        if image_id < 0:
            raise CodecError("malformed", f"pulse {pulse_id} before the offset {offset}")
        images = [(channel, *_image(channel, values[channel.name])) for channel in present]
        scalars = {
            channel.name: value
            for channel in self._channels
            if (value := _scalar(channel, values[channel.name])) is not None
        }
        user_data = with_position({"pulse_id": pulse_id, "values": scalars}, scalars)
        entered = self._opener.enter(
            image_id,
            taken_s,
            received_ns,
            layout=(modulo, offset),
            channels=tuple(channel.name for channel in self._images),
            shape=first.shape,
            dtype=first.type,
            header={"modulo": modulo, "offset": offset},
        )
        frames = [
            Frame(
                self._source,
                entered.uid,
                entered.series_id,
                image_id,
                channel.name,
                channel.shape,
                channel.dtype,
                compression,
                blob,
                user_data,
            )
            for channel, compression, blob in images
        ]
        due = (pulse_id - offset) % modulo == 0
        return [*entered.start, *frames, *(self._absent(image_id, entered, present) if due else ())]

    def _absent(self, image_id: int, entered: Entered, present: Sequence[Channel]) -> list[Message]:
        """The images that this pulse does not have."""
        names = {channel.name for channel in present}
        return [
            Absent(self._source, entered.uid, entered.series_id, image_id, channel.name)
            for channel in self._images
            if channel.name not in names
        ]


def _image(channel: Channel, part: Part) -> tuple[Compression, Part]:
    compression = COMPRESSIONS.get(channel.compression)
    if compression is None:
        raise CodecError("unsupported", f"compression {channel.compression[:40]}")
    size = image_bytes(channel.shape, channel.dtype)
    blob = memoryview(part).cast("B")
    if compression is Compression.NONE:
        check_raw(len(blob), size)
    elif compression is Compression.LZ4_BLOCK:
        blob = _lz4_block(blob, size)
    return compression, blob


def _lz4_block(blob: memoryview, size: int) -> memoryview:
    """The block behind its length: senders write it little-endian, readers take it in the channel's byte order."""
    if len(blob) < 4:
        raise CodecError("truncated", f"{len(blob)} bytes of LZ4")
    if size not in (struct.unpack_from("<I", blob)[0], struct.unpack_from(">I", blob)[0]):
        raise CodecError("malformed", f"LZ4 of another size than the {size} bytes of the channel")
    return blob[4:]


def _scalar(channel: Channel, part: Part) -> Any:
    """The number or text of a channel with one value; None where this pulse has none, or none that can be read."""
    if not len(part) or (not channel.is_scalar and channel.type != "string"):
        return None
    itemsize = int(channel.dtype[2:] or 1)
    try:
        data = unpack(part, channel.compression, itemsize, MAX_TEXT_BYTES)
    except CodecError:
        return None
    if channel.type == "string":
        return str(data, "utf-8", "replace") if len(data) <= MAX_TEXT_BYTES else None
    return scalar(channel.dtype, data)
