"""What a stranger may send to a port, whatever listens there. Each attack is a burst of some tenths of a second."""

import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import cbor2
import msgpack

from edge.bench.hostile import zmtp

PATIENCE_S = 0.3
SOME, MANY = 20, 150
CHUNK = 1 << 20
OVERSIZE_CHUNKS = 24
TOPICS = 20_000
INT64 = (-(2**63), -1, 0, 1, 2**31, 2**53, 2**63 - 1)

Attack: TypeAlias = Callable[[int, random.Random], int]
"""(port, dice) -> connections made."""


@contextmanager
def connected(port: int) -> Iterator[socket.socket | None]:
    """A connection; None where none is to be had."""
    with ExitStack() as stack:
        try:
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S))
        except OSError:
            yield None
            return
        one.settimeout(PATIENCE_S)
        with contextlib.suppress(OSError):
            yield one


def say(port: int, *parts: bytes, listen_s: float = 0.02) -> int:
    """One connection that says this and goes; refusals and resets are no news."""
    with connected(port) as one:
        if one is None:
            return 0
        with contextlib.suppress(OSError):
            for part in parts:
                one.sendall(part)
            one.settimeout(listen_s)
            one.recv(4096)
    return 1


def garbage(port: int, dice: random.Random) -> int:
    """Random bytes, in pieces."""
    return sum(
        say(port, *(dice.randbytes(dice.choice((1, 9, 64, 700, 9000, 200_000))) for _ in range(dice.randint(1, 4))))
        for _ in range(SOME)
    )


def greetings(port: int, dice: random.Random) -> int:
    """ZeroMQ greetings that go wrong, each in its own way."""
    whole = zmtp.greeting()
    wrong = [
        whole[: dice.randrange(64)],
        zmtp.greeting(b"PLAIN") + zmtp.command(b"HELLO", b"\xff" * 255 + b"\xff" * 255),
        zmtp.greeting(b"CURVE") + zmtp.command(b"HELLO", dice.randbytes(194)),
        zmtp.greeting(b"CURVE") + zmtp.command(b"INITIATE", dice.randbytes(300)),
        zmtp.greeting(b"GSSAPI") + dice.randbytes(100),
        zmtp.greeting(dice.randbytes(20)),
        zmtp.greeting(version=(dice.randrange(256), dice.randrange(256))) + dice.randbytes(64),
        whole + zmtp.command(b"READY", zmtp.prop(b"Socket-Type", b"DEALER", 2**32 - 1)),
        whole + zmtp.command(b"READY", zmtp.prop(b"x" * 255, dice.randbytes(100_000))),
        whole + zmtp.ready(dice.choice((b"REP", b"XPUB", b"ROUTER", b"NONE", b"\0", b"D" * 200))),
        whole + zmtp.frame(b"", zmtp.COMMAND, 2**63 - 1),
        whole + zmtp.command(dice.randbytes(200), dice.randbytes(50)),
        whole + dice.randbytes(500),
        zmtp.opening(b"DEALER") + zmtp.command(b"ERROR", b"\xff" + b"no"),
        zmtp.opening(b"DEALER") + zmtp.command(b"PING", b"\xff\xff" + bytes(200)),
        zmtp.opening(b"SUB") + zmtp.command(b"SUBSCRIBE", dice.randbytes(60_000)),
    ]
    dice.shuffle(wrong)
    return sum(say(port, each) for each in wrong)


def flood(port: int, dice: random.Random) -> int:
    """Connections as fast as they come, many of which are gone at once."""
    made = 0
    for _ in range(MANY):
        with connected(port) as one:
            made += one is not None
            if one is not None and dice.random() < 0.5:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return made


def half_open(port: int, dice: random.Random) -> int:
    """Connections that stay and say nothing, or begin to and stop."""
    beginnings = (
        b"",
        zmtp.SIGNATURE[:5],
        zmtp.greeting(),
        b"GET /met",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01",
    )
    with ExitStack() as stack:
        made = 0
        for _ in range(MANY):
            one = stack.enter_context(connected(port))
            made += one is not None
            if one is not None:
                with contextlib.suppress(OSError):
                    one.sendall(dice.choice(beginnings))
        time.sleep(PATIENCE_S)
    return made


