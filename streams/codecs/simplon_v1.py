"""DECTRIS SIMPLON stream V1 ("legacy"): JSON headers and binary parts in one multipart message.

Specification: SIMPLON API 1.8, 5.4.3. A message is known by the `htype` of its first part:
    dheader-1.0      [configuration] [array header, array]... [header_appendix]   the detector was armed
    dimage-1.0       dimage_d-1.0, pixels, dconfig-1.0 [, image_appendix]         one exposure
    dseries_end-1.0  disarmed, cancelled or aborted

What real detectors and their simulators do beyond the text:
  * `shape` is [width, height];
  * booleans of the configuration are 0 and 1 in older firmware, true and false in newer;
  * the configuration, and arrays after it, may come as messages of their own;
  * header_detail "none" sends no configuration, so nothing but the series number is known;
  * replayed captures carry stale hashes, so `hash` is looked at only where the option `verify_hash` asks for it.

Flat field and pixel mask (header_detail "all") are kept where they come with the configuration, as detectors send them.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from streams.codecs.limits import SeriesNames, check_parts
from streams.codecs.options import read_options
from streams.codecs.simplon_v1_parts import (
    ARRAYS,
    FLATFIELD,
    PIXEL_MASK,
    TYPES,
    Config,
    Head,
    ImageHead,
    appendix,
    appendix_after_arrays,
    arrays_of,
    expected_images,
    htype_of,
    identity,
    image_claim,
    read_json,
    read_object,
)
from streams.messages import DEFAULT_CHANNEL, CodecError, Compression, Frame, Message, Part, SeriesEnd, SeriesStart


class SimplonV1Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be asked of the decoder."""

    verify_hash: bool = False  # refuse images whose bytes are not those of their MD5: 2 to 4 ms a megabyte


