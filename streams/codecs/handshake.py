"""The conversation beside the result stream: a DEALER asks, our ROUTER answers. Version 1, msgpack.

PUB drops what is sent before a subscription has arrived. So a subscriber subscribes to its routes and to
a topic of its own, says hello with that topic's token, and we publish on that topic. When the token
comes back over SUB, every earlier subscription of the same connection is in force (ZeroMQ keeps their
order), and the first frame cannot be missed.

    subscriber -> {"op": "hello", "token": bytes}
    publisher  -> {"op": "welcome", "origin": str, "publish": address, "next_seq": {route: int}, "v": 1}
                  and on PUB: one part, hello_topic(token)
    subscriber -> {"op": "replay", "route": str, "first": int, "last": int}
    publisher  -> {"op": "replay", ...} + the parts of one result, for each that is still kept
                  {"op": "replayed", "route": str, "first": int, "last": int, "sent": int}

Whoever controls the detector says on the same socket how many images it triggered (a detector is armed for more than
a run may need, so the arm command does not tell), and asks what became of them:

    controller -> {"op": "triggered", "source": str, "series_id": int, "images": int, "series_uid": str}
    publisher  -> {"op": "noted", "source": str, "series_id": int, "known": bool}
    controller -> {"op": "inquire", "source": str, "series_id": int, "route": str, "series_uid": str}
    publisher  -> {"op": "account", "source": str, "series_id": int, "route": str, "now": {...} | nil}

Before it arms, it asks whether the first frame would be served, and what stands in the way:

    controller -> {"op": "ready", "source": str, "routes": [str], "subscribers": [str], "token": int}
    publisher  -> {"op": "readiness", "source": str, "token": int, "problems": [{"what", "why", "remedy"}], ...}

A subscriber with a name is present while somebody subscribes to `presence_topic(name)`. That is a subscription like any
other, so the publisher sees it end with the connection that it came by.
"""

import re
from typing import Annotated, Any, TypeAlias

import msgpack
import msgspec

from streams.bounds import MAX_REQUEST_BYTES
from streams.messages import CodecError, Part

MAX_TOKEN_BYTES = 64
MAX_REPLAY = 200
"""Results sent for one request at most; the subscriber asks again for the rest."""
MAX_NAME = 64
MAX_NAMES = 32
"""Routes and subscribers in one question for readiness, each."""

_PRESENT = b"\xffpresent/"
_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{MAX_NAME}}}")

Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
Names = Annotated[tuple[Name, ...], msgspec.Meta(max_length=MAX_NAMES)]


class Hello(msgspec.Struct, frozen=True, tag_field="op", tag="hello"):
    token: bytes


class Replay(msgspec.Struct, frozen=True, tag_field="op", tag="replay"):
    """Asks for the results `first` to `last` (both included) of a route; heads each of them in the answer."""

    route: str
    first: int
    last: int


class Triggered(msgspec.Struct, frozen=True, tag_field="op", tag="triggered"):
    """So many images were triggered in the series, a channel; no more will come."""

    source: str
    series_id: int
    images: int
    series_uid: str = ""


class Inquire(msgspec.Struct, frozen=True, tag_field="op", tag="inquire"):
    """Asks for the account of a series on a route as it is now."""

    source: str
    series_id: int
    route: str
    series_uid: str = ""


class Ready(msgspec.Struct, frozen=True, tag_field="op", tag="ready"):
    """Asks whether the next frame of a source would be served.

    Attributes:
        source: its name; empty: all of them.
        routes: whose results are wanted; empty: all that take from the source.
        subscribers: names that have to be present beside those that the publisher requires itself.
        token: comes back in the answer, so that it is not taken for that to an earlier question.
    """

    source: Name = ""
    routes: Names = ()
    subscribers: Names = ()
    token: int = 0


class Welcome(msgspec.Struct, frozen=True, tag_field="op", tag="welcome"):
    origin: str
    publish: str
    next_seq: dict[str, int]
    v: int = 1


class Replayed(msgspec.Struct, frozen=True, tag_field="op", tag="replayed"):
    route: str
    first: int
    last: int
    sent: int


class Noted(msgspec.Struct, frozen=True, tag_field="op", tag="noted"):
    """The answer to `Triggered`; `known` is False where no such series is open."""

    source: str
    series_id: int
    known: bool


class AccountNow(msgspec.Struct, frozen=True):
    """What became of a series on a route so far; the fields are those of `results.SeriesEnded`."""

    series_uid: str
    open: bool
    verdict: str  # "" while open
    arrivals: dict[str, int | None]
    account: dict[str, Any]
    missing: dict[str, list[tuple[int, int]]]  # by channel: holes as [start, stop), also of what is still awaited


