"""What reads messages of strangers: codecs, compressions, results, the handshake, positions."""

import math
import mmap
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bench import fuzz_seeds as seeds
from edge.bench.fuzz_documents import CBOR, JSON, MSGPACK
from edge.bench.fuzz_inputs import Parts
from edge.bench.fuzz_quirks import quirks
from edge.bench.fuzz_target import Feed, Taken, Target
from streams.codecs import DECODERS, handshake, panda, results
from streams.codecs.compression import MAX_LZ4_RATIO, decompress_into, read_array
from streams.codecs.limits import MAX_ID, MAX_IMAGE_BYTES, image_bytes
from streams.messages import Absent, CodecError, Compression, EncodedArray, Frame, Message, Part, SeriesStart
from streams.positions.headers import AxisOf, Known, position_in
from streams.positions.samples import Armed, Disarmed, PositionJoiner

_FORMATS = {"stream-v2": CBOR, "karabo": MSGPACK, "karabo-1.0": MSGPACK}


def targets() -> dict[str, Target]:
    """All of them by name."""
    found = {name: Target(partial(_honest, name), _decoder(name), _FORMATS.get(name, JSON)) for name in DECODERS}
    found["compression"] = Target(seeds.compressed, _decompressor, JSON)
    found["results"] = Target(seeds.notices, lambda: _results_reader, MSGPACK)
    found["handshake"] = Target(seeds.requests, lambda: _handshake_reader, MSGPACK)
    found["panda"] = Target(seeds.samples, _panda_reader, JSON)
    return found


_OTHERWISE: dict[str, dict[str, Any]] = {
    "simplon-v1": {"verify_hash": True},
    "bsread": {"verify_hash": False},
}
"""Options of a second decoder, which gets every other message: what the first one never gets to see."""


def _honest(protocol: str) -> list[Parts]:
    return [*seeds.spoken(protocol), *quirks(protocol)]


def _decoder(protocol: str) -> Callable[[], Feed]:
    def fresh() -> Feed:
        decoders = [DECODERS[protocol]("fuzz", **options) for options in ({}, _OTHERWISE.get(protocol, {}))]
        fed = 0

        def feed(parts: Sequence[Part]) -> Taken:
            nonlocal fed
            fed += 1
            decoder, taken = decoders[fed % 2], Taken()
            for message in decoder.decode(parts, 1_000_000_000 * fed):
                taken = _worse(taken, _used(message))
                if fed % 61 == 0:  # the ledger closes a series now and then
                    decoder.closed(message.series_uid)
            return taken

        return feed

    return fresh


@cache
def _memory() -> NDArray[np.uint8]:
    """As large as the largest image that is believed; the system gives what is written to, and nobody traces it."""
    return np.frombuffer(mmap.mmap(-1, MAX_IMAGE_BYTES), np.uint8)


def _used(message: Message) -> Taken:
    """Do with a message what the pipeline does.

    What decoding must have checked is asserted here, what decompression finds is a `CodecError`.
    """
    assert isinstance(message.source, str) and isinstance(message.series_uid, str) and message.series_uid
    assert 0 <= message.series_id <= MAX_ID
    if isinstance(message, Frame):
        return _used_frame(message)
    if isinstance(message, Absent):
        assert message.count > 0 and 0 <= message.image_id <= MAX_ID - message.count
    if not isinstance(message, SeriesStart):
        return Taken()
    assert message.expected is None or 0 <= message.expected <= MAX_ID
    assert 0 <= message.first_image <= MAX_ID
    results.portable(dict(message.header))
    results.portable(message.user_data)
    taken = Taken()
    for array in (*message.pixel_mask.values(), *message.flatfield.values()):
        taken = _worse(taken, _used_array(array))
    return taken


def _used_frame(frame: Frame) -> Taken:
    assert 0 <= frame.image_id <= MAX_ID and isinstance(frame.channel, str)
    size = image_bytes(frame.shape, frame.dtype)
    position_in(frame.user_data)
    entitled = _entitled(size, frame)
    try:
        decompress_into(frame, _memory()[:size])
    except CodecError as error:
        return Taken(entitled, error.reason)
    return Taken(entitled)


def _used_array(array: EncodedArray) -> Taken:
    try:
        entitled = _entitled(image_bytes(array.shape, array.dtype.replace("f", "u")), array)
    except CodecError:
        entitled = 0
    try:
        read_array(array)
    except CodecError as error:
        return Taken(entitled, error.reason)
    return Taken(entitled)


def _worse(one: Taken, other: Taken) -> Taken:
    return Taken(one.claimed + other.claimed, one.refused or other.refused)


def _entitled(size: int, claim: Frame | EncodedArray) -> int:
    """Bytes that may be allocated for an image of `size`: no more than what came can expand to.

    Zstandard expands without end, and strides of zero repeat a pixel.
    """
    if claim.compression is Compression.BSZSTD or claim.strides is not None:
        return size
    return min(size, MAX_LZ4_RATIO * len(claim.blob))


def _decompressor() -> Feed:

    def feed(parts: Sequence[Part]) -> Taken:
        if len(parts) < 2:
            return Taken()
        try:
            claim = msgspec.json.decode(parts[0], type=seeds.Claim)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return Taken()
        array = EncodedArray(claim.shape, claim.dtype, claim.compression, parts[1], claim.strides)
        image_bytes(claim.shape, claim.dtype)
        frame = Frame("", "", 0, 0, "", claim.shape, claim.dtype, claim.compression, parts[1], None, claim.strides)
        return _worse(_used_frame(frame), _used_array(array))

    return feed


def _results_reader(parts: Sequence[Part]) -> Taken:
    results.decode(parts)
    return Taken()


_AXES = (AxisOf("row", ("/INENC1.VAL.Value",), 2.0, 1.0), AxisOf("col", ("/INENC2.VAL.Mean",)))


def _panda_reader() -> Feed:
    """Messages of the box, and what joins its samples to images."""
    joiner = PositionJoiner(_AXES, samples_per_frame=2, window=1024)

    def feed(parts: Sequence[Part]) -> Taken:
        nonlocal joiner
        message = panda.decode(parts)
        if isinstance(message, Armed):
            joiner = PositionJoiner(_AXES, samples_per_frame=2, window=1024)
        elif isinstance(message, Disarmed):
            joiner.stop(message.messages)
        else:
            joiner.samples(message)
        for image_id in (0, 3, joiner.watermark - 1, joiner.watermark, MAX_ID):
            verdict = joiner.position(image_id)
            assert not isinstance(verdict, Known) or all(map(math.isfinite, verdict.position.values()))
        return Taken()

    return feed


def _handshake_reader(parts: Sequence[Part]) -> Taken:
    """As a question and as an answer; refused where it is neither."""
    reason = ""
    for part in parts:
        try:
            handshake.unpack_request(part)
        except CodecError:
            try:
                handshake.unpack_reply(part)
            except CodecError as error:
                reason = error.reason
    return Taken(0, reason)
