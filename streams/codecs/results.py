"""Our own results on the wire, format version 1.

A message is: route name ended by NUL (ZeroMQ matches prefixes, so `peaks` must not match `peaks2`), one
msgpack header, then the bytes of each array in the header's order. `seq` counts per (origin, route) and
covers results and series notices alike, so a subscriber sees its own losses.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import msgpack
import msgspec
import numpy as np

from streams.ledger.intervals import Block
from streams.ledger.reconciling import Reconciled
from streams.ledger.strides import Suspicion
from streams.messages import CodecError, Part

VERSION = 1
MAX_HEADER_BYTES = 1 << 20
MAX_ATTACHED_BYTES = MAX_HEADER_BYTES // 4
MAX_ATTACHED_DEPTH = 32
MAX_ARRAYS = 64
MAX_AXES = 8
MAX_LENGTH = 1 << 40
DTYPES = frozenset(
    ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")
)


class ArraySpec(msgspec.Struct, frozen=True):
    """One array of a result: how to read its part."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    units: str = "1"


class Result(msgspec.Struct, frozen=True, tag_field="type", tag="result"):
    """A model's output for one frame."""

    source: str
    series_uid: str
    series_id: int
    image_id: int
    channel: str
    route: str
    model: str
    model_version: str
    model_sha256: str
    origin: str  # an id per process start of the sender
    seq: int
    received_ns: int  # wall clock
    published_ns: int  # wall clock; latencies come from the monotonic clock (see SeriesEnded.latency_ms)
    specs: tuple[ArraySpec, ...] = msgspec.field(name="arrays", default=())
    values: dict[str, float] = {}
    position: dict[str, float] | None = None
    recovered: bool = False  # sent before, or may have been
    untrained: tuple[str, ...] = ()  # why the image is outside of what the model was trained for; as far as is known
    v: int = VERSION


class SeriesStarted(msgspec.Struct, frozen=True, tag_field="type", tag="series_start"):
    """A series was opened on a route."""

    source: str
    series_uid: str
    series_id: int
    route: str
    origin: str
    seq: int
    published_ns: int
    expected: int | None
    announced: bool  # False: the start message was missed
    header: dict[str, Any] = {}
    user_data: Any = None
    position_units: dict[str, str] = {}  # by axis, where the configuration names them
    first_image: int = 0  # its ids are counted from this one
    untrained: tuple[str, ...] = ()  # as of `Result`: what the start message tells already
    v: int = VERSION


class SeriesEnded(msgspec.Struct, frozen=True, tag_field="type", tag="series_end"):
    """A series was closed: the account of what became of every frame, and the verdict on it."""

    source: str
    series_uid: str
    series_id: int
    route: str
    origin: str
    seq: int
    published_ns: int
    reason: str  # streams.ledger.series.CloseReason
    verdict: str  # "complete", "incomplete", "unknown"
    arrivals: dict[str, int | None]  # streams.ledger.series.ArrivalCounts
    account: dict[str, Any]  # edge.pipeline.account.RouteAccount
    latency_ms: dict[str, float]  # received to published, monotonic clock: p50, p99, max
    missing: dict[str, list[tuple[int, int]]] = {}  # the first holes by channel, [start, stop)
    first_image: int = 0  # its ids are counted from this one
    suspicion: Suspicion | None = None  # what is missing has a pattern
    detector_dropped: int | None = None  # exposures that the detector says nobody fetched; None: not known
    reconciled: Reconciled | None = None  # where what is missing was lost, where `detector_dropped` is known
    share: str = ""  # "1/3": of a stream that three workers share; then nothing is called missing here
    intervals: dict[str, list[Block]] = {}  # of a share: the ids that came, by channel, for `streams.ledger.merging`
    absent: dict[str, list[Block]] = {}  # of a share: the ids that the sender said do not exist, by channel
    positions: dict[str, Any] = {}  # results with one (joined) and without (missing{streams.positions.headers.Why})
    untrained: tuple[str, ...] = ()  # as of `Result`: what results of it were labelled with
    v: int = VERSION


class Heartbeat(msgspec.Struct, frozen=True, tag_field="type", tag="heartbeat"):
    """Nothing new: `seq` is the last one used on the route, so that the loss of a last message shows."""

    route: str
    origin: str
    seq: int
    published_ns: int
    v: int = VERSION


Notice: TypeAlias = Result | SeriesStarted | SeriesEnded | Heartbeat

SMALL_BYTES = 4096
"""Arrays up to this size are copied out of their batch: a view is as large for Python, and keeps the whole batch."""

_RESULT_HEADER = msgspec.msgpack.Encoder()


@lru_cache(maxsize=256)
def topic(route: str) -> bytes:
    """What to subscribe to for the results of `route`.

    Raises:
        ValueError: the name is empty or holds a NUL.
    """
    if not route or "\0" in route:
        raise ValueError(f"a route's name is not empty and holds no NUL: {route!r}")
    return route.encode() + b"\0"