def http(port: int, dice: random.Random) -> int:
    """HTTP that is none, too much of it, or of two minds."""
    head = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
    post = b"POST /metrics HTTP/1.1\r\nHost: x\r\n"
    wrong = [
        b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
        head + b"".join(b"X-%d: %s\r\n" % (at, b"y" * 200) for at in range(500)) + b"\r\n",
        head + b"X: " + b"y" * 300_000,
        post + b"Content-Length: 99999999999999999999\r\n\r\n" + b"z" * 70_000,
        post + b"Content-Length: -1\r\n\r\n",
        post + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
        post + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n" + b"z" * 1000,
        post + b"Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n" + b"[" * 60_000,
        head + b"Authorization: Bearer " + b"A" * 8000 + b"\r\n\r\n",
        head + b"Authorization: Bearer \xff\xfe\0\r\n\r\n",
        b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"\r\n" * 30_000,
        (head + b"\r\n") * 200,
        dice.randbytes(20) + head + b"\r\n",
        b"DELETE * \r\n\r\n\0\0\0",
    ]
    return sum(say(port, each) for each in wrong)


def http2(port: int, dice: random.Random) -> int:
    """HTTP/2 as gRPC speaks it, with what no client says."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    def framed(kind: int, flags: int, stream: int, body: bytes, length: int | None = None) -> bytes:
        return (
            struct.pack(">I", len(body) if length is None else length)[1:]
            + bytes([kind, flags])
            + struct.pack(">I", stream)
            + body
        )

    settings = framed(4, 0, 0, b"")
    wrong = [
        preface + dice.randbytes(2000),
        preface + settings * 2000,
        preface + framed(4, 0, 0, struct.pack(">HI", 4, 2**32 - 1)),
        preface + settings + framed(0, 0, 1, b"", 2**24 - 1),
        preface + settings + framed(1, 4, 1, dice.randbytes(400)),
        preface + settings + framed(1, 0, 1, b"\x82") + framed(9, 0, 1, b"\x40" + b"\x7f" * 8000) * 20,
        preface + settings + b"".join(framed(1, 5, at, b"\x82\x86\x84") for at in range(1, 400, 2)),
        preface
        + settings
        + b"".join(framed(1, 4, at, b"\x82") + framed(3, 0, at, bytes(4)) for at in range(1, 2000, 2)),
        preface + settings + framed(6, 0, 0, bytes(8)) * 3000,
        preface + settings + framed(8, 0, 0, struct.pack(">I", 2**31 - 1)) * 10,
        preface + settings + framed(7, 0, 0, dice.randbytes(5000)),
    ]
    return sum(say(port, each) for each in wrong)


def oversized(port: int, dice: random.Random) -> int:
    """Messages of which the head claims gigabytes, and of which many bytes really come."""
    made = 0
    for kind in (b"DEALER", b"PUSH", b"SUB"):
        for claimed in (2**62, 600 << 20, 1 << 16):
            with connected(port) as one:
                made += one is not None
                if one is None:
                    continue
                one.sendall(zmtp.opening(kind) + zmtp.frame(b"", 0, claimed))
                for _ in range(OVERSIZE_CHUNKS):
                    one.sendall(bytes(CHUNK))
    return made


def endless(port: int, dice: random.Random) -> int:
    """A message of ever more parts, that never ends."""
    part = zmtp.frame(b"x" * 100, zmtp.MORE)
    return sum(say(port, zmtp.opening(kind), part * 50_000) for kind in (b"DEALER", b"PUSH"))


def subscriptions(port: int, dice: random.Random) -> int:
    """Very many subscriptions, to anything."""
    made = 0
    for kind in (b"SUB", b"XSUB"):
        words = (b"\1" + dice.randbytes(dice.choice((1, 8, 40))) for _ in range(TOPICS))
        made += say(
            port, zmtp.opening(kind), b"".join(map(zmtp.frame, words)), zmtp.frame(b"\1" + dice.randbytes(200_000))
        )
        made += say(port, zmtp.opening(kind), zmtp.frame(b"\1") * TOPICS, zmtp.frame(b"\0") * TOPICS)
    return made


def messages(port: int, dice: random.Random) -> int:
    """Well-formed ZeroMQ with what no program of ours sends: broken msgpack, CBOR and JSON, and absurd requests."""
    bodies = [dice.randbytes(dice.choice((0, 1, 30, 5000))) for _ in range(SOME)]
    bodies += [msgpack.packb(request, use_bin_type=True) or b"" for request in _requests(dice)]
    bodies += [_damaged(body, dice) for body in bodies[SOME:]]
    bodies += [b"\x81" * 50_000, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x9f" * 10_000, b"[" * 60_000]
    bodies += [
        cbor2.dumps(_image(dice)),
        _damaged(cbor2.dumps(_image(dice)), dice),
        b'{"htype":"dheader-1.0","series":1e999}',
    ]
    made = 0
    for kind in (b"DEALER", b"REQ", b"PUSH", b"PUB"):
        said = [zmtp.message(*([b""] if kind == b"REQ" else []), *_cut(body, dice)) for body in bodies]
        made += say(port, zmtp.opening(kind), *said, listen_s=0.1)
    return made


def _requests(dice: random.Random) -> Iterator[Mapping[str, Any]]:
    """What looks like requests to the data plane and to the agent. None names a series that there is."""
    number = dice.choice(INT64)
    yield {"op": "hello", "token": bytes(100_000)}
    yield {"op": "hello", "token": dice.randbytes(64)}
    yield {"op": "replay", "route": "check", "first": INT64[0], "last": INT64[-1]}
    yield {"op": "replay", "route": "check", "first": 0, "last": 10**12}
    yield {"op": "replay", "route": "x" * 5000, "first": number, "last": number}
    yield {"op": "triggered", "source": "det", "series_id": number, "images": dice.choice(INT64), "series_uid": "none"}
    yield {"op": "triggered", "source": "../../etc", "series_id": 1.5, "images": "many"}
    yield {"op": "inquire", "source": "\0" * 64, "series_id": number, "route": "check"}
    yield {"op": "ready", "source": "det", "routes": ["check"] * 64, "subscribers": ["a" * 64] * 64, "token": number}
    yield {"op": "ready", "source": {"a": [[]]}, "routes": None}
    axis = {"name": "x", "low": float("-inf"), "high": float("nan"), "speed": 0.0}
    yield {"op": "open", "number": 1, "experiment": "../../evil", "definition": {"axes": [axis]}}
    yield {"op": "open", "number": number, "experiment": "a", "definition": {"axes": [axis] * 1000, "seed": number}}
    yield {"op": "request", "number": 1, "experiment": "none", "key": "k" * 100_000, "n": number}
    observation = {"id": "o", "position": {"x": float("nan")}, "value": float("inf"), "variance": -1.0}
    yield {"op": "ingest", "number": 1, "experiment": "none", "observations": [observation] * 50}
    yield {"op": "abandon", "number": 1, "experiment": "none", "suggestion_ids": ["s"] * 3000}
    yield {"op": "close", "number": -1, "experiment": ""}
    yield {"op": dice.choice(("shutdown", "eval", "__import__", "", "welcome")), "number": number}


def _image(dice: random.Random) -> Mapping[str, Any]:
    """A message of a detector with a shape that there is not."""
    tagged = cbor2.CBORTag(40, [[2**31, 2**31], cbor2.CBORTag(69, dice.randbytes(100))])
    return {"type": dice.choice(("image", "start", "end")), "series_id": dice.choice(INT64), "image_id": 2**60,
            "series_unique_id": "x" * 5000, "data": {"threshold_1": tagged}}  # fmt: skip


def _damaged(body: bytes, dice: random.Random) -> bytes:
    made = bytearray(body)
    for _ in range(dice.randint(1, 4)):
        if made:
            made[dice.randrange(len(made))] = dice.randrange(256)
    return bytes(made[: dice.randint(0, len(made))] if dice.random() < 0.3 else made)


def _cut(body: bytes, dice: random.Random) -> list[bytes]:
    """Mostly one part."""
    if dice.random() < 0.8:
        return [body]
    at = dice.randrange(len(body) + 1)
    return [body[:at], body[at:], b""]


ATTACKS: Mapping[str, Attack] = {
    "garbage": garbage,
    "greetings": greetings,
    "flood": flood,
    "half-open": half_open,
    "http": http,
    "http2": http2,
    "oversized": oversized,
    "endless": endless,
    "subscriptions": subscriptions,
    "messages": messages,
}
