"""What workers and the process that gathers their results tell each other, over a private socket of this machine.

A worker's DEALER speaks to the gatherer's ROUTER; one message is one word, or one notice of a series:

    worker   -> gatherer    WORD + msgpack of one of `Up`
    worker   -> gatherer    NOTICE + the parts of `streams.codecs.results`, of a SeriesStarted or SeriesEnded
    gatherer -> worker      msgpack of one of `Down`

ZeroMQ keeps their order. So what a worker says of a frame is known before the result of that frame.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgpack
import msgspec

from edge.pipeline.readiness import Facts
from streams.codecs.results import Result, portable
from streams.messages import Compression, EncodedArray, SeriesStart

WORD = b"w"
NOTICE = b"n"


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """The first word of a process. It is known to have ended when the process is gone."""

    worker: int  # from 1
    pid: int
    records: bool  # what it took in is on disk: whoever comes in its place goes through it again


class Began(msgspec.Struct, frozen=True, array_like=True, tag="began"):
    """A start message came; `packed` is for `unpack_start`."""

    packed: bytes


class Arrived(msgspec.Struct, frozen=True, array_like=True, tag="arrived", gc=False):
    """Images came, in this order, of one channel of one series."""

    source: str
    series_uid: str
    series_id: int
    channel: str
    image_ids: list[int]


class Lacking(msgspec.Struct, frozen=True, array_like=True, tag="lacking"):
    """The sender says that there are no such images (`streams.messages.Absent`)."""

    source: str
    series_uid: str
    series_id: int
    channel: str
    image_id: int
    count: int


class Ended(msgspec.Struct, frozen=True, array_like=True, tag="ended"):
    """The end message came."""

    source: str
    series_uid: str


class Made(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The result of one image."""

    received_ns: int  # by the monotonic clock, which all processes of a machine share
    result: Result
    arrays: list[memoryview]  # views of the whole message


class Results(msgspec.Struct, frozen=True, array_like=True, tag="results", gc=False):
    """Results of one source on one route."""

    source: str
    route: str
    made: list[Made]


class Closed(msgspec.Struct, frozen=True, array_like=True, tag="closed"):
    """The worker has nothing of the series in hand any more, and has told its accounts, if it had any."""

    source: str
    series_uid: str


class RouteNow(msgspec.Struct, frozen=True, array_like=True):
    """A series on a route, as far as one worker had to do with it."""

    source: str
    series_uid: str
    route: str
    account: dict[str, Any]  # edge.pipeline.account.RouteAccount
    positions: dict[str, Any]  # edge.pipeline.joined.PositionAccount


Counts: TypeAlias = dict[str, list[tuple[tuple[str, ...], float]]]
"""By the name of a counter in `edge.pipeline.totals.Totals`: its labels and values."""


class State(msgspec.Struct, frozen=True, array_like=True, tag="state"):
    """Said ten times a second: a sign of life, too."""

    facts: Facts
    blocked: tuple[str, ...]  # sources of which nothing is taken at present
    accounts: list[RouteNow]  # those that have changed
    counts: Counts  # empty: not now


Up: TypeAlias = Hello | Began | Arrived | Lacking | Ended | Results | Closed | State


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag="welcome"):
    """The answer to `Hello`: who gathers, whether results go into files, and the starts of the series that are open."""

    pid: int
    keeps: bool
    starts: list[bytes]


class Start(msgspec.Struct, frozen=True, array_like=True, tag="start"):
    """A start message that another worker got."""

    packed: bytes


class Close(msgspec.Struct, frozen=True, array_like=True, tag="close"):
    """The series is closed: nothing more is awaited of it."""

    source: str
    series_uid: str


class Logged(msgspec.Struct, frozen=True, array_like=True, tag="logged"):
    """All results of the series on the route are in their log."""

    source: str
    series_uid: str
    route: str


Down: TypeAlias = Welcome | Start | Close | Logged

_encode = msgspec.msgpack.Encoder().encode
_up: msgspec.msgpack.Decoder[Up] = msgspec.msgpack.Decoder(Up)
_down: msgspec.msgpack.Decoder[Down] = msgspec.msgpack.Decoder(Down)


def pack(word: Up | Down) -> bytes:
    """One part."""
    return _encode(word)


def unpack_up(part: bytes | memoryview) -> Up:
    """Raises msgspec.DecodeError: the two processes are not of one version."""
    return _up.decode(part)


def unpack_down(part: bytes | memoryview) -> Down:
    """Raises msgspec.DecodeError: the two processes are not of one version."""
    return _down.decode(part)


def pack_start(start: SeriesStart) -> bytes:
    """A start with all that it carries. What cannot travel in a result's header is left out here, too."""
    plain = {name: getattr(start, name) for name in start.__struct_fields__}
    plain |= {name: _plain_arrays(plain[name]) for name in ("pixel_mask", "flatfield")}
    try:
        return bytes(msgpack.packb(plain, use_bin_type=True) or b"")
    except (ValueError, OverflowError, TypeError):
        plain |= {"header": portable(dict(start.header)) or {}, "user_data": portable(start.user_data)}
        return bytes(msgpack.packb(plain, use_bin_type=True) or b"")


def unpack_start(packed: bytes) -> SeriesStart:
    """What `pack_start` packed."""
    plain = msgpack.unpackb(packed, strict_map_key=False)
    plain["channels"] = tuple(plain["channels"])
    plain["shape"] = tuple(plain["shape"]) if plain["shape"] else None
    plain |= {name: _arrays(plain[name]) for name in ("pixel_mask", "flatfield")}
    return SeriesStart(**plain)


def _plain_arrays(arrays: Mapping[str, EncodedArray]) -> dict[str, Any]:
    return {
        channel: [array.shape, array.dtype, str(array.compression), bytes(array.blob), array.strides]
        for channel, array in arrays.items()
    }


def _arrays(plain: Mapping[str, Any]) -> dict[str, EncodedArray]:
    return {
        channel: EncodedArray(tuple(shape), dtype, Compression(compression), blob, tuple(strides) if strides else None)
        for channel, (shape, dtype, compression, blob, strides) in plain.items()
    }