def describe(name: str, array: np.ndarray, units: str) -> ArraySpec:
    """The header entry of `array`."""
    return ArraySpec(name, _name_of(array.dtype), tuple(array.shape), units)


@lru_cache(maxsize=64)
def _name_of(dtype: np.dtype[Any]) -> str:
    return dtype.name  # numpy puts it together at each look, in 4 us


def content(array: np.ndarray) -> memoryview:
    """The bytes of a C-contiguous array, not copied."""
    return array.reshape(-1).view(np.uint8).data


def contents(batch: np.ndarray) -> list[Part]:
    """The bytes of each frame in a C-contiguous `batch` [frames, ...]: copies of small ones, views of others."""
    whole = content(batch)
    nbytes = len(whole) // max(1, len(batch))
    source = whole.tobytes() if nbytes <= SMALL_BYTES else whole
    return [source[at * nbytes : (at + 1) * nbytes] for at in range(len(batch))]


def encode(notice: Notice, arrays: Sequence[np.ndarray] = ()) -> list[Part]:
    """The parts of one message; `arrays` are those that `notice.specs` describes, C-contiguous.

    The arrays are not copied: the parts are views of them.
    """
    return pack(notice, [content(array) for array in arrays])


def pack(notice: Notice, arrays: Sequence[Part] = ()) -> list[Part]:
    """As `encode`, of the arrays' bytes."""
    if isinstance(notice, Result):
        return [topic(notice.route), _RESULT_HEADER.encode(notice), *arrays]
    # Notices of series carry what a detector attached: its byte strings become text here, which the encoder leaves.
    header = bytes(msgpack.packb(msgspec.to_builtins(notice), use_bin_type=True) or b"")
    return [topic(notice.route), header, *arrays]


def decode(parts: Sequence[Part]) -> tuple[Notice, dict[str, np.ndarray]]:
    """Read one message; arrays are read-only views into its parts, by name.

    Raises:
        CodecError: it is no message of this format.
    """
    if not 2 <= len(parts) <= 2 + MAX_ARRAYS:
        raise CodecError("malformed", f"a result has 2 to {2 + MAX_ARRAYS} parts, not {len(parts)}")
    if len(parts[1]) > MAX_HEADER_BYTES:
        raise CodecError("too_large", f"result header of {len(parts[1])} bytes, the limit is {MAX_HEADER_BYTES}")
    try:
        plain = msgpack.unpackb(parts[1], raw=False, strict_map_key=True)
        notice = msgspec.convert(plain, Notice, strict=True)
    except (ValueError, msgpack.UnpackException, msgspec.ValidationError, RecursionError) as error:
        raise CodecError("malformed", f"result header: {error}") from error
    if notice.v != VERSION:
        raise CodecError("unsupported", f"result format version {notice.v}, this reader knows {VERSION}")
    specs = notice.specs if isinstance(notice, Result) else ()
    if len(specs) != len(parts) - 2:
        raise CodecError("malformed", f"{len(specs)} arrays announced, {len(parts) - 2} sent")
    return notice, {spec.name: _array(spec, part) for spec, part in zip(specs, parts[2:], strict=True)}


def _array(spec: ArraySpec, part: Part) -> np.ndarray:
    if spec.dtype not in DTYPES:
        raise CodecError("unsupported", f"array {spec.name!r} of dtype {spec.dtype!r}")
    if len(spec.shape) > MAX_AXES or not all(0 <= length <= MAX_LENGTH for length in spec.shape):
        raise CodecError("malformed", f"array {spec.name[:64]!r} of an impossible shape with {len(spec.shape)} axes")
    dtype = np.dtype(spec.dtype)
    nbytes = dtype.itemsize
    for length in spec.shape:
        nbytes *= length
    if nbytes != len(part):
        raise CodecError("truncated", f"array {spec.name!r} needs {nbytes} bytes, its part has {len(part)}")
    return np.frombuffer(part, dtype).reshape(spec.shape)


def portable(value: Any) -> Any:
    """`value` where it can travel in a header, else None: a detector may attach anything, and it must not harm us."""
    if _deeper_than(value, MAX_ATTACHED_DEPTH):
        return None
    try:
        packed = msgpack.packb(value, use_bin_type=True)
    except (ValueError, OverflowError, TypeError):
        return None
    return value if packed is not None and len(packed) <= MAX_ATTACHED_BYTES else None


def _deeper_than(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for outer in level
            if isinstance(outer, list | tuple | dict)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def stamped(notice: Result | SeriesStarted | SeriesEnded, **fields: Any) -> Any:
    """A copy with some fields replaced (`seq`, `published_ns`, `recovered`)."""
    return msgspec.structs.replace(notice, **fields)
