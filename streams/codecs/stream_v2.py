"""DECTRIS Stream V2: one CBOR document a message, all channels of an exposure together.

Specification: dectris/documentation, stream_v2/README.md and cbor/dectris-compression-tag.md; RFC 8746 for the
arrays. An image is
    40([[height, width], 69(56500(["bslz4", 2, h'...']))])
that is: a row-major array, of little-endian uint16, of the bytes that a compressed byte string stands for.

Taken though the specification does not have it: messages without the self-described tag 55799, tags on plain values,
column-major arrays, series without a unique id. Of Jungfraujoch's superset (spots, azimuthal profiles and more beside
the images) what is not ours is skipped, and so are its messages of type "calibration".

Pixel masks and flat fields (header detail "all") stay encoded; one that cannot be read is named in the header's
"not_read", and the series goes on without it.
"""

from collections.abc import Sequence
from typing import Any

from streams.codecs import cbor
from streams.codecs.limits import MAX_ID, SeriesNames
from streams.codecs.options import NoOptions, read_options
from streams.codecs.stream_v2_arrays import checked_name, header_arrays, read_claim, untagged
from streams.codecs.stream_v2_forms import ImageForms
from streams.messages import (
    CodecError,
    Frame,
    Message,
    Part,
    SeriesEnd,
    SeriesStart,
)

MAX_CHANNELS = 64

_IMAGE_DTYPES = ("uint8", "uint16", "uint32")


class StreamV2Decoder:
    """Bytes to messages for one source.

    Raises:
        OptionError: it has no options.
    """

    def __init__(self, source: str, **options: Any) -> None:
        read_options(NoOptions, options)
        self._source = source
        self._names = SeriesNames()
        self._forms = ImageForms(self._names)

    def decode(self, parts: Sequence[Part], received_ns: int) -> list[Message]:
        """Translate one message; `received_ns` is the wall clock, used to name nameless series.

        Raises:
            CodecError: the message is not what the protocol allows.
        """
        if len(parts) != 1:
            raise CodecError("malformed", f"a Stream V2 message has one part, not {len(parts)}")
        view = memoryview(parts[0]).cast("B")
        known = self._forms.read(view, received_ns)
        if known is not None:
            return known
        document = untagged(cbor.loads(view))
        if not isinstance(document, dict):
            raise CodecError("malformed", "the CBOR document is no map")
        kind = untagged(document.get("type"))
        if kind == "image":
            frames = self._image(document, received_ns)
            self._forms.learn(view, frames, named=_unique_id(document) is not None)
            return [*frames]
        if kind == "start":
            return [self._start(document, received_ns)]
        if kind == "end":
            return [self._end(document)]
        if kind == "calibration":  # Jungfraujoch: pedestals, to those who write them into files
            return []
        raise CodecError("unsupported", f"a message of type {str(kind)[:40]}")

    def closed(self, series_uid: str) -> None:
        """Nothing to forget: the detector names its series."""

    def _start(self, document: dict[Any, Any], received_ns: int) -> SeriesStart:
        series_id = _count(document, "series_id")
        date = untagged(document.get("arm_date"))
        width, height = (_optional_count(document, key) for key in ("image_size_x", "image_size_y"))
        header = cbor.plain(document)
        user_data = header.pop("user_data", None)
        masks, not_masks = header_arrays(document, "pixel_mask")
        flatfields, not_flatfields = header_arrays(document, "flatfield")
        if not_read := not_masks | not_flatfields:
            header["not_read"] = not_read
        uid = _unique_id(document) or self._names.begin(series_id, date if isinstance(date, str) else None, received_ns)
        return SeriesStart(
            source=self._source,
            series_uid=uid,
            series_id=series_id,
            expected=_optional_count(document, "number_of_images"),
            channels=_channels(document),
            shape=(height, width) if height and width else None,
            dtype=_image_dtype(document),
            header=header,
            user_data=user_data,
            pixel_mask=masks,
            flatfield=flatfields,
        )

    def _image(self, document: dict[Any, Any], received_ns: int) -> list[Frame]:
        series_id, image_id = _count(document, "series_id"), _count(document, "image_id")
        uid = _unique_id(document) or self._names.of_image(series_id, received_ns)
        data = untagged(document.get("data"))
        if not isinstance(data, dict) or len(data) > MAX_CHANNELS:
            raise CodecError("malformed", "the image message has no map of channels")
        user_data = cbor.plain(document.get("user_data"))
        frames: list[Frame] = []
        for channel, array in data.items():
            shape, strides, dtype, compression, blob = read_claim(array)
            frames.append(
                Frame(
                    self._source,
                    uid,
                    series_id,
                    image_id,
                    checked_name(channel),
                    shape,
                    dtype,
                    compression,
                    blob,
                    user_data,
                    strides,
                )
            )
        return frames

    def _end(self, document: dict[Any, Any]) -> SeriesEnd:
        series_id = _count(document, "series_id")
        uid = _unique_id(document) or self._names.known(series_id)
        if uid is None:
            raise CodecError("unknown_series", f"the end of series {series_id}, which was never heard of")
        return SeriesEnd(self._source, uid, series_id)


def _optional_count(document: dict[Any, Any], key: str) -> int | None:
    value = untagged(document.get(key))
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= MAX_ID:
        raise CodecError("malformed", f"{key} is no count")
    return value


def _count(document: dict[Any, Any], key: str) -> int:
    value = document.get(key)
    if type(value) is int and 0 <= value <= MAX_ID:  # the way of every frame; the rest is for oddities
        return value
    value = _optional_count(document, key)
    if value is None:
        raise CodecError("malformed", f"{key} is missing")
    return value


def _unique_id(document: dict[Any, Any]) -> str | None:
    value = untagged(document.get("series_unique_id"))
    return checked_name(value) if value else None


def _channels(document: dict[Any, Any]) -> tuple[str, ...]:
    channels = untagged(document.get("channels")) or []  # not told: those that come
    if not isinstance(channels, list) or len(channels) > MAX_CHANNELS:
        raise CodecError("malformed", "channels is no list of names")
    return tuple(checked_name(untagged(channel)) for channel in channels)


def _image_dtype(document: dict[Any, Any]) -> str | None:
    value = untagged(document.get("image_dtype"))
    return value if isinstance(value, str) and value in _IMAGE_DTYPES else None
