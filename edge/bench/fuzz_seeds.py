"""Honest messages, from which hostile ones are made."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import msgspec
import numpy as np

from edge.bench.fuzz_inputs import Parts
from streams.codecs import ENCODERS, handshake, panda_encoder, results
from streams.codecs.compression import compress
from streams.messages import Acquisition, Compression, Part

DTYPES = ("uint8", "uint16", "uint32")
SHAPES = ((5, 7), (16, 24))
IMAGES = 3
DEEP = {"a": [{"b": [1, 2.5, None, True, "text"]}], "position": {"row": 1.0, "col": 2.0}, "count": 3}


class Claim(msgspec.Struct):
    """What a header says of the blob that follows."""

    shape: tuple[int, int]
    dtype: str
    compression: Compression
    strides: tuple[int, int] | None = None


def spoken(protocol: str) -> list[Parts]:
    """Whole series as our encoder sends them: every pixel type and compression, with and without user data."""
    rng = np.random.default_rng(0)
    found: list[Parts] = []
    for number, (dtype, compression, shape) in enumerate(product(DTYPES, Compression, SHAPES)):
        acquisition = Acquisition(
            series_id=number + 1,
            series_uid=f"uid{number}",
            arm_date=f"2026-01-02T03:04:{number:02d}Z",
            images=2 * IMAGES,
            shape=shape,
            dtype=dtype,
            compression=compression,
            user_data=DEEP if number % 2 else None,
            images_per_message=2,
        )
        try:
            found += _series(protocol, acquisition, rng)
        except ValueError:  # the protocol has no name for it
            continue
    return found


def _series(protocol: str, acquisition: Acquisition, rng: np.random.Generator) -> Iterator[Parts]:
    encoder = ENCODERS[protocol](acquisition)
    pulses = encoder.images_per_message
    shape = acquisition.shape if pulses == 1 else (pulses, *acquisition.shape)
    yield from map(_whole, encoder.start())
    for number in range(IMAGES):
        image = rng.poisson(3, shape).astype(acquisition.dtype)
        attached = DEEP if acquisition.user_data else None
        yield _whole(encoder.image(number * pulses, dict.fromkeys(acquisition.channels, image), attached))
    yield from map(_whole, encoder.end())


def _whole(parts: Sequence[Part]) -> Parts:
    return [bytes(part) for part in parts]


def compressed() -> list[Parts]:
    """A claim and the blob that it is about, for each compression."""
    rng = np.random.default_rng(1)
    found: list[Parts] = []
    for dtype, compression, shape in product(
        ("|u1", "<u2", ">u2", "<u4"), Compression, (*SHAPES, (64, 96), (160, 100))
    ):
        image = rng.poisson(2, shape).astype(dtype)
        found.append([msgspec.json.encode(Claim(shape, dtype, compression)), compress(image, compression)])
    return found


def notices() -> list[Parts]:
    """Every message of our result stream."""
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 4), np.int64), np.ones(3, bool)]
    specs = tuple(results.describe(name, array, "1") for name, array in zip("abc", arrays, strict=True))
    common: dict[str, Any] = {
        "source": "s",
        "series_uid": "u",
        "series_id": 1,
        "route": "peaks",
        "origin": "o",
        "seq": 3,
    }
    result = results.Result(
        **common,
        image_id=7,
        channel="image",
        model="peaks",
        model_version="1",
        model_sha256="ab" * 32,
        received_ns=1,
        published_ns=2,
        specs=specs,
        values={"count": 3.0},
        position={"row": 1.0},
    )
    started = results.SeriesStarted(
        **common, published_ns=1, expected=5, announced=True, header={"a": [1]}, user_data=DEEP
    )
    ended = results.SeriesEnded(
        **common,
        published_ns=1,
        reason="end",
        verdict="complete",
        arrivals={"expected": 5},
        account={"published": 5},
        latency_ms={"p50": 1.0},
        missing={"image": [(1, 3)]},
    )
    notices = [started, ended, results.Heartbeat("peaks", "o", 4, 1)]
    return [_whole(results.encode(result, arrays)), *(_whole(results.encode(notice)) for notice in notices)]


def requests() -> list[Parts]:
    """Every message of the handshake, both ways."""
    asked = [
        handshake.Hello(b"token"),
        handshake.Replay("peaks", 1, 5),
        handshake.Triggered("s", 1, 100, "u"),
        handshake.Inquire("s", 1, "peaks"),
        handshake.Ready("s", ("peaks",), ("maps", "plan"), 7),
        handshake.Welcome("o", "tcp://a:1", {"peaks": 3}),
        handshake.Replayed("peaks", 1, 5, 4),
        handshake.Noted("s", 1, True),
        handshake.AccountReply(
            "s", 1, "peaks", handshake.AccountNow("u", True, "", {"expected": 5}, {"published": 1}, {"image": [(1, 3)]})
        ),
        handshake.Readiness(
            source="s",
            token=7,
            problems=(handshake.Problem("subscriber", "subscriber 'maps' is not connected", "start it"),),
            origin="o",
            version="1.0",
            started_ns=1,
            sources={"s": 1},
            models={"peaks": True},
            subscribers=("plan",),
            series_open=1,
            recovering=(),
            recording="ok",
            results="off",
            stopping=False,
        ),
    ]
    return [[handshake.pack(message)] for message in asked]


def samples() -> list[Parts]:
    """An arming of a PandA."""
    axes = {"/INENC1.VAL.Value": np.linspace(0, 1, 5), "/INENC2.VAL.Mean": np.linspace(-1, 1e9, 5)}
    told = [panda_encoder.start("2026-01-02T03:04:05Z"), *(panda_encoder.data(n, 5 * n, axes) for n in range(3))]
    return [_whole(parts) for parts in (*told, panda_encoder.stop(3))]