class AccountReply(msgspec.Struct, frozen=True, tag_field="op", tag="account"):
    """The answer to `Inquire`; `now` is None where no such series is remembered."""

    source: str
    series_id: int
    route: str
    now: AccountNow | None = None


class Problem(msgspec.Struct, frozen=True):
    """One thing that stands in the way of the next frame.

    Attributes:
        what: its kind, of those that `edge.pipeline.readiness` lists.
        why: what is wrong, a sentence without its full stop.
        remedy: what to do about it, the same.
    """

    what: str
    why: str
    remedy: str

    @property
    def lasting(self) -> bool:
        """Whether it stays until somebody changes what was asked, or the configuration: waiting does not help."""
        return self.what in ("source", "route")


class Readiness(msgspec.Struct, frozen=True, tag_field="op", tag="readiness"):
    """The answer to `Ready`, with what else is known of the publisher's state.

    Attributes:
        problems: what stands in the way; none: ready.
        origin, version, started_ns: of the process; its start by the wall clock.
        sources: connections that each source has now.
        models: whether each model passed its canary on the server that is in use.
        subscribers: names that are present.
        series_open: series that are not closed.
        recovering: sources that still go through what an earlier process recorded.
        recording, results: "off", "ok" or "failing": captures and result files.
        stopping: it was asked to stop, and drains.
    """

    source: str
    token: int
    problems: tuple[Problem, ...]
    origin: str
    version: str
    started_ns: int
    sources: dict[str, int]
    models: dict[str, bool]
    subscribers: tuple[str, ...]
    series_open: int
    recovering: tuple[str, ...]
    recording: str
    results: str
    stopping: bool

    @property
    def ready(self) -> bool:
        return not self.problems


Request: TypeAlias = Hello | Replay | Triggered | Inquire | Ready
Reply: TypeAlias = Welcome | Replay | Replayed | Noted | AccountReply | Readiness


def hello_topic(token: bytes) -> bytes:
    """The topic of one subscriber's own; no route's topic starts with NUL."""
    return b"\0hello/" + token


def presence_topic(name: str) -> bytes:
    r"""The topic to which a subscriber of this name subscribes to be known.

    It begins with a byte that is behind those of all route names (`\xff`; no text has it): when ZeroMQ connects, it
    tells all subscriptions of a socket in the order of their bytes. So whoever is present has its routes' results.

    Raises:
        ValueError: not a name of 1 to 64 letters, digits, `_`, `.` and `-`.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"{name[: MAX_NAME + 1]!r} is no name for a subscriber; use 1 to {MAX_NAME} letters, digits, '_', '.', '-'"
        )
    return _PRESENT + name.encode()


def present_name(topic: Part) -> str | None:
    """Whose presence a subscription to `topic` tells; None where that is no such topic."""
    if not len(_PRESENT) < len(topic) <= len(_PRESENT) + MAX_NAME:
        return None
    text = bytes(topic)
    name = text[len(_PRESENT) :].decode("ascii", "replace")
    return name if text.startswith(_PRESENT) and _NAME.fullmatch(name) else None


def pack(message: Request | Reply) -> bytes:
    """One part."""
    return bytes(msgpack.packb(msgspec.to_builtins(message, builtin_types=(bytes,)), use_bin_type=True) or b"")


def unpack_request(part: Part) -> Request:
    """What a subscriber asks.

    Raises:
        CodecError: it is no request, or beyond the limits.
    """
    request: Request = _unpack(part, Request, MAX_REQUEST_BYTES)
    if isinstance(request, Hello) and len(request.token) > MAX_TOKEN_BYTES:
        raise CodecError("too_large", f"a token of {len(request.token)} bytes")
    return request


def unpack_reply(part: Part) -> Reply:
    """What the publisher answers.

    Raises:
        CodecError: it is no reply.
    """
    return _unpack(part, Reply, 1 << 20)


def _unpack(part: Part, kind: Any, limit: int) -> Any:
    if len(part) > limit:
        raise CodecError("too_large", f"a handshake message of {len(part)} bytes")
    try:
        plain = msgpack.unpackb(part, raw=False, strict_map_key=True)
        return msgspec.convert(plain, kind, strict=True, builtin_types=(bytes,))
    except (ValueError, msgpack.UnpackException, msgspec.ValidationError, RecursionError) as error:
        raise CodecError("malformed", f"handshake: {error}") from error