class SimplonV1Decoder:
    """Bytes to messages for one source. Remembers the names of the few series of late.

    Args:
        options: fields of `SimplonV1Options`.

    Raises:
        OptionError: there is no such option, or not with that value.
    """

    def __init__(self, source: str, **options: Any) -> None:
        self._verify_hash = read_options(SimplonV1Options, options).verify_hash
        self._source = source
        self._names = SeriesNames()
        self._announced: int | None = None  # a series whose configuration has not come yet
        self._skip_next = False  # the next message is the array that the last one announced
        self._claimed: tuple[bytes, int] = (b"", 0)  # what was claimed last of an image of how many bytes
        self._claim: tuple[tuple[int, int], str, Compression] = ((0, 0), "", Compression.NONE)

    def decode(self, parts: Sequence[Part], received_ns: int) -> list[Message]:
        """Translate one multipart message; `received_ns` is the wall clock, used to name nameless series.

        Raises:
            CodecError: the message is not what the protocol allows.
        """
        check_parts(parts)
        if self._skip_next:
            self._skip_next = False
            if len(parts) == 1 and not htype_of(parts[0]):
                return []
        head = read_json(parts[0], Head)
        if head.htype == "dimage-1.0":
            frame = self._image(head, parts, received_ns)
            return [frame] if self._announced is None else [*self._flush(head.series), frame]
        if head.htype == "dheader-1.0":
            return self._header(head, parts, received_ns)
        if head.htype == "dseries_end-1.0":
            return [*self._flush(head.series), self._end(head)]
        if head.htype in ARRAYS:
            self._skip_next = len(parts) == 1
            return []
        if head.htype:
            raise CodecError("unsupported", f"a message of type {head.htype[:40]}")
        return [self._late_configuration(parts, received_ns)]

    def closed(self, series_uid: str) -> None:
        """Nothing to forget: the detector numbers its series."""

    def _header(self, head: Head, parts: Sequence[Part], received_ns: int) -> list[Message]:
        series_id = identity(head.series, "series")
        if head.header_detail == "none":
            config, rest = None, parts[1:]
        elif len(parts) == 1:
            abandoned = self._flush(self._announced)
            self._names.begin(series_id, None, received_ns)  # for images, should they come first
            self._announced = series_id
            return abandoned
        else:
            config, rest = parts[1], parts[2:]
        start = self._start(series_id, config, rest, received_ns)
        if self._announced == series_id:  # announced anew
            self._announced = None
        return [*self._flush(self._announced), start]

    def _late_configuration(self, parts: Sequence[Part], received_ns: int) -> SeriesStart:
        """The configuration came as a message of its own."""
        if self._announced is None:
            raise CodecError("malformed", "a message without htype where no configuration was awaited")
        start = self._start(self._announced, parts[0], parts[1:], received_ns)
        self._announced = None
        return start

    def _flush(self, series_id: int | None) -> list[Message]:
        """Open a series whose configuration never came: its images are as good as any."""
        if series_id is None or series_id != self._announced:
            return []
        self._announced = None
        uid = self._names.known(series_id)
        if uid is None:
            return []
        return [self._opened(series_id, uid, Config(), {})]

    def _start(self, series_id: int, config: Part | None, rest: Sequence[Part], received_ns: int) -> SeriesStart:
        known, header = (Config(), {}) if config is None else (read_json(config, Config), read_object(config))
        user_data = appendix_after_arrays(rest)
        uid = self._names.begin(series_id, known.data_collection_date, received_ns)
        return self._opened(series_id, uid, known, header, user_data, rest)

    def _opened(
        self,
        series_id: int,
        uid: str,
        known: Config,
        header: dict[str, Any],
        user_data: Any = None,
        rest: Sequence[Part] = (),
    ) -> SeriesStart:
        arrays = dict(arrays_of(rest))
        width, height = known.x_pixels_in_detector or 0, known.y_pixels_in_detector or 0
        dtype = f"uint{known.bit_depth_image}"
        return SeriesStart(
            source=self._source,
            series_uid=uid,
            series_id=series_id,
            expected=expected_images(known),
            channels=(DEFAULT_CHANNEL,),
            shape=(height, width) if width > 0 and height > 0 else None,
            dtype=dtype if dtype in TYPES else None,
            header=header,
            user_data=user_data,
            pixel_mask={DEFAULT_CHANNEL: arrays[PIXEL_MASK]} if PIXEL_MASK in arrays else {},
            flatfield={DEFAULT_CHANNEL: arrays[FLATFIELD]} if FLATFIELD in arrays else {},
        )

    def _image(self, head: Head, parts: Sequence[Part], received_ns: int) -> Frame:
        if len(parts) < 3:
            raise CodecError("truncated", f"an image message of {len(parts)} parts")
        series_id, image_id = identity(head.series, "series"), identity(head.frame, "frame")
        blob = parts[2]
        shape, dtype, compression = self._checked(parts[1], len(blob))
        if self._verify_hash and hashlib.md5(blob, usedforsecurity=False).hexdigest() != str(head.hash).lower():
            raise CodecError("corrupt", f"image {image_id} of series {series_id} is not that of its hash")
        return Frame(
            self._source,
            self._names.of_image(series_id, received_ns),
            series_id,
            image_id,
            DEFAULT_CHANNEL,
            shape,
            dtype,
            compression,
            blob,
            appendix(parts[4]) if len(parts) > 4 else None,
        )

    def _checked(self, claim: Part, found: int) -> tuple[tuple[int, int], str, Compression]:
        """What is claimed of an image of `found` bytes; images of one size are all announced by the same words."""
        words, nbytes = self._claimed
        if nbytes != found or words != claim:
            self._claim = image_claim(read_json(claim, ImageHead), found)
            self._claimed = (bytes(claim), found)
        return self._claim

    def _end(self, head: Head) -> SeriesEnd:
        series_id = identity(head.series, "series")
        uid = self._names.known(series_id)
        if uid is None:
            raise CodecError("unknown_series", f"the end of series {series_id}, which was never heard of")
        return SeriesEnd(self._source, uid, series_id)
